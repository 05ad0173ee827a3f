"""What an upgrade costs those who call the resources of a service, all of which it moves.

Calls at a steady rate, timed from when they were due (tests/e2e/owned/callers.cc). A pause is the longest call that a
resource had while the new version was deployed and the old one went away.
"""

import json
import shutil
import subprocess
import time

from lib import sides
from lib.program import BenchError
from lib.table import ABSOLUTE, LOWER, Row

RATE = 1000
RESOURCES = 200
UPGRADES = 3
END_S = 60

REPETITIONS = 3

ROWS = [
    Row("handoff.pause.p99", "ms", LOWER, None, None, ("upgrades",),
        lambda r: r["upgrades"]["pause_p99_ms"], None, ABSOLUTE),
    Row("upgrade.failed", "calls", LOWER, None, 0, ("upgrades",),
        lambda r: r["upgrades"]["failed"] + r["upgrades"]["unanswered"] + r["upgrades"]["lost"], None, ABSOLUTE),
]


class Upgrades:
    def __init__(self, bench):
        self.bench = bench
        self.programs = bench.build / "tests" / "e2e" / "owned"
        self.host = sides.host(bench)
        self.directory = bench.folder("bundles") / "owned"
        shutil.copytree(self.programs / "bundle", self.directory)
        manifest = json.loads((self.directory / "lever.json").read_text())
        manifest.update(minInstances=2, maxInstances=2)
        (self.directory / "lever.json").write_text(json.dumps(manifest))
        self.version = 0
        self.deploy()

    def deploy(self):
        self.version += 1
        (self.directory / "version").write_text(str(self.version))
        self.host.deploy(self.directory)
        give_up = time.monotonic() + END_S
        while {row["version"] for row in self.host.instances("owned")} != {self.version}:
            if time.monotonic() > give_up:
                raise BenchError("the version before did not end")
            time.sleep(0.05)

    def measure(self, _seconds):
        command = [self.programs / "callers", "--host", self.host.address, "--service", "owned", "--rate", RATE,
                   "--resources", RESOURCES, "--streams", 0, "--way", "direct"]
        with subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as callers:
            try:
                time.sleep(1)
                for _ in range(UPGRADES):
                    callers.stdin.write("b")
                    callers.stdin.flush()
                    self.deploy()
                    time.sleep(0.5)
                    callers.stdin.write("e")
                    callers.stdin.flush()
                out, _ = callers.communicate(timeout=END_S)
            finally:
                callers.kill()
        seen = json.loads(out)
        if seen["pauses"] == 0:
            raise BenchError("no resource was called while it moved")
        return seen


def open_side(bench, _name):
    return Upgrades(bench)
