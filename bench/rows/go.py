"""Unary calls between two Go programs over TCP: 32 bytes there and back.

cpu and rate: 64 goroutines that call one after the other over one connection; p50: one.
"""

from lib.sides import Load
from lib.table import HIGHER, LOWER, compare

ROWS = [
    compare("unary.go.cpu", "us CPU a call", LOWER, 0.8, "grpc-go", "both_us", "lever-64", "grpc-go-64"),
    compare("unary.go.rate", "calls/s", HIGHER, 1.3, "grpc-go", "rate", "lever-64", "grpc-go-64"),
    compare("unary.go.p50", "us", LOWER, 0.7, "grpc-go", "p50_us", "lever-1", "grpc-go-1"),
]


def lever(bench):
    programs = bench.programs / "lever-go"
    service, address = bench.serve(programs / "service", "attach", "127.0.0.1:1")
    return service.pid, bench.load(programs / "client", address, "bench-go")


def grpc_go(bench):
    server, address = bench.serve(bench.programs / "grpc-go", "server")
    return server.pid, bench.load(bench.programs / "grpc-go", "client", address)


PROGRAMS = {"lever": lever, "grpc-go": grpc_go}


def open_side(bench, name):
    key, outstanding = name.rsplit("-", 1)
    pid, client = bench.once(key, lambda: PROGRAMS[key](bench))
    return Load(client, ("unary", int(outstanding)), {"service": pid})
