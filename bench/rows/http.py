"""HTTP/1.1 with JSON: CPU of leverd a call, against nginx that passes the same body on.

64 kept connections with one request at a time on each.
"""

import json

from lib import sides
from lib.sides import Load
from lib.table import LOWER, compare

ROWS = [compare("http.cpu", "us CPU a call", LOWER, 1.2, "nginx", "relay_us", peer="nginx")]
BODY = json.dumps(["x" * 32])
CONNECTIONS = 64


def load(bench, pid, address):
    client = bench.load(bench.programs / "bare", "http-client", address, "/echo-cpp/echo", BODY)
    return Load(client, ("unary", CONNECTIONS), {"relay": pid})


def open_side(bench, name):
    if name == "lever":
        host = sides.only_host(bench)
        sides.deploy_cpp(bench, host)
        return load(bench, host.pid, host.address)
    _, upstream = bench.serve(bench.programs / "bare", "http", "127.0.0.1:0")
    return load(bench, *sides.proxy_nginx(bench, "http.conf", upstream))
