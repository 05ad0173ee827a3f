"""Unary calls between two Node programs over TCP: a 32-byte text there and back.

cpu and rate: 64 outstanding; p50: one at a time.
"""

from lib import sides
from lib.program import free_port
from lib.sides import Load, node_environment
from lib.table import HIGHER, LOWER, compare

ROWS = [
    compare("unary.node.cpu", "us CPU a call", LOWER, 1 / 8, "grpc-js", "both_us", "lever-64", "grpc-js-64"),
    compare("unary.node.cpu", "us CPU a call", LOWER, 0.8, "Moleculer", "both_us", "lever-64",
            "moleculer-64"),
    compare("unary.node.rate", "calls/s", HIGHER, 1.3, "Moleculer", "rate", "lever-64", "moleculer-64"),
    compare("unary.node.p50", "us", LOWER, 0.4, "grpc-js", "p50_us", "lever-1", "grpc-js-1"),
    compare("unary.node.p50", "us", LOWER, 0.7, "Moleculer", "p50_us", "lever-1", "moleculer-1"),
]
# Compilers of hot code have had their turn.
FIRST_WARM_S = 1.0


def lever(bench):
    folder = bench.root / "bench" / "lever"
    env = node_environment(bench)
    service, address = bench.serve("node", folder / "service.js", "attach", "127.0.0.1:1", env=env)
    return service.pid, bench.load("node", folder / "client.js", address, "bench-node", env=env)


def grpc_js(bench):
    program = bench.root / "bench" / "peers" / "node" / "grpc_js.js"
    env = node_environment(bench)
    server, address = bench.serve("node", program, "server", env=env)
    return server.pid, bench.load("node", program, "client", address, env=env)


def moleculer(bench):
    program = bench.root / "bench" / "peers" / "node" / "moleculer.js"
    env = node_environment(bench)
    ports = free_port(), free_port()
    server, _ = bench.serve("node", program, "server", ports[0], ports[1], env=env)
    return server.pid, bench.load("node", program, "client", ports[1], ports[0], env=env)


PROGRAMS = {"lever": lever, "grpc-js": grpc_js, "moleculer": moleculer}


def warm(bench, key):
    pid, client = PROGRAMS[key](bench)
    Load(client, ("unary", 64)).run(FIRST_WARM_S)
    return pid, client


def open_side(bench, name):
    key, outstanding = name.rsplit("-", 1)
    pid, client = bench.once(key, lambda: warm(bench, key))
    return Load(client, ("unary", int(outstanding)), {"service": pid})
