"""One owner at a time, whatever dies or stands still: a journal that the service's instances write is
checked for two that ran a resource at once, and the callers for what was acknowledged and is gone.

LEVER_FAULT_SECONDS: how long (20; `tests/run.sh --long`: 1,800). LEVER_FAULT_SEED: which faults.
"""

import collections
import os
import pathlib
import random
import signal
import threading
import time

from lever_testing import open_directory, process_exists, wait_until
from test_handoff import CALLERS, Callers, upgrade
from test_resources import deploy_owned, events

SECONDS = float(os.environ.get("LEVER_FAULT_SECONDS", "20"))
SEED = int(os.environ.get("LEVER_FAULT_SEED", "1"))
GRANT_S = 10


class Faults:
    """Stops, kills and upgrades, at random moments."""

    def __init__(self, host, directory, seed):
        self.host, self.directory = host, directory
        self.random = random.Random(seed)
        self.turn = 0
        self.counts = collections.Counter()
        self.sleepers = []

    def instance(self):
        rows = [row for row in self.host.instances("owned") if row["phase"] == "ready"]
        return self.random.choice(rows)["pid"] if rows else None

    def stand_still(self, pid, seconds):
        def run():
            print("STOP at %.3f %d for %.2f" % (time.monotonic(), pid, seconds), flush=True)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            if process_exists(pid):
                os.kill(pid, signal.SIGCONT)
        sleeper = threading.Thread(target=run)
        sleeper.start()
        self.sleepers.append(sleeper)

    def once(self):
        what = self.random.choice(["stop", "stop", "kill", "upgrade", "stop the host"])
        self.counts[what] += 1
        print("FAULT at %.3f %s" % (time.monotonic(), what), flush=True)
        if what == "upgrade":
            self.turn += 1
            upgrade(self.host, self.directory, self.turn)
            return
        pid = self.host.pid if what == "stop the host" else self.instance()
        if pid is None:
            return
        if what == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            # Mostly short: what stands still for long keeps the rest of the run from happening.
            longest = min(3 * GRANT_S, SECONDS / 2) if self.random.random() < 0.2 else 2
            self.stand_still(pid, self.random.uniform(0.1, longest))
            if what == "stop the host":
                self.sleepers[-1].join()

    def run(self, seconds):
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            time.sleep(self.random.uniform(0.2, 2))
            self.once()
        for sleeper in self.sleepers:
            sleeper.join()


def check_one_owner_at_a_time(happened):
    """No dispatch of a generation after one of a higher, no generation with two owners."""
    newest = {}
    owners = {}
    dispatches = 0
    for at, what, process, resource, generation, _ in sorted(happened):
        if what not in ("dispatch", "new", "carried", "lost"):
            continue
        dispatches += what == "dispatch"
        assert owners.setdefault((resource, generation), process) == process, \
            f"{resource} under generation {generation} was at {process}, too"
        before = newest.get(resource, (0, 0))
        assert generation >= before[0], \
            f"{resource}: {what} of {process} under {generation} at {at}, after {before[0]} at {before[1]}"
        newest[resource] = (generation, at)
    return dispatches


def check_counts(happened):
    """Each opening goes on from where the one before was closed, or says that it cannot."""
    ended = {}
    for at, what, process, resource, generation, number in sorted(happened):
        if what == "end":
            ended[resource] = number
        elif what == "carried":
            # A method that ran when its owner was cut off may have ended after it was closed.
            assert number <= ended.get(resource, 0), f"{resource} was carried with more than it was"
        elif what == "new":
            assert ended.get(resource, 0) == 0, f"{resource} is new again at {at}"
        elif what == "lost":
            ended[resource] = 0


def test_no_two_owners_at_a_time(host):
    directory = pathlib.Path(open_directory()) / "owned"
    journal = deploy_owned(host, directory, minInstances=3, maxInstances=5, drainTimeout="5s")
    faults = Faults(host, directory, SEED)
    with Callers(CALLERS, "--host", host.address, "--service", "owned", "--rate", 300,
                 "--resources", 100, "--streams", 20) as callers:
        time.sleep(1)
        faults.run(SECONDS)
        wait_until(lambda: any(row["phase"] == "ready" for row in host.instances("owned")),
                   timeout_s=60, what="an instance")
        time.sleep(2)
        seen = callers.result()
    happened = events(journal)
    print(''.join(l for l in host.log if 'REFUSE' in l))
    print(dict(faults.counts), seen)
    assert check_one_owner_at_a_time(happened) > 50 * SECONDS
    check_counts(happened)
    # Who stood still or died takes calls with it, of which the outcome is not known; none is left without
    # an answer.
    assert seen["unanswered"] == 0
