"""Clients that have no code of Lever's: by a host, and straight to a program that attached itself."""

import json
import subprocess

import grpc
import pytest
from lever_testing import BUILD, ROOT, write_service
from raw_calls import CallError, Caller

GRPCURL = ROOT / ".deps" / "bin" / "grpcurl"
COUNTER = BUILD / "examples" / "counter-cpp" / "bundle" / "serve"
SERVICE = """
exports.add = async (a, b) => a + b;
exports.echoChan = async (stream, first) => {
  await stream.write(first);
  for await (const message of stream) await stream.write(message);
};
"""


@pytest.fixture
def counter(host):
    """A C++ program attached to the host, which listens at an address of its own."""
    program = subprocess.Popen([COUNTER, "attach", "--host", host.address, "--listen",
                                "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        yield program.stdout.readline().split()[-1]
    finally:
        program.terminate()
        assert program.wait(30) == 0, "it did not detach cleanly"
        program.stdout.close()


def peers():
    python = [str(ROOT / ".deps" / "venv" / "bin" / "python"),
              str(ROOT / "tests" / "e2e" / "peers" / "python" / "client.py")]
    return {"grpcio": python, "grpc-go": [str(BUILD / "e2e" / "grpc-go-client")]}


def run_peer(peer, *words):
    done = subprocess.run(peers()[peer] + list(words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("peer", ["grpcio", "grpc-go"])
def test_a_foreign_client_calls_by_the_host(host, tmp_path, peer):
    host.deploy(write_service(tmp_path / "sum", {"s.js": SERVICE}, name="sum", jsEntry="s.js"))
    assert run_peer(peer, "--target", host.address, "--url", "/sum/add", "--arg-json",
                    "[2, 3]") == [5]
    assert run_peer(peer, "--target", host.address, "--url", "/sum/echoChan", "--arg-json",
                    '["a"]', "--message-json", '{"b":1}', "--message-json", "3",
                    "--stream") == ["a", {"b": 1}, 3]


def test_a_foreign_client_calls_compressed_by_the_host(host, tmp_path):
    host.deploy(write_service(tmp_path / "sum", {"s.js": SERVICE}, name="sum", jsEntry="s.js"))
    text = "to be compressed " * 20_000
    with Caller(host.address) as caller:
        for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
            assert caller.invoke("/sum/add", text, "!", compression=compression) == text + "!"
        with pytest.raises(CallError) as refused:
            caller.invoke("/sum/add", text, "!", compression=grpc.Compression.Deflate)
    assert (refused.value.code, refused.value.executed) == ("UNIMPLEMENTED", "no")


@pytest.mark.parametrize("peer", ["grpcio", "grpc-go"])
def test_a_foreign_client_calls_an_attached_program_directly(host, counter, peer):
    relayed = host.counters().calls_relayed
    assert run_peer(peer, "--target", counter, "--url", "/counter/add", "--arg-json", "[4]") == [4]
    assert run_peer(peer, "--target", counter, "--url", "/counter/echoChan", "--arg-json", "[]",
                    "--message-json", '"x"', "--stream") == ["x"]
    assert host.counters().calls_relayed == relayed


def test_an_attached_program_is_called_by_name(host, counter):
    assert host.invoke("/counter/add", 5) == 5
    (row,) = host.instances("counter")
    assert row["attached"] is True and row["address"] == counter


def test_reflection_and_health_answer_to_grpcurl(host):
    def grpcurl(*words):
        return subprocess.run([GRPCURL, "-plaintext", *words], capture_output=True, text=True,
                              timeout=30)
    listed = grpcurl(host.address, "list").stdout.split()
    assert {"lever.v1.Lever", "lever.v1.Admin", "grpc.health.v1.Health"} <= set(listed)
    described = grpcurl(host.address, "describe", "lever.v1.Lever").stdout
    assert "rpc Invoke" in described and "rpc Stream" in described
    health = grpcurl(host.address, "grpc.health.v1.Health/Check")
    assert json.loads(health.stdout) == {"status": "SERVING"}
    rows = grpcurl("-d", "{}", host.address, "lever.v1.Admin/ListServices")
    assert rows.returncode == 0, rows.stderr


def test_200_foreign_streams_at_once(host, tmp_path):
    host.deploy(write_service(tmp_path / "sum", {"s.js": SERVICE}, name="sum", jsEntry="s.js"))
    with Caller(host.address) as caller:
        streams = [caller.stream("/sum/echoChan", [n], [n + 1, n + 2]) for n in range(200)]
        assert [list(stream) for stream in streams] == [[n, n + 1, n + 2] for n in range(200)]
