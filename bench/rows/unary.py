"""Unary calls in C++: a 32-byte echo, one client process and one service process.

cpu and rate: 64 calls outstanding over one TCP connection. p50: one at a time over a unix socket.
"""

from lib import sides
from lib.sides import Load
from lib.table import HIGHER, LOWER, compare

ROWS = [
    compare("unary.cpp.cpu", "us CPU a call", LOWER, 1 / 8, "gRPC C++", "both_us", peer="grpc-cpp"),
    compare("unary.cpp.cpu", "us CPU a call", LOWER, None, "grpcio asyncio", "both_us", peer="grpcio"),
    compare("unary.cpp.rate", "calls/s", HIGHER, 5, "gRPC C++", "rate", peer="grpc-cpp"),
    compare("unary.cpp.rate", "calls/s", HIGHER, 3, "grpc-go", "rate", peer="grpc-go"),
    compare("unary.cpp.p50", "us", LOWER, 1.4, "bare epoll echo", "p50_us", lever="lever-alone",
            peer="epoll-alone"),
]


def lever(bench):
    service, address = sides.listening_cpp(bench)
    client = sides.lever_client(bench, address)
    return Load(client, ("unary", 64), {"service": service.pid})


def grpc_cpp(bench):
    server, address = bench.serve(bench.programs / "grpc_server")
    client = bench.load(bench.programs / "grpc_client", address)
    return Load(client, ("unary", 64), {"service": server.pid})


def grpc_go(bench):
    server, address = bench.serve(bench.programs / "grpc-go", "server")
    client = bench.load(bench.programs / "grpc-go", "client", address)
    return Load(client, ("unary", 64), {"service": server.pid})


def grpcio(bench):
    python = bench.root / ".deps" / "venv" / "bin" / "python"
    program = bench.root / "bench" / "peers" / "grpcio" / "echo.py"
    server, address = bench.serve(python, program, "server")
    return Load(bench.load(python, program, "client", address), ("unary", 64), {"service": server.pid})


def lever_alone(bench):
    host = sides.only_host(bench)
    each = ("--flush", "call")  # nothing else is there to be written together with
    sides.deploy_cpp(bench, host, flags=each)
    client = sides.lever_client(bench, host.address, "echo-cpp", "direct", each)
    return Load(client, ("unary", 1))


def epoll_alone(bench):
    address = f"unix:{bench.scratch}/echo.sock"
    bench.serve(bench.programs / "bare", "echo", address)
    return Load(bench.load(bench.programs / "bare", "client", address), ("unary", 1))


SIDES = {"lever": lever, "grpc-cpp": grpc_cpp, "grpc-go": grpc_go, "grpcio": grpcio,
         "lever-alone": lever_alone, "epoll-alone": epoll_alone}


def open_side(bench, name):
    return SIDES[name](bench)
