"""Instances follow the load: more as it steps up, fewer after the wait as it falls, none once it is idle, and no
call fails."""

import threading
import time

from lever_testing import wait_until, write_service
from raw_calls import Caller

SLEEPER = "exports.slow = async (ms) => { await new Promise((done) => setTimeout(done, ms)); return ms; };"


class Load:
    """Keeps so many calls in flight; each that ends is followed by another."""

    def __init__(self, caller, url, *arguments):
        self.caller, self.url, self.arguments = caller, url, arguments
        self.lock = threading.Lock()
        self.target = self.in_flight = self.succeeded = 0
        self.failures = []

    def set(self, target):
        with self.lock:
            self.target = target
        self._fill()

    def _fill(self):
        while True:
            with self.lock:
                if self.in_flight >= self.target:
                    return
                self.in_flight += 1
            self.caller.start(self.url, *self.arguments).future.add_done_callback(self._ended)

    def _ended(self, future):
        error = future.exception()
        with self.lock:
            self.in_flight -= 1
            if error is None:
                self.succeeded += 1
            else:
                self.failures.append(str(error))
        self._fill()


def present(host):
    """Instances that start or take calls."""
    return sum(row["phase"] in ("starting", "ready") for row in host.instances("sleeper"))


def hold_for(seconds, check):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(0.2)


def test_instances_follow_a_load_that_steps_up_and_down(host, tmp_path):
    host.deploy(write_service(tmp_path / "sleeper", {"s.js": SLEEPER}, name="sleeper", jsEntry="s.js",
                              maxInstanceLoad=10, maxInstances=24, idleTimeout="4s"))
    assert present(host) == 0
    curve = []
    with Caller(host.address) as caller:
        load = Load(caller, "/sleeper/slow", 100)

        def sample(most):
            curve.append(present(host))
            assert curve[-1] <= most, curve

        load.set(10)
        wait_until(lambda: present(host) >= 1, what="the first instance")
        hold_for(3, lambda: sample(4))
        load.set(200)
        wait_until(lambda: present(host) >= 18, timeout_s=60, what="instances for 200 calls")
        hold_for(3, lambda: sample(24))
        assert min(curve[-5:]) >= 18, "it holds while the load does"
        load.set(10)
        wait_until(lambda: present(host) <= 4, timeout_s=90, what="scale-down")
        load.set(0)
        wait_until(lambda: load.in_flight == 0, what="the last call")
        wait_until(lambda: host.instances("sleeper") == [], timeout_s=60, what="idle stop")
    assert load.failures == []
    assert load.succeeded > 200


def test_instances_min_are_kept_and_never_more_than_the_most(host, tmp_path):
    host.deploy(write_service(tmp_path / "sleeper", {"s.js": SLEEPER}, name="sleeper", jsEntry="s.js",
                              maxInstanceLoad=1, minInstances=2, maxInstances=3, idleTimeout="1s"))
    wait_until(lambda: present(host) == 2, what="the instances to keep")
    with Caller(host.address) as caller:
        load = Load(caller, "/sleeper/slow", 50)
        load.set(50)
        wait_until(lambda: present(host) == 3, what="a third instance")
        hold_for(1, lambda: None)
        assert present(host) == 3
        load.set(0)
        wait_until(lambda: load.in_flight == 0, what="the last call")
        wait_until(lambda: len(host.instances("sleeper")) == 2, timeout_s=30, what="scale-down to the least")
    assert load.failures == []
