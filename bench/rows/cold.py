"""Starting: the first call to a service that is stopped, and a deploy to its first reply.

The caller is connected to the host before; the service has just been stopped for lack of calls, so that its
files are in the page cache, as they are for what is started beside it.

Names of sides that end in `.sandbox` are in one: of the host's own, or of bwrap with the flags that the host
gives it, read from the running service's own, but for the filter of system calls. Those that end in `.pool`
take over a runtime that was started ahead; those in `.standby` are answered by a standby.
"""

import json
import os
import pathlib
import shutil
import statistics
import time

from lib import sides
from lib.program import BenchError, cpu_ns
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
    compare("cold.cpp.sandbox.p50", "ms", LOWER, 4, "fork+exec to main of the same binary, same bwrap flags", "ms",
            "cpp.sandbox", "exec.sandbox", kind=DELTA),
    compare("cold.node.sandbox.p50", "ms", LOWER, 1.25, "node -e 0, same bwrap flags", "ms", "node.sandbox",
            "node-e.sandbox"),
    compare("cold.python.sandbox.p50", "ms", LOWER, 1.3, "python3 -c 'import asyncio', same bwrap flags", "ms",
            "python.sandbox", "python-c.sandbox"),
    compare("cold.go.sandbox.p50", "ms", LOWER, 5, "fork+exec to main of the same binary, same bwrap flags", "ms",
            "go.sandbox", "exec-go.sandbox", kind=DELTA),
    compare("cold.node.pool.p50", "ms", LOWER, 1 / 3, "node -e 0", "ms", "node.pool", "node-e"),
    compare("cold.node.pool.p50", "ms", LOWER, 1 / 3, "node -e 0, same bwrap flags", "ms", "node.pool",
            "node-e.sandbox"),
    compare("cold.python.pool.p50", "ms", LOWER, 1 / 3, "python3 -c 'import asyncio'", "ms", "python.pool",
            "python-c"),
    compare("cold.python.pool.p50", "ms", LOWER, 1 / 3, "python3 -c 'import asyncio', same bwrap flags", "ms",
            "python.pool", "python-c.sandbox"),
    compare("cold.node.standby.p50", "ms", LOWER, 1 / 10, "the same without a standby", "ms", "node.standby",
            "node.sandbox"),
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


class Pooled(Start):
    """The same, where a runtime that was started ahead waits to be taken over."""

    def once(self):
        self.await_stop()
        self.await_runtime()
        took = self.client.ask("unary", 0, 1)["p50_us"] / 1000
        if "started ahead" not in self.host.instances(self.service)[0]["driver"]:
            raise BenchError(f"{self.service} did not take a started runtime over")
        return took

    def await_runtime(self):
        """Until one is there and has nothing left to do."""
        language = self.service.removeprefix("echo-")
        give_up, used = time.monotonic() + STOP_S, None
        while time.monotonic() < give_up:
            before, used = used, [cpu_ns(pid) for pid in sides.lever_testing.descendants(self.host.pid)
                                  if is_waiting(pid, language)]
            if used and used == before:
                return
            time.sleep(0.3)
        raise BenchError(f"no {language} is started ahead")


class StandingBy(Start):
    """The same, where an instance stands by and has nothing left to do."""

    def await_stop(self):
        give_up, used = time.monotonic() + STOP_S, None
        while time.monotonic() < give_up:
            rows = self.host.instances(self.service)
            before, used = used, [row["phase"] == "standby" and cpu_ns(row["pid"]) for row in rows]
            if len(used) == 1 and used[0] and used == before:
                return
            time.sleep(0.3)
        raise BenchError(f"{self.service} does not come down to its standby")


def is_waiting(pid, language):
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return False
    return language in command[0] and "--ahead" in command


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


def host(bench, sandbox="none", pool=0):
    # The interpreter itself: what else is called python3 on PATH may start it by way of a script.
    flags = ["--python", python(), "--sandbox", sandbox, "--runtime-pool", str(pool)]
    return bench.once(f"host {sandbox} {pool}", lambda: sides.host(bench, *flags))


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


def deploy_other(bench, to, language, name, **manifest):
    """The service of another language than C++, as a bundle, deployed."""
    directory = bench.folder("bundles") / name
    files, entry = {}, {"entry": ["./service"]}
    if language in ("node", "python"):
        key, file = {"node": ("jsEntry", "service.js"), "python": ("pyEntry", "service.py")}[language]
        files[file] = (bench.root / "bench" / "lever" / file).read_text()
        entry = {key: file}
    sides.lever_testing.write_service(directory, files, name=name, idleTimeout=IDLE, **entry, **manifest)
    if language == "go":
        shutil.copy(bench.programs / "lever-go" / "service", directory)
    to.deploy(directory)


def open_cold(bench, language, sandbox, starts, manner=""):
    to = host(bench, sandbox, 1 if manner == "pool" else 0)
    name = f"echo-{language}"
    if manner == "standby":
        name += "-standby"
        deploy_other(bench, to, language, name, standby=1)
        return StandingBy(bench, to, name, starts)
    if language == "cpp":
        sides.deploy_cpp(bench, to, name, idleTimeout=IDLE)
    else:
        deploy_other(bench, to, language, name)
    return (Pooled if manner == "pool" else Start)(bench, to, name, starts)


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def bwrap_of(bench, language):
    """The start of bwrap's command line for the service in that language."""
    cold = bench.once(f"flags {language}", lambda: open_cold(bench, language, "required", 1))
    cold.call()
    pid, command = cold.host.instance_pid(cold.service), []
    while "--new-session" not in command:
        pid = parent_of(pid)
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    command = command[:command.index("--")]
    filter_at = command.index("--seccomp")
    return [*command[:filter_at], *command[filter_at + 2:], "--"]


# What is started beside a service in which language: by itself, or in a sandbox such as that has.
PEERS = {"exec": "cpp", "exec-go": "go", "node-e": "node", "python-c": "python"}


def open_peer(bench, name, sandbox, starts):
    command = {
        "exec": [bench.programs / "echo-cpp" / "serve"] if sandbox == "none" else ["./serve"],
        "exec-go": [bench.programs / "lever-go" / "service"] if sandbox == "none" else ["./service"],
        "node-e": [sides.which("node"), "-e", "0"],
        "python-c": [python(), "-c", "import asyncio"],
    }[name]
    return Exec(bench, starts, *([] if sandbox == "none" else bwrap_of(bench, PEERS[name])), *command)


def open_side(bench, name):
    starts = STARTS_QUICK if bench.quick else STARTS
    name, _, manner = name.partition(".")
    sandbox = "required" if manner else "none"
    if name in PEERS:
        return open_peer(bench, name, sandbox, starts)
    if name in PEERS.values():
        return open_cold(bench, name, sandbox, starts, manner)
    if name == "deploy":
        return Deploy(bench, host(bench), deployable(bench), "echo-deployed", starts)
    directory, archive = deployable(bench), bench.scratch / "bundle.tar"
    script = 'tar -cf "$1" -C "$2" . && sync -f "$1" && exec "$2/serve"'
    return Exec(bench, starts, "/bin/sh", "-c", script, "sh", archive, directory,
                before=lambda: os.path.exists(archive) and os.remove(archive))
