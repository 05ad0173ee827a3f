"""Broken input to running services: each is answered with a clear error, and neither service nor host
ends, hangs or grows."""

import json
import os
import random
import shutil
import subprocess
import time

import grpc
import msgpack
import pytest
from lever_testing import BUILD, resident_bytes, write_service
from raw_calls import Caller

INPUTS = 10_000
GROWTH_BYTES_MAX = 64 << 20  # and 256 bytes a byte of input

NODE_SERVICE = "exports.echo = async (...values) => values;"
SAMPLES = [
    [], [1], ["text", b"bytes", None, True, -5, 2**63, 1.5], [{"a": {"b": [1, 2, {"c": "d"}]}}],
    [[[[[[1]]]]]], [list(range(200))], [{str(n): n for n in range(50)}],
    [msgpack.Timestamp(1, 2)], [msgpack.ExtType(7, b"ext")],
]
KNOWN = [
    bytes.fromhex("ddff000000"), b"\x91" * 10_000, b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff", b"\xc1", b"", b"\x91\xa1\xff", b"\x90\x90", b"\x81\x01",
]


def mutated(chance):
    data = bytearray(msgpack.packb(chance.choice(SAMPLES)))
    for _ in range(chance.randrange(1, 4)):
        kind = chance.randrange(4)
        at = chance.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        else:
            data[at:at] = chance.choice(KNOWN)[:64]
    return bytes(data)


def truncations():
    for sample in SAMPLES:
        whole = msgpack.packb(sample)
        for size in range(len(whole)):
            yield whole[:size]


@pytest.fixture(params=["node", "cpp"])
def service(request, host, tmp_path):
    """(url, pid) of a service that takes any value."""
    if request.param == "node":
        host.deploy(write_service(tmp_path / "echo", {"s.js": NODE_SERVICE}, name="echo",
                                  jsEntry="s.js", idleTimeout="1h", maxInstances=1))
        url = "/echo/echo"
        host.invoke(url, 1)
        (row,) = host.instances("echo")
    else:
        shutil.copytree(BUILD / "examples" / "counter-cpp" / "bundle", tmp_path / "counter")
        host.deploy(tmp_path / "counter")
        url = "/counter/get"
        host.invoke("/counter/add", 1)
        (row,) = host.instances("counter")
    return url, row["pid"]


def test_mutated_messagepack_neither_ends_nor_grows_a_service(host, service):
    url, pid = service
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    inputs = KNOWN + list(truncations()) + [mutated(chance) for _ in range(INPUTS)]
    total = sum(map(len, inputs))
    before, host_before = resident_bytes(pid), resident_bytes(host.pid)
    outcomes = {}
    with Caller(host.address) as caller:
        waiting = []

        def settle():
            for future in waiting:
                try:
                    future.result(30)
                    outcome = "OK"
                except grpc.RpcError as error:
                    outcome = error.code().name
                    assert len(error.details()) > 0
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
            waiting.clear()

        for data in inputs:
            waiting.append(caller.stub.Invoke.future(
                caller.messages.Message(value=data), timeout=30,
                metadata=caller._metadata(url, None)))
            if len(waiting) == 64:
                settle()
        settle()
    grown, host_grown = resident_bytes(pid) - before, resident_bytes(host.pid) - host_before
    print(f"{len(inputs)} inputs of {total} bytes: {outcomes}; grown by {grown >> 10} KiB, "
          f"the host by {host_grown >> 10} KiB")
    assert set(outcomes) <= {"OK", "INVALID_ARGUMENT"}, outcomes
    assert outcomes["INVALID_ARGUMENT"] > INPUTS / 4
    assert grown <= 256 * total + GROWTH_BYTES_MAX
    assert host_grown <= 256 * total + GROWTH_BYTES_MAX
    (row,) = host.instances()
    assert row["pid"] == pid, "it was started anew"


def test_mutated_lever_json_is_refused_and_leaves_nothing(host, tmp_path):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    good = json.dumps({"name": "m", "entry": ["./serve"], "idleTimeout": "5s", "private": True,
                       "config": {"a": [1, 2]}, "maxInstances": 3})
    directory = write_service(tmp_path / "m", {"serve": "#!/bin/sh\nexec sleep 60\n"}, name="m")
    refused = 0
    for _ in range(100):
        text = bytearray(good, "utf-8")
        for _ in range(chance.randrange(1, 4)):
            text[chance.randrange(len(text))] = chance.randrange(256)
        (directory / "lever.json").write_bytes(bytes(text))
        result = host.cli("deploy", directory)
        assert result.code in (0, 2), result.err
        if result.code == 2:
            refused += 1
            assert len(result.err.strip()) > 0 and result.out == ""
    assert refused > 50


def test_a_broken_off_upload_leaves_nothing(host, tmp_path):
    directory = write_service(tmp_path / "big", {"serve": "#!/bin/sh\nexec sleep 60\n"}, name="big")
    with open(directory / "blob", "wb") as file:
        file.write(random.Random(1).randbytes(40 << 20))
    deploying = subprocess.Popen(host.command("deploy", directory), env=host.environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uploads = os.path.join(host.data_dir, "uploads")
    give_up = time.monotonic() + 20
    while not os.listdir(uploads):
        assert deploying.poll() is None and time.monotonic() < give_up, "it was never under way"
        time.sleep(0.001)
    deploying.kill()
    deploying.wait()
    while os.listdir(uploads):
        assert time.monotonic() < give_up, os.listdir(uploads)
        time.sleep(0.01)
    assert os.listdir(os.path.join(host.data_dir, "bundles")) == []
    assert host.cli("--json", "ls").json() == []
