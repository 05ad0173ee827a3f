"""Streams in C++.

rate: 64-byte messages that come back over one stream, 1,024 on their way. bytes: 64 KiB messages, one way
through one stream, until the service has taken the last. TCP unless the row says otherwise.
"""

from lib import sides
from lib.sides import Load
from lib.table import HIGHER, compare

WINDOW = 1024

ROWS = [
    compare("stream.cpp.rate", "messages/s", HIGHER, 6, "gRPC C++", "rate", "lever-rate", "grpc-rate"),
    compare("stream.cpp.bytes", "bytes/s", HIGHER, 2, "gRPC C++", "bytes_rate", "lever-bytes",
            "grpc-bytes"),
    compare("stream.cpp.bytes", "bytes/s", HIGHER, 0.7, "plain send/recv, TCP", "bytes_rate",
            "lever-bytes", "plain-bytes"),
    compare("stream.cpp.bytes", "bytes/s", HIGHER, 0.7, "plain send/recv, unix socket", "bytes_rate",
            "lever-unix", "plain-unix"),
    compare("stream.relay.bytes", "bytes/s", HIGHER, 1.0, "haproxy", "bytes_rate", "lever-relay",
            "haproxy-relay"),
]
LARGE_BYTES = 64 * 1024


class Bytes(Load):
    def measure(self, seconds):
        measured = super().measure(seconds)
        return {**measured, "bytes_rate": measured["rate"] * LARGE_BYTES}


def lever(bench):
    def make():
        service, address = sides.listening_cpp(bench)
        return sides.lever_client(bench, address), service.pid, address
    return bench.once("lever", make)


def grpc(bench):
    def make():
        server, address = bench.serve(bench.programs / "grpc_server")
        return bench.load(bench.programs / "grpc_client", address), server.pid
    return bench.once("grpc", make)


def plain(bench, address):
    server, bound = bench.serve(bench.programs / "bare", "sink", address)
    return Bytes(bench.load(bench.programs / "bare", "client", bound), ("bytes", 0), {"service": server.pid})


def through_host(bench, way):
    host = sides.only_host(bench)
    if "deployed" not in bench.shared:
        bench.once("deployed", lambda: sides.deploy_cpp(bench, host))
    client = sides.lever_client(bench, host.address, "echo-cpp", way)
    return Bytes(client, ("bytes", 0), {"relay": host.pid})


def through_haproxy(bench):
    pid, address = sides.proxy_haproxy(bench, lever(bench)[2])
    return Bytes(sides.lever_client(bench, address), ("bytes", 0), {"relay": pid})


def open_side(bench, name):
    if name in ("lever-rate", "lever-bytes"):
        client, pid, _ = lever(bench)
    elif name in ("grpc-rate", "grpc-bytes"):
        client, pid = grpc(bench)
    elif name == "plain-bytes":
        return plain(bench, "127.0.0.1:0")
    elif name == "plain-unix":
        return plain(bench, f"unix:{bench.scratch}/sink.sock")
    elif name == "haproxy-relay":
        return through_haproxy(bench)
    else:
        return through_host(bench, "direct" if name == "lever-unix" else "host")
    if name.endswith("rate"):
        return Load(client, ("stream", WINDOW), {"service": pid})
    return Bytes(client, ("bytes", 0), {"service": pid})
