"""Unary calls between two Python programs over TCP, both asyncio: 32 bytes there and back.

cpu: 64 outstanding; p50: one at a time.
"""

from lib.sides import Load
from lib.table import HIGHER, LOWER, compare

ROWS = [
    compare("unary.python.cpu", "us CPU a call", LOWER, 1 / 5, "grpcio asyncio", "both_us", "lever-64",
            "grpcio-64"),
    compare("unary.python.rate", "calls/s", HIGHER, None, "grpcio asyncio", "rate", "lever-64",
            "grpcio-64"),
    compare("unary.python.p50", "us", LOWER, 1 / 4, "grpcio asyncio", "p50_us", "lever-1", "grpcio-1"),
]


def interpreter(bench):
    """The one that has the peer, for both."""
    return bench.root / ".deps" / "venv" / "bin" / "python"


def lever(bench):
    folder = bench.root / "bench" / "lever"
    env = {"PYTHONPATH": str(bench.build / "runtime" / "python")}
    python = interpreter(bench)
    service, address = bench.serve(python, folder / "service.py", "attach", "127.0.0.1:1", env=env)
    return service.pid, bench.load(python, folder / "client.py", address, "bench-python", env=env)


def grpcio(bench):
    program = bench.root / "bench" / "peers" / "grpcio" / "echo.py"
    server, address = bench.serve(interpreter(bench), program, "server")
    return server.pid, bench.load(interpreter(bench), program, "client", address)


PROGRAMS = {"lever": lever, "grpcio": grpcio}


def open_side(bench, name):
    key, outstanding = name.rsplit("-", 1)
    pid, client = bench.once(key, lambda: PROGRAMS[key](bench))
    return Load(client, ("unary", int(outstanding)), {"service": pid})
