"""An honest caller beside a peer that misbehaves: its p99 through the host, against its own without.

The host has one loop, which both share. The attacker is held to a quarter of a core by a cgroup.
"""

import contextlib
import os
import pathlib
import time

from lib import sides
from lib.program import BenchError
from lib.sides import Load
from lib.table import LOWER, Row

# Only takes its quarter of a core: what of the others' rows is not the attack's.
NOTHING = "nothing"
# Those of tests/misbehave/attacks.cc; one that is missing here, or there, fails the rows.
ATTACKS = (
    NOTHING, "ping", "ping_ack", "settings", "priority", "window_update", "unknown_frames", "frame_too_large",
    "rapid_reset", "made_you_reset_by_window", "made_you_reset_by_length", "header_bomb", "empty_data",
    "headers_of_closed_streams", "continuations", "header_block", "push_promise", "too_many_streams",
    "uploads_left_open", "zero_window", "never_reads",
)
OUTSTANDING = 64
# A quarter of a core, in short turns, so that the attack goes on all the time.
PERIOD_US, QUOTA_US = 10_000, 2_500
# A measurement of many: shorter than others'.
REPETITIONS = 3



def row_of(attack):
    return Row(f"attack.honest_p99.{attack}", "us", LOWER, "the same without the attack",
               None if attack == NOTHING else 2, (attack,),
               lambda r: r[attack]["p99_us"], lambda r: r[attack]["without_us"])


ROWS = [row_of(attack) for attack in ATTACKS]


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
            raise BenchError(f"no cgroup can be made to hold the attacker: {error}") from error

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


class Attacked(Load):
    """Without and with the attack, one right after the other: what else the machine does meets both."""

    def __init__(self, bench, client, host, group, attack):
        super().__init__(client, ("unary", OUTSTANDING))
        self.bench, self.host, self.group, self.attack = bench, host, group, attack

    def measure(self, seconds):
        without = super().measure(seconds)["p99_us"]
        attacker = self.bench.load(self.bench.programs / "attacker", self.host.address, self.attack)
        try:
            self.group.take(attacker.pid)
            attacker.tell("attack", f"{seconds + 2 * self.warm_s:.3f}")
            measured = super().measure(seconds)
            attacker.answer(seconds=seconds + 30)
            return {**measured, "without_us": without}
        finally:
            attacker.stop()


def quarter_core(bench):
    group = QuarterCore()
    bench.stack.callback(group.remove)
    return group


def relayed(bench):
    listed = sides.run_checked(bench.programs / "attacker", "--list").split()
    if sorted(listed) != sorted(ATTACKS):
        raise BenchError(f"the attacks are not those of rows/attack.py: {set(listed) ^ set(ATTACKS)}")
    host = sides.only_host(bench)
    sides.deploy_cpp(bench, host)
    return host, sides.lever_client(bench, host.address, "echo-cpp")


def open_side(bench, name):
    host, client = bench.once("relayed", lambda: relayed(bench))
    return Attacked(bench, client, host, bench.once("group", lambda: quarter_core(bench)), name)
