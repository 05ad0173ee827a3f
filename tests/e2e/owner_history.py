"""What a recorded history of resources has to be, and the checker of it.

A history is what the processes of tests/e2e/owned have appended to one journal: services what they ran,
callers what they were told. An event is (clock, what, process, resource, generation, number); clocks are
readings of CLOCK_BOOTTIME of one machine.

The model. A resource has one owner at a time. Each ownership has a generation, a number that only rises,
and an interval of time, the grant; the intervals of one resource do not meet. So once anything was done
under a generation, the grants of all lower ones are over.

What the library promises is about readings of the clock that it takes itself: directly before a method
begins, and directly before a success leaves. The service writes down a reading of its own that comes just
before each of these (`dispatch`, `reply`), and is not later than the library's. So

  1. a generation of a resource is one process's;
  2. no `dispatch` comes after an event of a higher generation of its resource (an opening, a dispatch):
     the library's reading is later still, and the grant was over;
  3. no `reply` does, if a caller was told the success that it made;
  4. a success that a caller was told was made: one `end` has its generation and count, and no two
     successes have the same.

And while the host is away, stopped or dead (`away`, and `back` before it goes on), nobody renews:

  5. no `dispatch`, and no `reply` of a success, between a whole term after `away` and `back`.

1 to 4 find no fault where there is none, whenever a process is stopped, and miss only what begins within the
microseconds between the two readings. For 5, the library's reading has to follow the service's within
LATE_NS: that much before `back` nothing is said.

Counts. An increment is acknowledged when a caller was told its success. Along the generations of a resource

  6. an opening as `carried` or `new` has at least the highest acknowledged count of the generations
     before it, since the last one that was `lost`: what is gone is said to be;
  7. an opening as `carried` has no more than was ever counted;
  8. of a stored counter (`s1`, ...) every opening has at least the highest acknowledged count of all
     generations before it, and so has the store at the end.
"""

import collections
import dataclasses

OPENED = ("new", "carried", "lost")
TERM_NS = 10 * 10**9
LATE_NS = 5 * 10**8


@dataclasses.dataclass
class Generation:
    """What was done under one generation of one resource."""
    processes: set = dataclasses.field(default_factory=set)
    first: int = 2**63          # the first opening or dispatch
    last_dispatch: int = 0
    openings: list = dataclasses.field(default_factory=list)  # (clock, origin, count)
    ends: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # by count
    replies: dict = dataclasses.field(default_factory=dict)   # count: clock, of the last
    told: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # by count


class History:
    def __init__(self, journal):
        """All of it is read; a journal of an hour is some million lines."""
        self.resources = collections.defaultdict(lambda: collections.defaultdict(Generation))
        self.counts = collections.Counter()
        self.away = []  # when nobody can have a grant
        self.in_between = []  # dispatches and replies then: (what, process, resource, generation, count)
        went = None
        with open(journal) as lines:
            for line in lines:
                at, what, *_ = line.split(" ", 2)
                if what == "away":
                    went = int(at)
                elif what == "back" and int(at) - LATE_NS > went + TERM_NS:
                    self.away.append((went + TERM_NS, int(at) - LATE_NS))
        with open(journal) as lines:
            for line in lines:
                at, what, process, resource, generation, number = line.split(" ")
                self._add(int(at), what, int(process), resource, int(generation), int(number))

    def _add(self, at, what, process, resource, generation, number):
        self.counts[what] += 1
        if what in ("away", "back"):
            return
        if what in ("dispatch", "reply") and any(begin <= at < end for begin, end in self.away):
            self.in_between.append((what, process, resource, generation, number))
        of = self.resources[resource][generation]
        of.processes.add(process)
        if what == "dispatch":
            of.first = min(of.first, at)
            of.last_dispatch = max(of.last_dispatch, at)
        elif what in OPENED:
            of.first = min(of.first, at)
            of.openings.append((at, what, number))
        elif what == "end":
            of.ends[number] += 1
        elif what == "reply":
            of.replies[number] = max(of.replies.get(number, 0), at)
        elif what == "success":
            of.told[number] += 1

    def check(self, stored=None):
        """What is wrong with it, a sentence each. `stored`: the count of each stored counter now."""
        wrong = []
        for what, process, resource, generation, count in self.in_between:
            if what == "dispatch" or self.resources[resource][generation].told[count] > 0:
                wrong.append(f"{resource}: {what} under {generation} by {process}, when its grant had ended: "
                             f"the host was away for longer than the term")
        for resource, generations in self.resources.items():
            in_order = sorted(generations.items())
            _check_owners(resource, in_order, wrong)
            _check_counts(resource, in_order, stored is not None and resource in stored, wrong)
            highest = max((max(of.told) for _, of in in_order if of.told), default=0)
            if stored is not None and resource in stored and stored[resource] < highest:
                wrong.append(f"{resource}: {stored[resource]} is stored, and {highest} was acknowledged")
        return wrong

    def losses(self):
        """How many openings were told `lost` where increments had been acknowledged, and how many of these
        are gone (not of stored counters)."""
        openings, increments = 0, 0
        for resource, generations in self.resources.items():
            acknowledged = 0
            for _, of in sorted(generations.items()):
                lost = any(origin == "lost" for _, origin, _ in of.openings)
                if lost and acknowledged > 0 and resource[0] != "s":
                    openings += 1
                    increments += acknowledged
                if lost:
                    acknowledged = 0
                acknowledged += of.told.total()
        return openings, increments


def _check_owners(resource, in_order, wrong):
    later = 2**63     # the first event of any higher generation
    higher = None
    for generation, of in reversed(in_order):
        if len(of.processes) > 1:
            wrong.append(f"{resource}: generation {generation} is of processes {sorted(of.processes)}")
        if of.last_dispatch > later:
            wrong.append(f"{resource}: dispatched under {generation} by {of.processes}, "
                         f"{(of.last_dispatch - later) / 1e6:.3f} ms after generation {higher} had begun")
        for count, times in of.told.items():
            if times > 1:
                wrong.append(f"{resource}: {times} callers were told count {count} of {generation}")
            if of.ends[count] != 1:
                wrong.append(f"{resource}: a caller was told count {count} of {generation}, and "
                             f"{of.ends[count]} methods made it")
            if of.replies.get(count, 0) > later:
                wrong.append(f"{resource}: the reply with count {count} of {generation} was sent as a "
                             f"success, {(of.replies[count] - later) / 1e6:.3f} ms after generation "
                             f"{higher} had begun")
        if of.first < later:
            later, higher = of.first, generation


def _check_counts(resource, in_order, stored, wrong):
    acknowledged = 0  # since the last that was lost
    counted = 0
    for generation, of in in_order:
        for at, origin, count in sorted(of.openings):
            if origin == "lost" and not stored:
                acknowledged = 0
                counted = 0
            elif count < acknowledged:
                wrong.append(f"{resource}: opened as {origin} under {generation} with {count}, and "
                             f"{acknowledged} was acknowledged before; at {at}")
            if origin == "carried" and not stored and count > counted:
                wrong.append(f"{resource}: carried {count} to {generation}, and {counted} was counted")
        counted = max([counted, *of.ends])
        acknowledged = max([acknowledged, *of.told])
