"""What a load costs those beside it: measured without and with it, the load held to a quarter of a core."""

import contextlib
import os
import pathlib
import time

from lib.program import BenchError
from lib.sides import Load

# In short turns, so that it goes on all the time.
PERIOD_US, QUOTA_US = 10_000, 2_500


class QuarterCore:
    """A cgroup of cpu, v1 or v2, for one process at a time."""

    def __init__(self):
        name = f"lever-bench-{os.getpid()}"
        v1, v2 = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        try:
            if (v1 / "tasks").exists():
                self.path, self.members = v1 / name, "tasks"
                self.path.mkdir()
                (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.path / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
            else:
                self.path, self.members = v2 / name, "cgroup.procs"
                self.path.mkdir()
                (self.path / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")
        except OSError as error:
            raise BenchError(f"no cgroup can be made to hold what runs beside: {error}") from error

    def take(self, pid):
        (self.path / self.members).write_text(str(pid))

    def remove(self):
        # A member that has just ended may still be counted.
        give_up = time.monotonic() + 2
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                return self.path.rmdir()
            time.sleep(0.01)
        return None


def quarter_core(bench):
    group = QuarterCore()
    bench.stack.callback(group.remove)
    return group


class Beside(Load):
    """Without and with it, one right after the other: what else the machine does meets both.

    `start` gives a program that is idle, `begin(program, seconds)` has it go on for so long, and `end(program,
    seconds)` waits until it has ended.
    """

    def __init__(self, client, outstanding, group):
        super().__init__(client, ("unary", outstanding))
        self.group = group

    def measure(self, seconds):
        without = super().measure(seconds)["p99_us"]
        program = self.start()
        try:
            self.group.take(program.pid)
            self.begin(program, seconds + 2 * self.warm_s)
            measured = super().measure(seconds)
            self.end(program, seconds)
            return {**measured, "without_us": without}
        finally:
            program.stop()
