"""What a call costs as tables and connections grow: the largest against the smallest.

instances, services: routing a call and picking an instance for it, by the host's own code on synthetic
tables (bench/parts/scaling.cc). route.owner: from the name of one of a million resources to the instance that
owns it. connections: CPU of a service a call, one caller with 64 outstanding, while
10,000 other connections are open and idle.
"""

import json

from lib import sides
from lib.sides import Load
from lib.table import LOWER, Row, compare
from rows import idle

CONNECTIONS = 10_000
MIN_TIME = {True: "0.05", False: "0.5"}  # seconds a case


def table_row(name, case, smallest, largest, peer_name):
    return Row(name, "ns CPU a call", LOWER, peer_name, 2, ("tables",),
               lambda r: r["tables"][f"{case}/{largest}"], lambda r: r["tables"][f"{case}/{smallest}"])


ROWS = [
    table_row("scaling.instances", "RouteAmongInstances", 1, 10_000, "1 instance (Lever: 10,000)"),
    table_row("scaling.services", "RouteAmongServices", 1, 100_000, "1 service (Lever: 100,000)"),
    table_row("scaling.services.zipf", "RouteAmongServicesZipf", 1, 100_000,
              "1 service (Lever: 100,000, called by Zipf's law)"),
    Row("route.owner.ns", "ns CPU a call", LOWER, "256 shards (Lever: 16,384)", 2, ("tables",),
        lambda r: r["tables"]["OwnerAmongMillionNames/16384"],
        lambda r: r["tables"]["OwnerAmongMillionNames/256"]),
    compare("scaling.connections", "us CPU a call", LOWER, 2, "1 connection (Lever: 10,000 idle beside it)",
            "service_us", "many", "one"),
]


class Tables:
    def __init__(self, bench):
        self.command = [bench.programs / "lever_parts", "--benchmark_filter=^(RouteAmong.*/(1|10000|100000)|OwnerAmong.*)$",
                        "--benchmark_format=json", f"--benchmark_min_time={MIN_TIME[bench.quick]}"]

    def measure(self, _seconds):
        report = json.loads(sides.run_checked(*self.command))
        return {case["name"]: case["cpu_time"] for case in report["benchmarks"]}


def open_side(bench, name):
    if name == "tables":
        return Tables(bench)
    service, address = sides.listening_cpp(bench)
    if name == "many":
        connections = []
        host, _, port = address.rpartition(":")
        bench.stack.callback(lambda: [connection.close() for connection in connections])
        idle.Connections.open(connections, (host, int(port)), CONNECTIONS)
    client = sides.lever_client(bench, address)
    return Load(client, ("unary", 64), {"service": service.pid})
