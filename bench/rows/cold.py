"""Starting: the first call to a service that is stopped, and a deploy to its first reply.

The caller is connected to the host before; the service has just been stopped for lack of calls, so that its
files are in the page cache, as they are for what is started beside it.
"""

import json
import os
import statistics
import time

from lib import sides
from lib.program import BenchError
from lib.table import DELTA, LOWER, compare

IDLE = "0.3s"
STOP_S = 30
STARTS_QUICK, STARTS = 3, 5  # a repetition

ROWS = [
    compare("cold.cpp.p50", "ms", LOWER, 4, "fork+exec to main of the same binary", "ms", "cpp", "exec",
            kind=DELTA),
    compare("cold.node.p50", "ms", LOWER, 1.25, "node -e 0", "ms", "node", "node-e"),
    compare("deploy.p50", "ms", LOWER, 3, "tar, one sync -f, exec of the same", "ms", "deploy", "tar"),
]
FILES = 100  # of the deployed directory, those of the service itself included


class Start:
    """Milliseconds from a call to its reply, no instance running."""

    def __init__(self, bench, host, service, starts):
        self.host, self.service, self.starts = host, service, starts
        self.client = bench.load(bench.programs / "lever_client", "--host", host.address, "--service",
                                 service, "--cold", "yes")
        self.call()  # connects, and starts it a first time

    def call(self):
        began = time.monotonic()
        self.client.ask("unary", 0, 1)
        return (time.monotonic() - began) * 1000

    def await_stop(self):
        give_up = time.monotonic() + STOP_S
        while self.host.instances(self.service):
            if time.monotonic() > give_up:
                raise BenchError(f"{self.service} does not stop")
            time.sleep(0.05)

    def once(self):
        self.await_stop()
        return self.client.ask("unary", 0, 1)["p50_us"] / 1000

    def measure(self, _seconds):
        return {"ms": statistics.median(self.once() for _ in range(self.starts))}


class Deploy(Start):
    """Milliseconds from the start of `lever deploy` to the reply of a call that follows it."""

    def __init__(self, bench, host, directory, service, starts):
        self.directory = directory
        super().__init__(bench, host, service, starts)

    def once(self):
        self.await_stop()
        (self.directory / "data-0.txt").write_text(f"{time.monotonic_ns()}\n" * 50)
        began = time.monotonic()
        self.host.deploy(self.directory)
        self.call()
        return (time.monotonic() - began) * 1000


class Exec:
    """Milliseconds from fork to main() of a program, or to its end."""

    def __init__(self, bench, starts, *argv, before=lambda: None):
        self.command = [bench.programs / "until_main", starts, *argv]
        self.before = before

    def measure(self, _seconds):
        self.before()
        return {"ms": statistics.median(json.loads(sides.run_checked(*self.command))["ms"])}


def host(bench):
    return bench.once("host", lambda: sides.host(bench))


def fill(directory):
    """Up to 100 files, of 10 KB each."""
    missing = FILES - sum(1 for _ in directory.iterdir())
    for i in range(missing):
        (directory / f"data-{i}.txt").write_text(f"{i} of a hundred\n" * 650)


def deployable(bench):
    def make():
        directory = sides.deploy_cpp(bench, host(bench), "echo-deployed", idleTimeout=IDLE)
        fill(directory)
        return directory
    return bench.once("deployable", make)


def open_side(bench, name):
    starts = STARTS_QUICK if bench.quick else STARTS
    if name == "cpp":
        sides.deploy_cpp(bench, host(bench), "echo-cold", idleTimeout=IDLE)
        return Start(bench, host(bench), "echo-cold", starts)
    if name == "exec":
        return Exec(bench, starts, bench.programs / "echo-cpp" / "serve")
    if name == "node":
        source = (bench.root / "bench" / "lever" / "service.js").read_text()
        directory = sides.lever_testing.write_service(
            bench.folder("bundles") / "echo-node", {"service.js": source}, name="echo-node",
            jsEntry="service.js", idleTimeout=IDLE)
        host(bench).deploy(directory)
        return Start(bench, host(bench), "echo-node", starts)
    if name == "node-e":
        return Exec(bench, starts, sides.which("node"), "-e", "0")
    if name == "deploy":
        return Deploy(bench, host(bench), deployable(bench), "echo-deployed", starts)
    directory, archive = deployable(bench), bench.scratch / "bundle.tar"
    script = 'tar -cf "$1" -C "$2" . && sync -f "$1" && exec "$2/serve"'
    return Exec(bench, starts, "/bin/sh", "-c", script, "sh", archive, directory,
                before=lambda: os.path.exists(archive) and os.remove(archive))
