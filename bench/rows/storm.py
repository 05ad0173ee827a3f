"""Callers of one service beside a storm of calls for another: their p99 through the host, against their own without.

The host has one loop, which both share. The stormed service has as many instances and calls as it may, and as many
calls wait for it as may: what is beyond is refused, and asked again at once.
"""

import json

from lib import sides
from lib.beside import Beside, quarter_core
from lib.program import BenchError
from lib.table import LOWER, Row

OUTSTANDING = 64
STORM = 1000
LIMITS = {"maxInstances": 2, "maxConcurrency": 10, "maxQueue": 200, "minInstances": 2}
SLEEP_MS = 20

REPETITIONS = 3

ROWS = [Row("storm.others_p99", "us", LOWER, "the same without the storm", 2, ("storm",),
            lambda r: r["storm"]["p99_us"], lambda r: r["storm"]["without_us"])]


class Stormed(Beside):
    def __init__(self, bench):
        self.bench = bench
        self.host = sides.only_host(bench)
        sides.deploy_cpp(bench, self.host, name="calm")
        sides.deploy_cpp(bench, self.host, name="storm", flags=("--sleep-ms", str(SLEEP_MS)), **LIMITS)
        super().__init__(sides.lever_client(bench, self.host.address, "calm"), OUTSTANDING, quarter_core(bench))

    def start(self):
        return sides.lever_client(self.bench, self.host.address, "storm")

    def begin(self, storm, seconds):
        storm.tell("unary", f"{seconds:.3f}", STORM)

    def end(self, storm, seconds):
        seen = json.loads(storm.line(seconds=seconds + 60))
        if seen["errors"] == 0 or seen["errors"] == seen["calls"]:
            raise BenchError(f"no storm: {seen['errors']} of {seen['calls']} calls were refused")


def open_side(bench, _name):
    return Stormed(bench)
