"""Instances start on demand, once for all who wait, end when idle, and when they die only what they had
in flight fails."""

import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest
from lever_testing import LEVERD, Host, kill_and_wait, open_directory, process_exists, wait_until, write_service
from raw_calls import CallError, Caller

ECHO = """
const id = Math.random();
exports.which = async () => id;
exports.echo = async (value) => value;
exports.slow = async (ms) => { await new Promise((done) => setTimeout(done, ms)); return ms; };
exports.openChan = async (stream) => { await stream.write('open'); for await (const m of stream) ; };
"""


def deploy_echo(host, directory, **manifest):
    host.deploy(write_service(directory, {"s.js": ECHO}, name="echo", jsEntry="s.js", **manifest))


def test_300_calls_to_a_stopped_service_share_one_start(host, tmp_path):
    deploy_echo(host, tmp_path / "echo", maxInstances=1)
    before = host.counters().instances_started
    with Caller(host.address) as caller:
        attempts = [caller.start("/echo/echo", n) for n in range(300)]
        assert [attempt.result() for attempt in attempts] == list(range(300))
    assert host.counters().instances_started == before + 1


def test_a_service_that_exits_at_once_fails_its_callers_with_its_stderr(host, tmp_path):
    host.deploy(write_service(
        tmp_path / "dying", {"serve": "#!/bin/sh\necho 'cannot open the flux file' >&2\nexit 3\n"},
        name="dying", startTimeout="5s"))
    before = host.counters().instances_started
    with Caller(host.address) as caller:
        began = time.monotonic()
        attempts = [caller.start("/dying/x") for _ in range(50)]
        for attempt in attempts:
            with pytest.raises(CallError) as raised:
                attempt.result()
            assert raised.value.code == "UNAVAILABLE" and raised.value.executed == "no"
            assert "cannot open the flux file" in raised.value.details
        assert time.monotonic() - began < 5
        # It backs off: calls for two seconds start it a few times, not each one.
        give_up = time.monotonic() + 2
        calls = 0
        while time.monotonic() < give_up:
            with pytest.raises(CallError):
                caller.invoke("/dying/x")
            calls += 1
    started = host.counters().instances_started - before
    assert 1 <= started <= 6 < calls


def test_a_service_that_never_gets_ready_fails_within_start_timeout(host, tmp_path):
    host.deploy(write_service(
        tmp_path / "mute", {"serve": "#!/bin/sh\necho thinking >&2\nexec sleep 600\n"},
        name="mute", startTimeout="1s"))
    with Caller(host.address) as caller:
        began = time.monotonic()
        with pytest.raises(CallError) as raised:
            caller.invoke("/mute/x")
        assert 0.9 < time.monotonic() - began < 4
        assert "startTimeout" in raised.value.details and "thinking" in raised.value.details
    wait_until(lambda: host.instances("mute") == [], what="the end of its process")


def test_killing_an_instance_fails_only_what_it_had_in_flight(host, tmp_path):
    deploy_echo(host, tmp_path / "echo")
    with Caller(host.address) as caller:
        which = caller.invoke("/echo/which")
        pid = host.instance_pid("echo")
        attempts = []
        stop = threading.Event()

        def send():  # about 1,000 calls a second
            due = time.monotonic()
            while not stop.is_set():
                attempts.append(caller.start("/echo/slow", 5, timeout_s=30))
                due += 0.001
                time.sleep(max(0, due - time.monotonic()))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            time.sleep(1)
            killed_s = time.monotonic()
            gone_s = kill_and_wait(pid)
            wait_until(lambda: len([a for a in attempts if a.sent_s > gone_s]) > 500)
        finally:
            stop.set()
            sender.join()
        failed = []
        for attempt in attempts:
            try:
                assert attempt.result() == 5
            except CallError as error:
                failed.append((attempt, error))
        assert failed, "nothing was in flight"
        for attempt, error in failed:
            assert error.code == "UNAVAILABLE" and error.executed == "unknown", error
            assert attempt.ended_s >= killed_s
            assert attempt.sent_s <= gone_s, "sent after its sockets had closed"
        assert caller.invoke("/echo/which") != which


def test_an_idle_instance_stops_and_the_next_call_starts_it_again(host, tmp_path):
    deploy_echo(host, tmp_path / "echo", idleTimeout="1s")
    with Caller(host.address) as caller:
        first = caller.invoke("/echo/which")
        pid = host.instance_pid("echo")
        wait_until(lambda: not process_exists(pid), what="idle stop")
        assert caller.invoke("/echo/which") != first
        assert process_exists(host.instance_pid("echo"))


def test_a_silent_open_stream_keeps_its_instance(host, tmp_path):
    deploy_echo(host, tmp_path / "echo", idleTimeout="1s")
    with Caller(host.address) as caller:
        caller.invoke("/echo/which")
        pid = host.instance_pid("echo")
        hold = threading.Event()

        def silent():
            hold.wait(60)
            return
            yield

        stream = caller.stream("/echo/openChan", messages=silent())
        assert next(stream) == "open"
        give_up = time.monotonic() + 3.5
        while time.monotonic() < give_up:
            assert process_exists(pid)
            time.sleep(0.05)
        hold.set()
        assert list(stream) == []
        wait_until(lambda: not process_exists(pid), what="idle stop once the stream has ended")


def test_services_run_under_users_of_their_own(tmp_path):
    """Also where nothing else keeps them apart."""
    source = """
    const fs = require('fs');
    exports.who = async () => ({uid: process.getuid(), gid: process.getgid(), groups: process.getgroups()});
    exports.read = async (path) => { try { return fs.readFileSync(path).length; } catch (e) { return e.code; } };
    exports.kill = async (pid) => { try { process.kill(pid, 0); return 'could'; } catch (e) { return e.code; } };
    exports.descriptors = async () => fs.readdirSync('/proc/self/fd').length;
    """
    with Host("--sandbox", "none") as host:
        for name in ("one", "two"):
            host.deploy(write_service(tmp_path / name, {"s.js": source}, name=name, jsEntry="s.js"))
        one, two = host.invoke("/one/who"), host.invoke("/two/who")
        if os.geteuid() != 0:  # a host that is not root runs them as itself
            assert one["uid"] == two["uid"] == os.geteuid()
            return
        assert 61184 <= one["uid"] <= 65519 and 61184 <= two["uid"] <= 65519
        assert one["uid"] != two["uid"]
        other = host.instance_pid("two")
        assert host.invoke("/one/kill", other) == "EPERM"
        assert host.invoke("/one/read", f"/proc/{other}/environ") == "EACCES"
        assert host.invoke("/one/read", host.data_dir + "/registry/registry.db") == "EACCES"


def test_a_host_that_is_started_with_closed_descriptors_writes_into_none_of_its_own():
    folder = pathlib.Path(open_directory())
    path = folder / "host.sock"
    process = subprocess.Popen([
        "bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash",
        LEVERD, "--listen", f"unix:{path}", "--data-dir", folder / "data"])
    try:
        wait_until(path.exists, what="the host's socket")
        assert {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
