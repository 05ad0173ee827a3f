"""Takes the samples: opens the sides that are needed, and measures them in turn, again and again.

A group is a module of bench/rows with

    ROWS            its rows (lib.table.Row)
    open_side(bench, name)   starts what the side needs, and gives something with measure(seconds)

A side that fails takes the rows that look at it with it, and no others.
"""

import contextlib
import fnmatch
import pathlib
import sys
import traceback

from lib.program import BenchError, Program, Server
from lib.table import evaluate, failed

# Of a row and peer, --quick: 3 s, of which each of the two sides gets 1 s, and connections and warming up
# the rest.
QUICK_S = 1.0
FULL_S = 1.5
FULL_REPETITIONS = 5


class Bench:
    """What the groups start their sides with. Everything that was started ends with it."""

    def __init__(self, root, build, scratch, quick, only):
        self.root = pathlib.Path(root)
        self.build = pathlib.Path(build)
        self.programs = self.build / "bench"
        self.scratch = pathlib.Path(scratch)
        self.quick = quick
        self.seconds = QUICK_S if quick else FULL_S
        self.repetitions = 1 if quick else FULL_REPETITIONS
        self.only = only
        self.stack = contextlib.ExitStack()
        self.shared = {}

    def wants(self, name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.only)

    def start(self, *argv, kind=Program, **options):
        program = kind(argv, self.scratch, **options)
        self.stack.callback(program.stop)
        return program

    def serve(self, *argv, **options):
        """A server that prints "listening ADDRESS"; gives (program, address)."""
        program = self.start(*argv, **options)
        return program, program.expect("listening")

    def load(self, *argv, **options):
        """A client that prints "ready"."""
        program = self.start(*argv, **options)
        program.expect("ready")
        return program

    def daemon(self, *argv, **options):
        return self.start(*argv, kind=Server, **options)

    def once(self, key, make):
        """What several sides of a group share is made once."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(exist_ok=True)
        return path


def sides_of(rows):
    """In the order in which the rows name them."""
    return list(dict.fromkeys(side for row in rows for side in row.sides))


class Sampling:
    """The repetitions of one group."""

    def __init__(self, names, repetitions):
        self.names = names
        self.samples = [{} for _ in range(repetitions)]
        self.failures = {}

    def attempt(self, name, action):
        """Runs it, unless the side has failed already; a failure is kept for the rows."""
        if name in self.failures:
            return None
        try:
            return action()
        except Exception as error:  # of whatever kind: the rows say it, and the others go on
            if not isinstance(error, BenchError):
                traceback.print_exc(file=sys.stderr)
            self.failures[name] = f"{name}: {error}"
            return None

    def take(self, open_side, seconds):
        sides = {}
        for name in self.names:
            sides[name] = self.attempt(name, lambda: open_side(name))
        for repetition, sample in enumerate(self.samples):
            # Forth and back, so that no side always comes behind the same other.
            for name in self.names if repetition % 2 == 0 else reversed(self.names):
                measured = self.attempt(name, lambda: sides[name].measure(seconds))
                if measured is not None:
                    sample[name] = measured

    def rows(self, rows):
        for row in rows:
            why = next((self.failures[side] for side in row.sides if side in self.failures), None)
            yield evaluate(row, self.samples) if why is None else failed(row, why)


def run_group(group, bench):
    """The rows of the group that are wanted, as they go to the JSON file."""
    rows = [row for row in group.ROWS if bench.wants(row.name)]
    if not rows:
        return
    sampling = Sampling(sides_of(rows), getattr(group, "REPETITIONS", bench.repetitions)
                        if not bench.quick else bench.repetitions)
    bench.shared = {}
    with bench.stack:
        sampling.take(lambda name: group.open_side(bench, name), bench.seconds)
        yield from sampling.rows(rows)
