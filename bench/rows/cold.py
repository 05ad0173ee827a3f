"""Starting: the first call to a service that is stopped, and a deploy to its first reply.

The caller is connected to the host before; the service has just been stopped for lack of calls, so that its
files are in the page cache, as they are for what is started beside it.
"""

import json
import os
import shutil
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
    compare("cold.python.p50", "ms", LOWER, 1.3, "python3 -c 'import asyncio'", "ms", "python", "python-c"),
    compare("cold.go.p50", "ms", LOWER, 5, "fork+exec to main of the same binary", "ms", "go", "exec-go",
            kind=DELTA),
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


def python():
    return sides.lever_testing.reachable_python()


def host(bench):
    # The interpreter itself: what else is called python3 on PATH may start it by way of a script.
    return bench.once("host", lambda: sides.host(bench, "--python", python()))


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


def deploy_other(bench, language):
    """The service of another language than C++, as a bundle, deployed."""
    directory = bench.folder("bundles") / f"echo-{language}"
    files, entry = {}, {"entry": ["./service"]}
    if language in ("node", "python"):
        key, file = {"node": ("jsEntry", "service.js"), "python": ("pyEntry", "service.py")}[language]
        files[file] = (bench.root / "bench" / "lever" / file).read_text()
        entry = {key: file}
    sides.lever_testing.write_service(directory, files, name=f"echo-{language}", idleTimeout=IDLE, **entry)
    if language == "go":
        shutil.copy(bench.programs / "lever-go" / "service", directory)
    host(bench).deploy(directory)


def open_side(bench, name):
    starts = STARTS_QUICK if bench.quick else STARTS
    if name == "cpp":
        sides.deploy_cpp(bench, host(bench), "echo-cold", idleTimeout=IDLE)
        return Start(bench, host(bench), "echo-cold", starts)
    if name == "exec":
        return Exec(bench, starts, bench.programs / "echo-cpp" / "serve")
    if name == "exec-go":
        return Exec(bench, starts, bench.programs / "lever-go" / "service")
    if name == "node-e":
        return Exec(bench, starts, sides.which("node"), "-e", "0")
    if name == "python-c":
        return Exec(bench, starts, python(), "-c", "import asyncio")
    if name in ("node", "python", "go"):
        deploy_other(bench, name)
        return Start(bench, host(bench), f"echo-{name}", starts)
    if name == "deploy":
        return Deploy(bench, host(bench), deployable(bench), "echo-deployed", starts)
    directory, archive = deployable(bench), bench.scratch / "bundle.tar"
    script = 'tar -cf "$1" -C "$2" . && sync -f "$1" && exec "$2/serve"'
    return Exec(bench, starts, "/bin/sh", "-c", script, "sh", archive, directory,
                before=lambda: os.path.exists(archive) and os.remove(archive))
