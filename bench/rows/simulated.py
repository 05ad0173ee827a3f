"""Scaling policies in the simulator of tests/sim (bench/sim/scale_sim.cc): instance-seconds that Lever's
policy takes for a scenario against Knative's pod autoscaler. docs/autoscaling.md has all measures and
policies.
"""

import json

from lib import sides
from lib.table import LOWER, Row

SCENARIOS = ("steady", "step", "ramp", "bursts", "diurnal", "flash", "tailed", "crashes", "rare")


def rows_of(name):
    yield Row(f"scale.sim.{name}.cost", "instance-seconds", LOWER, "Knative's policy", None, ("sim",),
              lambda r: r["sim"][name]["lever"]["instance_s"], lambda r: r["sim"][name]["knative"]["instance_s"])
    yield Row(f"scale.sim.{name}.late", "% of calls over 100 ms", LOWER, "Knative's policy", None, ("sim",),
              lambda r: 100 * r["sim"][name]["lever"]["over_goal"],
              lambda r: 100 * r["sim"][name]["knative"]["over_goal"])


ROWS = [row for name in SCENARIOS for row in rows_of(name)]
# The same seed gives the same numbers.
REPETITIONS = 1


class Simulator:
    def __init__(self, bench):
        self.file = bench.folder("sim") / "sim.json"
        self.command = [bench.programs / "scale_sim", *(["--quick"] if bench.quick else []), "--json", self.file]

    def measure(self, _seconds):
        sides.run_checked(*self.command)
        return json.loads(self.file.read_text())


def open_side(bench, _name):
    return Simulator(bench)
