"""A relayed gRPC call: the same client and the same C++ service, and between them leverd or a peer.

64 calls outstanding over one TCP connection, and one more between the relay and the service.
"""

from lib import sides
from lib.sides import Load
from lib.table import LOWER, Row, compare

OUTSTANDING = 64


def added(relay, outstanding):
    return lambda r: r[f"{relay}-{outstanding}"]["p50_us"] - r[f"direct-{outstanding}"]["p50_us"]


def added_row(name, outstanding):
    sides_of = tuple(f"{side}-{outstanding}" for side in ("lever", "haproxy", "direct"))
    return Row(name, "us", LOWER, "haproxy", 1.0, sides_of, added("lever", outstanding),
               added("haproxy", outstanding))


ROWS = [
    compare("relay.cpu", "us CPU a call", LOWER, 1.3, "haproxy", "relay_us", "lever-64", "haproxy-64"),
    compare("relay.cpu", "us CPU a call", LOWER, 0.4, "nginx", "relay_us", "lever-64", "nginx-64"),
    compare("relay.cpu", "us CPU a call", LOWER, 1.25, "bare nghttp2 relay", "relay_us", "lever-64",
            "bare-64"),
    added_row("relay.added_p50", 64),
    added_row("relay.added_p50.alone", 1),
]


def service(bench):
    return bench.once("service", lambda: sides.listening_cpp(bench)[1])


def client(bench, key, address, name="bench"):
    return bench.once(f"client-{key}", lambda: sides.lever_client(bench, address, name))


def lever_relay(bench):
    host = sides.only_host(bench)
    sides.deploy_cpp(bench, host)
    return host.pid, host.address


def relay(bench, key):
    make = {
        "lever": lambda: lever_relay(bench),
        "haproxy": lambda: sides.proxy_haproxy(bench, service(bench)),
        "nginx": lambda: sides.proxy_nginx(bench, "grpc.conf", service(bench)),
        "bare": lambda: sides.bare_relay(bench, service(bench)),
        "direct": lambda: (None, service(bench)),
    }
    return bench.once(key, make[key])


def open_side(bench, name):
    key, outstanding = name.rsplit("-", 1)
    pid, address = relay(bench, key)
    caller = client(bench, key, address, "echo-cpp" if key == "lever" else "bench")
    return Load(caller, ("unary", int(outstanding)), {"relay": pid} if pid else {})
