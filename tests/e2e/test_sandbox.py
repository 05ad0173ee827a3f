"""What a service in a sandbox can reach, what it takes when it takes all that it can, and how it ends."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest
from lever_testing import (LEVERD, ROOT, Host, kill_and_wait, open_directory, process_exists, reachable_python,
                           wait_until, write_service)
from raw_calls import CallError, Caller

SERVICES = pathlib.Path(__file__).parent / "services"
GREETER = """
const lever = require('lever');
const fs = require('fs');
const client = new lever.Client();
exports.greet = async (name) => `Hello, ${name}!`;
exports.ask = async (name) => client.invoke('/greeter/greet', name);
exports.where = async () => [process.cwd(), process.env.LEVER_SANDBOX ?? ''];
// On libuv's pool of threads, and on a thread of its own.
exports.readAsync = async (path) => fs.promises.readFile(path).then(() => 'could', (error) => error.code);
exports.writeAsync = async (path) => fs.promises.writeFile(path, 'x').then(() => 'could', (error) => error.code);
exports.inWorker = async (path) => new Promise((done) => new (require('worker_threads').Worker)(
    `const fs = require('fs'); const {parentPort, workerData} = require('worker_threads');
     try { fs.readFileSync(workerData); parentPort.postMessage('could'); }
     catch (error) { parentPort.postMessage(error.code); }`,
    {eval: true, workerData: path}).on('message', done));
