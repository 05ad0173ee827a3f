"""Instances that stand by: started, called by nobody, and there at once when they are needed."""

import os
import signal
import time

import pytest
from lever_testing import Host, process_exists, wait_until, write_service
from raw_calls import Caller
from test_resources import deploy_owned, events
from test_upgrades import Callers, service

PID = "exports.pid = async () => process.pid;"
SLOW_START_S = 3
# Its code takes long to load.
SLOW = f"const end = Date.now() + {SLOW_START_S * 1000}; while (Date.now() < end); {PID}"


@pytest.fixture(scope="module")
def bare():
    """A host without sandboxes: an instance knows its process by the number that the host knows it by."""
    with Host("--sandbox", "none") as running:
        yield running


def pids(host, name, phase):
    return [row["pid"] for row in host.instances(name) if row["phase"] == phase]


def only_standing_by(host, name):
    """The pid of the service's standby, once it is the only instance."""
    def found():
        rows = host.instances(name)
        return rows[0]["pid"] if [row["phase"] for row in rows] == ["standby"] else None
    return wait_until(found, timeout_s=40, what=f"{name} with nothing but a standby")


def test_an_idle_service_answers_from_its_standby_and_another_one_is_started(bare, tmp_path):
    bare.deploy(write_service(tmp_path / "idler", {"s.js": SLOW}, name="idler", jsEntry="s.js", standby=1,
                              idleTimeout="1s"))
    with Caller(bare.address) as caller:
        for _ in range(2):
            standby = only_standing_by(bare, "idler")
            began = time.monotonic()
            assert caller.invoke("/idler/pid") == standby
            assert time.monotonic() - began < SLOW_START_S / 2
            assert pids(bare, "idler", "ready") == [standby]
            wait_until(lambda: len(pids(bare, "idler", "starting")) == 1, what="another one that starts")
        only_standing_by(bare, "idler")
        # It is kept over a restart of the host, without a call.
        bare.stop()
        bare.start()
    only_standing_by(bare, "idler")


def test_a_standby_that_is_killed_is_replaced_and_no_call_fails(bare, tmp_path):
    bare.deploy(write_service(tmp_path / "killed", {"s.js": PID}, name="killed", jsEntry="s.js", standby=1,
                              minInstances=1))
    with Caller(bare.address) as caller:
        serving = caller.invoke("/killed/pid")
        (standby,) = wait_until(lambda: pids(bare, "killed", "standby"), what="a standby")
        os.kill(standby, signal.SIGKILL)
        (other,) = wait_until(lambda: [pid for pid in pids(bare, "killed", "standby") if pid != standby],
                              what="another standby")
        assert caller.invoke("/killed/pid") == serving
        os.kill(serving, signal.SIGKILL)
        wait_until(lambda: pids(bare, "killed", "ready") == [other], what="the standby in its place")
        assert caller.invoke("/killed/pid") == other


def test_an_upgrade_under_load_brings_its_own_standby_and_fails_no_call(host, tmp_path):
    host.deploy(service(tmp_path / "app", standby=1))
    with Callers(host) as callers:
        wait_until(lambda: callers.answered(1) > 100)
        (old,) = wait_until(lambda: pids(host, "app", "standby"), what="a standby")
        host.deploy(service(tmp_path / "app", work="1", standby=1))
        wait_until(lambda: callers.answered(2) > 100)

        def settled():
            rows = sorted((row["version"], row["phase"]) for row in host.instances("app"))
            return set(rows) == {(2, "ready"), (2, "standby")} and rows.count((2, "standby")) == 1

        wait_until(settled, what="version 2 with a standby, and nothing of version 1")
    assert callers.errors == {}
    assert not process_exists(old)


def test_a_standby_owns_no_resources_until_the_owner_is_gone(host, tmp_path):
    journal = deploy_owned(host, tmp_path / "owned", minInstances=1, standby=1)
    names = [f"r{n}" for n in range(40)]
    (standby,) = wait_until(lambda: pids(host, "owned", "standby"), what="a standby")
    (owner,) = pids(host, "owned", "ready")

    def opened_in():
        return {event[2] for event in events(journal) if event[1] in ("new", "carried", "lost")}

    with Caller(host.address) as caller:
        for name in names:
            assert caller.invoke(f"/owned/{name}/add", 1) == 1
        assert opened_in() == {owner}
        os.kill(owner, signal.SIGKILL)
        wait_until(lambda: pids(host, "owned", "ready") == [standby], what="the standby in its place")
        for name in names:
            caller.invoke(f"/owned/{name}/add", 1)
        assert opened_in() == {owner, standby}


def test_a_deploy_whose_standby_would_not_start_is_refused(host, tmp_path):
    bundle = write_service(tmp_path / "broken", {"s.js": "throw new Error('no database');"}, name="broken",
                           jsEntry="s.js", standby=1)
    refused = host.cli("deploy", "-d", bundle)
    assert refused.code != 0 and "no database" in refused.err
    bundle = write_service(tmp_path / "broken", {}, name="broken", jsEntry="s.js", standby=3, minInstances=2,
                           maxInstances=4)
    refused = host.cli("deploy", "-d", bundle)
    assert refused.code != 0
    assert '"minInstances" (2) and "standby" (3) together must not be above "maxInstances" (4)' in refused.err
