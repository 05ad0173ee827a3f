"""Calls go straight to an instance where that can be, and through the host where it cannot."""

import json
import os
import pathlib
import subprocess
import time

import pytest
from lever_testing import BUILD, kill_and_wait, wait_until, write_service

CALLEE = """
exports.echo = async (value) => value;
exports.slow = async (ms) => { await new Promise((done) => setTimeout(done, ms)); return ms; };
"""
CALLER = """
const {context} = require('lever');
exports.callMany = async (count) => {
  let sum = 0;
  for (let i = 0; i < count; ++i) sum += await context().client.invoke('/callee/echo', 1);
  return sum;
};
"""
# Answers each number on its input with the sum of so many calls.
CLIENT = """
const lever = require('lever');
const client = new lever.Client();
require('readline').createInterface({input: process.stdin}).on('line', async (line) => {
  let sum = 0;
  for (let i = 0; i < Number(line); ++i) sum += await client.invoke('/callee/echo', 1);
  console.log(JSON.stringify(sum));
});
"""


# Sends a call each millisecond until its input ends, then tells of all that failed.
SENDER = """
const lever = require('lever');
const client = new lever.Client();
const failed = [], pending = [];
let sent = 0;
async function call() {
  ++sent;
  const sent_ns = process.hrtime.bigint();
  try {
    await client.invoke('/callee/slow', 5);
  } catch (error) {
    failed.push({sent_s: Number(sent_ns) / 1e9, code: error.code, executed: error.executed,
                 message: error.message});
  }
}
(async () => {
  for (let i = 0; i < 300; ++i) await client.invoke('/callee/echo', 1);
  console.log('warm');
  const timer = setInterval(() => pending.push(call()), 1);
  process.stdin.on('end', async () => {
    clearInterval(timer);
    await Promise.all(pending);
    console.log(JSON.stringify({sent, failed}));
    process.exit(0);
  });
  process.stdin.resume();
})();
"""


class Client:
    """A program outside of the host's care, on the same machine."""

    def __init__(self, host):
        modules = BUILD / "runtime" / "node" / "node_modules"
        self.process = subprocess.Popen(
            ["node", "-e", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**host.environment(), "NODE_PATH": str(modules)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def call_many(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def callee(host, tmp_path):
    host.deploy(write_service(tmp_path / "callee", {"s.js": CALLEE}, name="callee", jsEntry="s.js"))
    return host


def relayed_by(host, act):
    before = host.counters().calls_relayed
    act()
    return host.counters().calls_relayed - before


def test_calls_between_services_leave_the_host_alone(callee, tmp_path):
    host = callee
    host.deploy(write_service(tmp_path / "caller", {"s.js": CALLER}, name="caller", jsEntry="s.js"))

    def first():
        assert host.invoke("/caller/callMany", 500) == 500

    def later():
        assert host.invoke("/caller/callMany", 2000) == 2000

    warming = relayed_by(host, first)
    print(f"relayed of the first 500: {warming - 1}")
    assert warming < 250
    # One: the command's own call.
    assert relayed_by(host, later) == 1


def test_a_client_whose_direct_way_is_cut_goes_on(callee):
    host = callee
    with Client(host) as client:
        assert client.call_many(300) == 300
        assert relayed_by(host, lambda: client.call_many(300)) == 0
        cut = shut_streams(client.process.pid)
        assert cut >= 1
        # Nothing was in flight, so nothing fails; then the host introduces it again.
        assert client.call_many(300) == 300
        wait_until(lambda: relayed_by(host, lambda: client.call_many(300)) == 0,
                   what="another direct connection")


def test_without_introductions_all_goes_through_the_host(callee):
    host = callee
    os.unlink(os.path.join(host.data_dir, "introduction.sock"))
    with Client(host) as client:
        assert relayed_by(host, lambda: client.call_many(300)) == 300


def test_killing_an_instance_fails_only_what_a_direct_caller_had_in_flight(callee):
    host = callee
    modules = BUILD / "runtime" / "node" / "node_modules"
    with subprocess.Popen(["node", "-e", SENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env={**host.environment(), "NODE_PATH": str(modules)}) as client:
        assert client.stdout.readline() == "warm\n"
        time.sleep(1)
        (instance,) = host.instances("callee")
        relayed = host.counters().calls_relayed
        gone_s = kill_and_wait(instance["pid"])
        wait_until(lambda: [row for row in host.instances("callee") if row["phase"] == "ready"],
                   what="another instance")
        time.sleep(1)
        client.stdin.close()
        result = json.loads(client.stdout.readline())
        assert client.wait(20) == 0
    print(f"{result['sent']} calls, {len(result['failed'])} failed, "
          f"{host.counters().calls_relayed - relayed} through the host after the kill")
    assert result["sent"] > 1000
    assert result["failed"], "nothing was in flight"
    for failure in result["failed"]:
        assert failure["executed"] == "unknown" and failure["code"] == "UNAVAILABLE", failure
        assert failure["sent_s"] <= gone_s, "sent after its sockets had closed"


def shut_streams(pid):
    """Shuts down the unix stream sockets of a process, from outside, as a failing peer would."""
    import ctypes
    import socket
    pidfd_getfd = 438
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    shut = 0
    try:
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            number = int(entry.name)
            if number < 3 or not os.readlink(entry).startswith("socket:"):
                continue
            copy = libc.syscall(pidfd_getfd, process, number, 0)
            if copy < 0:
                continue
            with socket.socket(fileno=copy) as end:
                if end.family == socket.AF_UNIX and end.type == socket.SOCK_STREAM:
                    end.shutdown(socket.SHUT_RDWR)
                    shut += 1
    finally:
        os.close(process)
    return shut
