"""Runtimes that are started ahead, and taken over by services that are cold."""

import os
import pathlib
import time

import pytest
from lever_testing import (Host, descendants, kill_and_wait, process_exists, reachable_python, wait_until,
                           write_service)
from test_sandbox import REFUSALS, SERVICES

NODE = """
const fs = require('fs');
exports.greet = async (name) => `Hello, ${name}!`;
exports.surroundings = async () => ({
  cwd: process.cwd(), argv: process.argv, service: process.env.LEVER_SERVICE, home: process.env.HOME,
  sandbox: process.env.LEVER_SANDBOX, here: fs.readdirSync('.'), around: fs.readdirSync('..'),
  uid: process.getuid(), dirname: __dirname,
  files: Number(/Max open files +(\\d+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'))[1]),
});
exports.write = async (path) => { try { fs.writeFileSync(path, 'x'); return 'could'; } catch (e) { return e.code; } };
exports.say = async (text) => { console.log(text); console.error('error ' + text); };
exports.eat = async () => { const held = []; for (;;) held.push(Buffer.alloc(8 << 20, 1)); };
"""
PYTHON = """
import os, sys
import lever
from part import PART

@lever.method
async def greet(name):
    return f"Hello, {name}!"

@lever.method
async def surroundings():
    return {"cwd": os.getcwd(), "argv": sys.argv, "service": os.environ["LEVER_SERVICE"], "home": os.environ["HOME"],
            "sandbox": os.environ["LEVER_SANDBOX"], "here": sorted(os.listdir(".")), "around": os.listdir(".."),
            "uid": os.getuid(), "part": PART}

@lever.method
async def say(text):
    print(text, flush=True)
    print("error " + text, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def host():
    with Host("--python", reachable_python(), "--runtime-pool", "1") as running:
        yield running


def waiting(host):
    """The pids of runtimes that nobody has taken over."""
    taken = {row["pid"] for row in host.instances()}
    found = []
    for pid in descendants(host.pid):
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--ahead" in command and b"inside" not in command and pid not in taken:
            found.append(pid)
    return found


def await_waiting(host, count):
    return wait_until(lambda: (lambda found: len(found) == count and found)(waiting(host)), what=f"{count} in the pool")


def deploy(host, directory, language, name, **manifest):
    files, entry = {
        "node": ({"s.js": NODE}, {"jsEntry": "s.js"}),
        "python": ({"s.py": PYTHON, "part.py": "PART = 'of the bundle'"}, {"pyEntry": "s.py"}),
    }[language]
    host.deploy(write_service(directory / name, files, name=name, **entry, **manifest))


def took_over(host, service):
    return "started ahead" in host.instances(service)[0]["driver"]


@pytest.mark.parametrize("language", ["node", "python"])
def test_a_cold_service_runs_in_one_as_it_would_by_itself(host, tmp_path, language):
    deploy(host, tmp_path, language, f"ahead-{language}", maxDescriptors=500)
    wait_until(lambda: waiting(host), what="the pool")
    time.sleep(1)
    assert host.invoke(f"/ahead-{language}/greet", "Ann") == "Hello, Ann!"
    assert took_over(host, f"ahead-{language}")
    seen = host.invoke(f"/ahead-{language}/surroundings")
    print(seen)
    assert seen["service"] == f"ahead-{language}" and seen["sandbox"] == "bwrap"
    assert seen["cwd"] == seen["home"] and seen["around"] == [os.path.basename(seen["cwd"])]
    assert seen["cwd"].startswith(host.data_dir + "/trees/")
    assert 61184 <= seen["uid"] <= 65519
    if language == "python":
        assert seen["argv"] == [seen["cwd"] + "/s.py"] and seen["part"] == "of the bundle"
    else:
        assert seen["argv"][1:] == [seen["cwd"] + "/s.js"] and seen["dirname"] == seen["cwd"]
        assert seen["files"] == 500
        assert host.invoke("/ahead-node/write", "x") == "EROFS"
        assert host.invoke("/ahead-node/write", "../x") == "EROFS"
        assert host.invoke("/ahead-node/write", "/tmp/x") == "could"
    host.invoke(f"/ahead-{language}/say", "a line of its own")
    wait_until(lambda: host.cli("logs", f"ahead-{language}").ok().out.count("a line of its own") == 2,
               what="its output in its log")


def test_nothing_that_it_tries_works_there(host, tmp_path):
    deploy(host, tmp_path, "node", "other")
    host.invoke("/other/greet", "Ann")
    source = (SERVICES / "attempts" / "service.py").read_text()
    host.deploy(write_service(tmp_path / "attempts", {"service.py": source}, name="attempts", pyEntry="service.py"))
    time.sleep(2)
    other = host.invoke("/other/surroundings")["cwd"] + "/s.js"
    target = {"data_dir": host.data_dir, "host_pid": host.pid, "port": int(host.address.rpartition(":")[2]),
              "other_pid": host.instance_pid("other"), "other_file": other, "abstract": "nobody"}
    got = host.invoke("/attempts/on_a_worker_thread", target)
    assert took_over(host, "attempts")
    assert {name: answer for name, answer in got.items() if answer not in REFUSALS} == {}
    status = host.invoke("/attempts/status")
    assert status.pop("NoNewPrivs") == "1" and status.pop("Seccomp") == "2"
    assert {int(value, 16) for value in status.values()} == {0}


def test_one_serves_once_and_another_takes_its_place(host, tmp_path):
    deploy(host, tmp_path, "node", "once", idleTimeout="0.3s")
    pids, users = set(), set()
    for _ in range(3):
        await_pool = wait_until(lambda: waiting(host), what="the pool")
        assert await_pool
        time.sleep(1)
        users.add(host.invoke("/once/surroundings")["uid"])
        pid = host.instance_pid("once")
        pids.add(pid)
        assert took_over(host, "once")
        wait_until(lambda: not process_exists(pid), what="its end")
    assert len(pids) == 3 and len(users) == 3


def test_its_limits_are_those_of_the_service(host, tmp_path):
    deploy(host, tmp_path, "node", "eater", ramLimit=100, ram=50)
    wait_until(lambda: waiting(host), what="the pool")
    time.sleep(1)
    host.invoke("/eater/greet", "Ann")
    assert took_over(host, "eater")
    failed = host.cli("invoke", "/eater/eat")
    assert failed.code != 0
    wait_until(lambda: "over its RAM limit" in host.cli("logs", "eater").ok().out, what="the reason in its log")


def test_one_that_dies_is_replaced_and_nobody_waits_for_it(tmp_path):
    with Host("--runtime-pool", "1") as host:
        deploy(host, tmp_path, "node", "calm")
        (first,) = await_waiting(host, 1)
        kill_and_wait(first)
        assert host.invoke("/calm/greet", "Ann") == "Hello, Ann!"
        (second,) = await_waiting(host, 1)
        assert second != first
        assert "gone before it was used" in host.log_text()


def test_there_are_some_with_network_once_a_service_needs_it(tmp_path):
    with Host("--runtime-pool", "2") as host:
        deploy(host, tmp_path, "node", "offline")
        await_waiting(host, 2)
        deploy(host, tmp_path, "node", "online", network=True)
        below = await_waiting(host, 4)
        host.kill()
        wait_until(lambda: not [pid for pid in below if process_exists(pid)], what="their end with the host")


def test_a_host_that_cannot_says_so(tmp_path):
    for flags, why in ((["--sandbox", "none"], "there is no sandbox"),
                       (["--allow-root-services"], "services do not run under users of their own")):
        with Host("--runtime-pool", "1", *flags) as host:
            wait_until(lambda: f"no runtimes are started ahead (--runtime-pool): {why}" in host.log_text(), what=why)
            deploy(host, tmp_path, "node", "plain")
            assert host.invoke("/plain/greet", "Ann") == "Hello, Ann!"
            assert waiting(host) == []


if os.geteuid() != 0:  # then there is no pool, which the last one shows
    for name in [name for name in globals() if name.startswith("test_") and name != "test_a_host_that_cannot_says_so"]:
        del globals()[name]
