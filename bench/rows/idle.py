"""Memory of what does nothing: 10,000 relayed streams in a host, 10,000 connections in a server.

Resident memory that no file backs, after less before. The kernel's own memory for sockets is not in it.
"""

import socket
import time

from lib import sides
from lib.program import BenchError, anonymous_bytes
from lib.table import ABSOLUTE, LOWER, Row, compare

COUNT = 10_000
# Instances, and clients: a connection has at most 1,000 streams, and a client's has its watch, too.
SERVICES = 11
STREAMS_EACH = -(-COUNT // SERVICES)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_ACK = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + b"idlebyte"
PING_ACK = bytes([0, 0, 8, 6, 1, 0, 0, 0, 0]) + b"idlebyte"

# A measurement starts its own processes, and one of it says what ten would.
REPETITIONS = 3

ROWS = [
    Row("idle.stream.bytes", "bytes a stream", LOWER, None, 8192, ("streams",),
        lambda r: r["streams"]["bytes"], None, ABSOLUTE),
    compare("idle.connection.bytes", "bytes a connection", LOWER, 1.3, "bare nghttp2 session + socket",
            "bytes", "service", "bare"),
    compare("idle.connection.bytes", "bytes a connection", LOWER, None, "gRPC C++", "bytes", "service",
            "grpc-cpp"),
    compare("idle.connection.bytes.host", "bytes a connection", LOWER, 1.3,
            "bare nghttp2 session + socket", "bytes", "host", "bare"),
]


class Streams:
    """A byte each way shows that a stream is open; then it is left alone."""

    def __init__(self, bench):
        self.bench = bench

    def measure(self, _seconds):
        host = sides.host(self.bench, "--threads", "1")
        service = self.bench.programs / "echo-cpp" / "serve"
        for i in range(SERVICES):
            self.bench.serve(service, "--name", f"idle{i}", "--host", host.address)
        client = self.bench.start(self.bench.programs / "lever_client", "--host", host.address,
                                  "--service", "idle", "--clients", SERVICES)
        client.expect("ready")
        client.ask("open", 0, 1)  # every connection
        before = anonymous_bytes(host.pid)
        opened = client.ask("open", 0, STREAMS_EACH, seconds=60)["calls"]
        used = anonymous_bytes(host.pid) - before
        client.stop()
        return {"bytes": used / opened}


class Connections:
    """HTTP/2 connections whose SETTINGS are exchanged and a PING answered; then they are left alone."""

    def __init__(self, bench, start):
        self.bench = bench
        self.start = start

    def measure(self, _seconds):
        pid, address = self.start(self.bench)
        host, _, port = address.rpartition(":")
        open_now = []
        try:
            self.open(open_now, (host, int(port)), 10)  # what the first of all costs
            before = anonymous_bytes(pid)
            self.open(open_now, (host, int(port)), COUNT)
            return {"bytes": (anonymous_bytes(pid) - before) / COUNT}
        finally:
            for connection in open_now:
                connection.close()

    @staticmethod
    def open(connections, address, count):
        fresh = []
        for _ in range(count):
            connection = socket.create_connection(address, 10)
            connection.sendall(PREFACE)
            fresh.append(connection)
        connections.extend(fresh)
        for connection in fresh:
            connection.sendall(SETTINGS_ACK + PING)
        for connection in fresh:
            received, give_up = b"", time.monotonic() + 10
            while PING_ACK not in received:
                piece = connection.recv(4096)
                if not piece or time.monotonic() > give_up:
                    raise BenchError("a connection was not answered")
                received += piece


def service(bench):
    program, address = sides.listening_cpp(bench)
    return program.pid, address


def grpc_cpp(bench):
    program, address = bench.serve(bench.programs / "grpc_server")
    return program.pid, address


def bare(bench):
    program, address = bench.serve(bench.programs / "bare_sessions", "127.0.0.1:0")
    return program.pid, address


def leverd(bench):
    host = sides.host(bench, "--threads", "1")
    return host.pid, host.address


def open_side(bench, name):
    if name == "streams":
        return Streams(bench)
    return Connections(bench, {"service": service, "grpc-cpp": grpc_cpp, "bare": bare, "host": leverd}[name])