"""
# What may be the answer to an attempt: the thing is not there, or it is refused.
REFUSALS = {"ENOENT", "EPERM", "EACCES", "EROFS", "ENOSYS", "ESRCH", "EINVAL", "EAFNOSUPPORT", "ENETUNREACH",
            "ECONNREFUSED"}


@pytest.fixture(scope="module")
def host():
    with Host("--python", reachable_python(), "--sandbox", "required") as running:
        yield running


def deploy_greeter(host, directory, name="greeter", **manifest):
    host.deploy(write_service(directory / name, {"s.js": GREETER}, name=name, jsEntry="s.js", **manifest))


def deploy_attempts(host, directory, name="attempts", **manifest):
    source = (SERVICES / "attempts" / "service.py").read_text()
    host.deploy(write_service(directory / name, {"service.py": source}, name=name, pyEntry="service.py",
                              **manifest))


@pytest.fixture(scope="module")
def target(host, tmp_path_factory):
    """What there is for an attempt to reach."""
    folder = tmp_path_factory.mktemp("services")
    deploy_greeter(host, folder)
    host.invoke("/greeter/greet", "Ann")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0lever-sandbox-test-" + str(os.getpid()))
    listener.listen()
    other = host.invoke("/greeter/where")[0]
    assert os.path.exists(other + "/s.js")
    yield {"data_dir": host.data_dir, "host_pid": host.pid, "port": int(host.address.rpartition(":")[2]),
           "other_pid": host.instance_pid("greeter"), "other_file": other + "/s.js",
           "abstract": "lever-sandbox-test-" + str(os.getpid())}
    listener.close()


@pytest.mark.parametrize("where", ["on_the_loop", "on_a_worker_thread"])
def test_nothing_that_it_tries_works(host, target, tmp_path, where):
    deploy_attempts(host, tmp_path)
    got = host.invoke(f"/attempts/{where}", target)
    print()
    for name, answer in got.items():
        print(f"{name:44} {answer}")
    assert len(got) >= 30
    # A port of its own network namespace is its own affair.
    wrong = {name: answer for name, answer in got.items() if answer not in REFUSALS}
    assert wrong == {}


def test_asynchronous_file_calls_and_workers_of_node_get_no_more(host, target, tmp_path):
    deploy_greeter(host, tmp_path, name="looker")
    for path in ("/etc/shadow", host.data_dir + "/registry/registry.db", target["other_file"]):
        assert host.invoke("/looker/readAsync", path) == "ENOENT"
        assert host.invoke("/looker/inWorker", path) == "ENOENT"
    for path in ("/x", "/usr/x", "/dev/x", "x"):
        assert host.invoke("/looker/writeAsync", path) in ("EROFS", "EACCES")
    assert host.invoke("/looker/writeAsync", "/tmp/x") == "could"


def test_it_has_no_capability_and_cannot_gain_one(host, target, tmp_path):
    deploy_attempts(host, tmp_path)
    status = host.invoke("/attempts/status")
    print(status)
    assert status.pop("NoNewPrivs") == "1"
    assert status.pop("Seccomp") == "2"
    assert {int(value, 16) for value in status.values()} == {0}


def test_it_sees_its_own_processes_and_a_private_tmp(host, target, tmp_path):
    deploy_attempts(host, tmp_path)
    seen = host.invoke("/attempts/surroundings")
    assert seen["TMPDIR"] == "/tmp" and seen["sandbox"] == "bwrap"
    assert seen["processes"] == [1, seen["pid"]] and seen["session"] == seen["pid"]
    assert seen["interfaces"] == ["lo"]
    assert not {"home", "root", "srv", "opt", "sys", "boot"} & set(seen["root"])
    assert host.invoke("/attempts/use_tmp") == "hh"
    assert not os.path.exists("/tmp/own")


def test_ps_names_the_sandbox_and_signals_reach_the_program(host, target):
    row, = host.instances("greeter")
    assert "sandbox bwrap" in row["driver"] and "RAM limit by" in row["driver"]
    with open(f"/proc/{row['pid']}/cmdline", "rb") as file:
        assert b"s.js" in file.read().split(b"\0")


def test_calls_between_sandboxed_services_are_direct(host, target, tmp_path):
    deploy_greeter(host, tmp_path, name="asker")
    assert host.invoke("/asker/ask", "Ann") == "Hello, Ann!"

    def direct():
        before = host.counters().calls_relayed
        for _ in range(10):
            host.invoke("/asker/ask", "Ann")
        # The command's own ten go through the host, and no others.
        return host.counters().calls_relayed - before == 10
    wait_until(direct, what="direct calls")
    assert host.counters().introductions >= 1


def test_a_service_that_takes_all_that_it_can_is_contained(host, target, tmp_path):
    deploy_attempts(host, tmp_path, ramLimit=128, ram=50, maxProcesses=64, maxDescriptors=200)
    slowest = []
    stop = threading.Event()

    def neighbour():
        with Caller(host.address) as caller:
            while not stop.is_set():
                began = time.monotonic()
                assert caller.invoke("/greeter/greet", "Ann") == "Hello, Ann!"
                slowest.append(time.monotonic() - began)

    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        error, mib = host.invoke("/attempts/fill_tmp")
        assert error == "ENOSPC" and mib <= 32
        error, count = host.invoke("/attempts/open_descriptors")
        assert error == "EMFILE" and 150 <= count < 200
        error, count = host.invoke("/attempts/fork")
        assert error == "EAGAIN" and 20 <= count < 64
        host.invoke("/attempts/fill_log", 20)
        pid = host.instance_pid("attempts")
        with Caller(host.address) as caller:
            with pytest.raises(CallError) as raised:
                caller.invoke("/attempts/eat_memory", timeout_s=60)
        assert raised.value.code == "UNAVAILABLE" and raised.value.executed == "unknown"
        wait_until(lambda: "over its RAM limit" in host.cli("logs", "attempts").ok().out, what="the reason in its log")
        assert not process_exists(pid)
    finally:
        stop.set()
        thread.join()
    print(f"{len(slowest)} calls of a neighbour, the slowest {max(slowest):.3f} s")
    assert len(slowest) > 20
    # The next call starts it again.
    assert host.invoke("/attempts/use_tmp") == "hh"


def test_with_network_it_reaches_the_machines(host, target, tmp_path):
    deploy_attempts(host, tmp_path, name="networked", network=True)
    got = host.invoke("/networked/on_the_loop", target)
    assert got["connect to the host's port"] == "could"
    assert got["open a packet socket"] == "EAFNOSUPPORT"
    assert got["connect to the host's introduction socket"] == "ENOENT"
    # Where the kernel has Landlock's scopes, abstract sockets of others are out of reach all the same.
    print(got["connect to an abstract socket"], host.instances("networked")[0]["driver"])


def test_a_killed_program_is_named_with_its_signal(host, target, tmp_path):
    deploy_greeter(host, tmp_path, name="killed")
    host.invoke("/killed/greet", "Ann")
    pid = host.instance_pid("killed")
    kill_and_wait(pid)
    wait_until(lambda: "killed by signal 9 (SIGKILL)" in host.log_text(), what="the end in the log")
    assert host.invoke("/killed/greet", "Ann") == "Hello, Ann!"


def test_a_host_that_requires_it_refuses_services_without(host, tmp_path):
    directory = write_service(tmp_path / "open", {"s.js": GREETER}, name="open", jsEntry="s.js", sandbox="none")
    refused = host.cli("deploy", directory)
    assert refused.code != 0 and "--sandbox required" in refused.err


def test_a_service_can_do_without_where_the_host_allows_it(tmp_path):
    with Host("--python", reachable_python()) as host:
        deploy_greeter(host, tmp_path, name="greeter", sandbox="none")
        assert host.invoke("/greeter/where")[1] == ""
        assert "no sandbox, by lever.json" in host.instances("greeter")[0]["driver"]


def test_a_host_that_sandboxes_nothing_says_so(tmp_path):
    with Host("--sandbox", "none") as host:
        deploy_greeter(host, tmp_path, name="greeter")
        assert host.invoke("/greeter/where")[1] == ""
        assert host.instances("greeter")[0]["driver"].endswith("no sandbox)")
        refused = host.cli("deploy", write_service(tmp_path / "in", {"s.js": GREETER}, name="in", jsEntry="s.js",
                                                   sandbox="bwrap"))
        assert refused.code != 0 and "--sandbox none" in refused.err


def test_a_host_without_bwrap_says_so_or_does_not_start():
    folder = open_directory()
    hidden = "mount --bind /dev/null $(command -v bwrap) && exec \"$@\""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *own, "--mount", "sh", "-c", hidden, "sh", LEVERD, "--listen", "127.0.0.1:0", "--data-dir",
               folder + "/data"]
    required = subprocess.run([*command, "--sandbox", "required"], capture_output=True, text=True, timeout=60)
    assert required.returncode == 1 and "there is no bwrap" in required.stderr
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("ready on ")
        process.terminate()
        _, log = process.communicate(timeout=60)
        assert "services run without a sandbox: there is no bwrap" in log
    finally:
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def test_hello_runs_in_it_as_it_is(host):
    host.deploy(ROOT / "examples" / "hello")
    assert host.invoke("/hello/sayHello", "Ann") == "Hello, Ann!"
