"""One owner at a time, whatever dies or stands still: what the instances of a service and its callers write
down, checked against the model of owner_history.py.

LEVER_FAULT_SECONDS: how long (30; `tests/run.sh --long`: 1,800). LEVER_FAULT_SEED: which faults.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

from lever_testing import open_directory, process_exists, wait_until
from owner_history import History
from test_handoff import CALLERS, Callers
from test_resources import OWNED, deploy_owned

SECONDS = float(os.environ.get("LEVER_FAULT_SECONDS", "30"))
SEED = int(os.environ.get("LEVER_FAULT_SEED", "1"))
GRANT_S = 10
RESOURCES = 80
STARTED = 3  # to begin with
ATTACHED = 2


class Store:
    """The counters that are stored outside of Lever, of the resources `s1`, `s3` and so on."""

    def __init__(self, journal):
        self.directory = journal.parent / "store"
        self.directory.mkdir()
        self.directory.chmod(0o777)
        for number in range(1, RESOURCES, 2):
            path = self.directory / f"s{number}"
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TABLE counter (token INTEGER NOT NULL, value INTEGER NOT NULL)")
                database.execute("INSERT INTO counter VALUES (0, 0)")
                database.commit()
            # Instances run as different users.
            path.chmod(0o666)

    def values(self):
        found = {}
        for path in self.directory.glob("s*[0-9]"):
            with contextlib.closing(sqlite3.connect(path)) as database:
                found[path.name] = database.execute("SELECT value FROM counter").fetchone()[0]
        return found


class Attached:
    """Programs of the test's own that attach themselves as instances of the service."""

    def __init__(self, host, journal):
        self.host, self.journal = host, journal
        self.programs = []

    def __enter__(self):
        for _ in range(ATTACHED):
            self.start()
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.kill()
            program.wait()

    def start(self):
        environment = {**os.environ, "LEVER_HOST": self.host.address}
        self.programs.append(subprocess.Popen([OWNED / "owned", "attach", self.journal], env=environment,
                                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def replace(self, program, how):
        """It ends, by a signal, and another comes."""
        self.programs.remove(program)
        program.send_signal(how)
        self.start()
        program.wait(60)


def stop_and_wait(pid):
    """SIGSTOP, and waits until none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")

    def stand_still():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
            return all(state == "T" for state in states)
        return not process_exists(pid)
    wait_until(stand_still, what=f"{pid} to stand still")


class Faults:
    """What happens to the host and to its instances, at random moments. An instance that is stopped goes on
    by itself; everything else is over when its function returns."""

    def __init__(self, host, directory, attached, callers, journal, seed):
        self.host, self.directory, self.journal = host, directory, journal
        self.attached, self.callers = attached, callers
        self.random = random.Random(seed)
        self.turn = 0
        self.instances_min = STARTED
        self.counts = collections.Counter()
        self.stopped = {}  # pid: thread

    def note(self, what, more=""):
        self.counts[what] += 1
        print(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f} {what} {more}", flush=True)

    def write_down(self, what):
        """Of the host."""
        with self.journal.open("a") as lines:
            lines.write(f"{time.clock_gettime_ns(time.CLOCK_BOOTTIME)} {what} 0 - 0 0\n")

    def instance(self, attached):
        """The pid of one that takes calls and is not stopped; None: there is none."""
        pids = [row["pid"] for row in self.host.instances("owned")
                if row["phase"] == "ready" and row["attached"] == attached]
        pids = [pid for pid in pids if pid not in self.still_stopped()]
        return self.random.choice(pids) if pids else None

    def still_stopped(self):
        return {pid for pid, thread in self.stopped.items() if thread.is_alive()}

    def stop_for(self, what, pid, seconds):
        if pid is None:
            return
        self.note(what, f"{pid} for {seconds:.2f} s")

        def run():
            with contextlib.suppress(ProcessLookupError):  # of an upgrade, or killed as stalled
                os.kill(pid, signal.SIGSTOP)
                time.sleep(seconds)
                os.kill(pid, signal.SIGCONT)
        thread = threading.Thread(target=run)
        thread.start()
        self.stopped[pid] = thread

    def crowd(self):
        """Now every instance has calls that run, and more that wait for them."""
        self.callers.say("c")
        time.sleep(0.05)

    def await_stopped(self):
        for thread in self.stopped.values():
            thread.join()

    # ---- The faults ----

    def stop(self, attached, grants):
        if grants > 0.5:
            self.crowd()
        self.stop_for("stop an attached one" if attached else "stop a started one",
                      self.instance(attached), grants * GRANT_S)

    def stop_host(self, grants, meanwhile=lambda: None):
        """`meanwhile` has to be over sooner than that."""
        seconds = grants * GRANT_S
        self.note("stop the host", f"for {seconds:.2f} s")
        stop_and_wait(self.host.pid)
        self.write_down("away")
        goes_on = time.monotonic() + seconds
        meanwhile()
        time.sleep(max(0, goes_on - time.monotonic()))
        self.write_down("back")
        os.kill(self.host.pid, signal.SIGCONT)

    def kill_started(self):
        pid = self.instance(attached=False)
        if pid is not None:
            self.note("kill a started one", pid)
            with contextlib.suppress(ProcessLookupError):  # an upgrade was faster
                os.kill(pid, signal.SIGKILL)

    def replace_attached(self, what, how):
        running = [each for each in self.attached.programs if each.pid not in self.still_stopped()]
        if running:
            self.note(what)
            self.attached.replace(self.random.choice(running), how)

    def kill_attached(self):
        self.replace_attached("kill an attached one", signal.SIGKILL)

    def drain_attached(self):
        self.replace_attached("drain an attached one", signal.SIGTERM)

    def kill_host(self, grants=0.0):
        """It is there again after so long."""
        self.note("kill the host")
        self.host.kill()
        self.write_down("away")
        time.sleep(grants * GRANT_S)
        self.write_down("back")
        self.host.start(self.host.address)

    def deploy(self, what, **manifest):
        self.turn += 1
        path = self.directory / "lever.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **manifest}))
        (self.directory / "turn").write_text(str(self.turn))
        self.note(what, manifest or "")
        # One that meets another fault may be refused; the version before goes on.
        done = self.host.cli("deploy", "-d", self.directory, timeout_s=120)
        if done.code != 0:
            self.note(f"{what} refused", done.err)

    def upgrade(self):
        self.deploy("upgrade")

    def scale(self):
        """An upgrade to one that has more instances, or fewer."""
        self.instances_min = self.random.choice([n for n in (1, 2, 3, 4) if n != self.instances_min])
        self.deploy("scale", minInstances=self.instances_min)

    # ---- Orders of them ----

    def opening(self):
        """One of each, and those first that the checks of the grant are for."""
        # Nobody renews, for longer than a grant: all that runs and waits outlives it. Two instances do not
        # see it end.
        started, attached = self.instance(attached=False), self.instance(attached=True)

        def stop_two():
            self.crowd()
            self.stop_for("stop a started one", started, 1.05 * GRANT_S)
            self.stop_for("stop an attached one", attached, 1.05 * GRANT_S)
            self.await_stopped()
        self.stop_host(1.25, stop_two)
        wait_until(lambda: {row["phase"] for row in self.host.instances("owned")} == {"ready"},
                   what="instances that are heard again")
        time.sleep(1)
        # The next host gives others what this one has, while it has calls that run and wait.
        self.stop(attached=True, grants=1.5)
        self.kill_host()
        self.kill_started()
        self.scale()
        self.kill_attached()
        self.stop(attached=False, grants=0.1)
        self.await_stopped()

    def once(self):
        # Mostly short: while much stands still for long, the rest does not happen.
        grants = self.random.uniform(0.1, 3) if self.random.random() < 0.2 else self.random.uniform(0.01, 0.3)
        weights = {
            lambda: self.stop(self.random.random() < 0.4, grants): 10,
            lambda: self.stop_host(grants): 3,
            self.kill_started: 3,
            self.kill_attached: 3,
            self.drain_attached: 2,
            lambda: self.kill_host(self.random.choice([0, 0, grants / 2])): 1,
            self.upgrade: 3,
            self.scale: 3,
        }
        (what,) = self.random.choices(list(weights), weights.values())
        what()

    def run(self, seconds):
        give_up = time.monotonic() + seconds
        self.opening()
        while time.monotonic() < give_up:
            time.sleep(self.random.uniform(0.2, 2))
            self.once()
        self.await_stopped()


@contextlib.contextmanager
def callers(host, journal):
    """Ours, which find the owners themselves, and those whose calls the host passes on."""
    common = ("--host", host.address, "--service", "owned", "--resources", RESOURCES, "--journal", journal,
              "--slow", 0.25)
    with Callers(CALLERS, *common, "--rate", 120, "--streams", 20) as direct, \
            Callers(CALLERS, *common, "--rate", 60, "--streams", 5, "--way", "host") as through_host:
        yield direct, through_host


def run_with(host, seconds, what_happens):
    """What was done, what the callers saw, and what happened to the instances."""
    directory = pathlib.Path(open_directory()) / "owned"
    journal = deploy_owned(host, directory, minInstances=STARTED, maxInstances=5, drainTimeout="5s")
    store = Store(journal)
    with Attached(host, journal) as attached, callers(host, journal) as both:
        wait_until(lambda: sum(row["phase"] == "ready" for row in host.instances("owned")) ==
                   STARTED + ATTACHED, what="all instances")
        time.sleep(1)
        faults = Faults(host, directory, attached, both[0], journal, SEED)
        what_happens(faults, seconds)
        wait_until(lambda: any(row["phase"] == "ready" for row in host.instances("owned")),
                   timeout_s=60, what="an instance")
        seen = [each.result() for each in both]
    history = History(journal)
    print(dict(faults.counts))
    print(dict(history.counts), "lost openings and increments:", history.losses())
    print(*map(json.dumps, seen), sep="\n")
    wrong = history.check(store.values())
    assert not wrong, "\n".join([*wrong[:20], f"the journal is {journal}"])
    shutil.rmtree(journal.parent)
    shutil.rmtree(directory.parent)
    return history.counts, seen, faults.counts


def test_no_two_owners_at_a_time(host):
    done, seen, faults = run_with(host, SECONDS, Faults.run)
    assert done["dispatch"] > 20 * SECONDS and done["success"] > 20 * SECONDS
    # Who stood still or died takes calls with it, of which the outcome is not known; none is left without
    # an answer.
    assert [each["unanswered"] for each in seen] == [0, 0]
    assert faults["scale refused"] < faults["scale"]


def hand_over(faults, seconds):
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        for hand_off in (faults.upgrade, faults.drain_attached, faults.scale):
            hand_off()
            time.sleep(faults.random.uniform(0.2, 1))


def test_hand_offs_lose_no_acknowledged_increment(host):
    done, seen, faults = run_with(host, SECONDS / 4, hand_over)
    assert done["carried"] > RESOURCES and done["lost"] == 0
    assert [each["failed"] + each["unanswered"] + each["lost"] for each in seen] == [0, 0]
    assert not any("refused" in what for what in faults)
