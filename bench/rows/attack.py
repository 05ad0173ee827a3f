"""An honest caller beside a peer that misbehaves: its p99 through the host, against its own without.

The host has one loop, which both share.
"""

from lib import sides
from lib.beside import Beside, quarter_core
from lib.program import BenchError
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
# A measurement of many: shorter than others'.
REPETITIONS = 3


def row_of(attack):
    return Row(f"attack.honest_p99.{attack}", "us", LOWER, "the same without the attack",
               None if attack == NOTHING else 2, (attack,),
               lambda r: r[attack]["p99_us"], lambda r: r[attack]["without_us"])


ROWS = [row_of(attack) for attack in ATTACKS]


class Attacked(Beside):
    def __init__(self, bench, client, host, group, attack):
        super().__init__(client, OUTSTANDING, group)
        self.bench, self.host, self.attack = bench, host, attack

    def start(self):
        return self.bench.load(self.bench.programs / "attacker", self.host.address, self.attack)

    def begin(self, attacker, seconds):
        attacker.tell("attack", f"{seconds:.3f}")

    def end(self, attacker, seconds):
        attacker.answer(seconds=seconds + 30)


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
