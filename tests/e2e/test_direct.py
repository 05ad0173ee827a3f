"""Calls go straight to an instance where that can be, and through the host where it cannot."""

import json
import os
import pathlib
import subprocess

import pytest
from lever_testing import BUILD, wait_until, write_service

CALLEE = "exports.echo = async (value) => value;"
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
