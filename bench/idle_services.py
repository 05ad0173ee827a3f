#!/usr/bin/env python3
"""What services cost that nobody calls: memory and CPU of a leverd with 1,000 of them, then a call to each.

    bench/idle_services.py [--services 1000] [--rate 50]

A leverd with its own defaults, and C++ services that are deployed from the same directory under names of their own.
Prints the leverd's memory before and after, its CPU over a minute in which nothing is called, and then, called in
random order at a fixed rate over HTTP, how long each service took to answer its first call, timed from when that was
due, and how many instances there were at a time. Needs `ninja bench_echo_service` in the build folder
($LEVER_BUILD_DIR, build/release).
"""

import argparse
import http.client
import os
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from lib import sides  # noqa: E402
from lib.program import cpu_ns  # noqa: E402
from lib.session import Bench  # noqa: E402

IDLE_S = 60
CALLERS = 64
SEED = 1
FIELDS = ("VmRSS", "RssAnon")


def memory_kib(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {field: int(values[field].split()[0]) for field in FIELDS}


def deploy_all(bench, host, count):
    names = [f"idle-{number:04}" for number in range(count)]
    began = time.monotonic()
    for name in names:
        sides.deploy_cpp(bench, host, name, idleTimeout="5s")
    return names, time.monotonic() - began


class Calls:
    """One call of each service, each from when it is due."""

    def __init__(self, address, names, rate):
        self.address, self.names, self.rate = address, names, rate
        self.took_ms, self.failures = [], []
        self.lock, self.next = threading.Lock(), 0

    def run(self):
        self.began = time.monotonic()
        callers = [threading.Thread(target=self.call_some) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        return callers

    def call_some(self):
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        while True:
            with self.lock:
                at = self.next
                self.next += 1
            if at >= len(self.names):
                connection.close()
                return
            due = self.began + at / self.rate
            time.sleep(max(0, due - time.monotonic()))
            connection.request("POST", f"/{self.names[at]}/echo", b"?", {"content-type": "application/octet-stream"})
            reply = connection.getresponse()
            body = reply.read()
            took_ms = (time.monotonic() - due) * 1000
            with self.lock:
                self.took_ms.append(took_ms)
                if reply.status != 200:
                    self.failures.append((self.names[at], reply.status, body[:200]))


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def measure(bench, services, rate):
    host = sides.host(bench)
    before = memory_kib(host.pid)
    names, deploy_s = deploy_all(bench, host, services)
    after = memory_kib(host.pid)
    print(f"{services} services deployed in {deploy_s:.0f} s")
    for field in FIELDS:
        grown = after[field] - before[field]
        print(f"{field}: {before[field]:,} KiB without, {after[field]:,} KiB with: {grown / services:.1f} KiB each")
    used = cpu_ns(host.pid)
    time.sleep(IDLE_S)
    used = cpu_ns(host.pid) - used
    print(f"CPU of the idle leverd: {used / 1e6 / IDLE_S:.3f} ms a second")

    random.Random(SEED).shuffle(names)
    calls = Calls(host.address, names, rate)
    used = cpu_ns(host.pid)
    callers = calls.run()
    most = 0
    while any(caller.is_alive() for caller in callers):
        most = max(most, len(host.instances()))
        time.sleep(1)
    used = cpu_ns(host.pid) - used
    print(f"first calls at {rate}/s: {len(calls.took_ms)}, failed {len(calls.failures)},"
          f" p50 {statistics.median(calls.took_ms):.1f} ms, p99 {percentile(calls.took_ms, 0.99):.1f} ms,"
          f" max {max(calls.took_ms):.1f} ms; at most {most} instances at a time;"
          f" CPU of leverd {used / 1e6 / len(names):.2f} ms a call")
    for failure in calls.failures[:5]:
        print("failed:", *failure)
    print("VmRSS after: %s KiB" % f"{memory_kib(host.pid)['VmRSS']:,}")
    return calls.failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50, help="calls a second")
    options = parser.parse_args()
    build = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
    with tempfile.TemporaryDirectory(prefix="lever-bench-") as scratch:
        os.chmod(scratch, 0o755)  # services run under users of their own
        bench = Bench(ROOT, build, scratch, False, ["*"])
        with bench.stack:
            failures = measure(bench, options.services, options.rate)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
