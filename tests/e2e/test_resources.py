"""Resources: each has one owner among the instances of its service, and what it carries goes with it."""

import json
import os
import pathlib
import shutil
import signal
import threading

import pytest
from lever_testing import BUILD, open_directory, wait_until
from raw_calls import CallError, Caller

OWNED = BUILD / "tests" / "e2e" / "owned" / "bundle"


def deploy_owned(host, directory, **manifest):
    """Deploys the counters with a journal; returns its path."""
    shutil.copytree(OWNED, directory, dirs_exist_ok=True)
    # Where services may write, whoever they run as.
    journal = pathlib.Path(open_directory()) / "journal"
    journal.touch()
    journal.chmod(0o666)
    described = json.loads((directory / "lever.json").read_text())
    # The journal lies outside of what a sandbox lets it write.
    described.update(manifest, config=str(journal), sandbox="none")
    (directory / "lever.json").write_text(json.dumps(described))
    host.deploy(directory)
    return journal


def events(journal):
    """The lines of a journal: (time, what, process, resource, generation, number)."""
    rows = []
    for line in journal.read_text().splitlines():
        at, what, process, resource, generation, number = line.split(" ")
        rows.append((int(at), what, int(process), resource, int(generation), int(number)))
    return rows


def test_a_resource_is_opened_once_and_counts(host, tmp_path):
    journal = deploy_owned(host, tmp_path / "owned")
    with Caller(host.address) as caller:
        assert [caller.invoke("/owned/apples/add", 1) for _ in range(5)] == [1, 2, 3, 4, 5]
        assert caller.invoke("/owned/pears/add", 7) == 7
        assert caller.invoke("/owned/apples/get") == 5
    opened = [event for event in events(journal) if event[1] == "new"]
    assert sorted(event[3] for event in opened) == ["apples", "pears"]


def test_what_is_no_method_of_a_resource_is_refused_unexecuted(host, tmp_path):
    deploy_owned(host, tmp_path / "owned")
    with Caller(host.address) as caller:
        for address in ("/owned/apples/nothing", "/owned/add", "/owned/apples/pid"):
            with pytest.raises(CallError) as raised:
                caller.invoke(address, 1)
            assert raised.value.code == "NOT_FOUND" and raised.value.executed == "no", address
        with pytest.raises(CallError) as raised:
            caller.invoke("/owned/refuses/get")
        assert raised.value.code == "INTERNAL" and raised.value.executed == "no"
        assert "it does not want to be opened" in raised.value.details


def test_several_instances_share_the_resources(host, tmp_path):
    journal = deploy_owned(host, tmp_path / "owned", minInstances=3)
    wait_until(lambda: len(host.instances("owned")) == 3, what="three instances")
    names = [f"r{n}" for n in range(60)]
    with Caller(host.address) as caller:
        for turn in range(1, 4):
            assert [caller.invoke(f"/owned/{name}/add", 1) for name in names] == [turn] * 60
    owners = {event[3]: event[2] for event in events(journal) if event[1] == "new"}
    assert len(owners) == 60 and len(set(owners.values())) == 3


def test_an_upgrade_carries_what_they_are(host, tmp_path):
    journal = deploy_owned(host, tmp_path / "owned", minInstances=2)
    names = [f"r{n}" for n in range(40)]
    failed = []
    counts = dict.fromkeys(names, 0)
    stop = threading.Event()

    def count():
        with Caller(host.address) as caller:
            while not stop.is_set():
                for name in names:
                    try:
                        counts[name] = caller.invoke(f"/owned/{name}/add", 1)
                    except Exception as error:
                        failed.append((name, error))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        wait_until(lambda: min(counts.values()) > 3, what="every resource")
        for turn in range(3):
            (tmp_path / "owned" / "turn").write_text(str(turn))
            host.deploy(tmp_path / "owned")
            before = min(counts.values())
            wait_until(lambda: min(counts.values()) > before + 2, what="calls after the upgrade")
    finally:
        stop.set()
        thread.join()
    assert not failed, failed[:3]
    with Caller(host.address) as caller:
        for name in names:
            assert caller.invoke(f"/owned/{name}/get") == counts[name]
    origins = {event[1] for event in events(journal)} & {"new", "carried", "lost"}
    assert origins == {"new", "carried"}


def test_an_instance_that_dies_loses_its_resources_and_says_so(host, tmp_path):
    deploy_owned(host, tmp_path / "owned")
    with Caller(host.address) as caller:
        assert caller.invoke("/owned/apples/add", 3) == 3
        process = caller.invoke("/owned/pid")
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: all(i["pid"] != process for i in host.instances("owned")), what="its end")
        assert caller.invoke("/owned/apples/add", 1, timeout_s=30) == 1
        assert caller.invoke("/owned/apples/where").split()[2] == "lost"


def test_what_stops_and_starts_again_is_carried(host, tmp_path):
    deploy_owned(host, tmp_path / "owned", idleTimeout="1s")
    with Caller(host.address) as caller:
        assert caller.invoke("/owned/apples/add", 3) == 3
        wait_until(lambda: host.instances("owned") == [], what="the end of the idle instance")
        assert caller.invoke("/owned/apples/add", 1) == 4
        assert caller.invoke("/owned/apples/where").split()[2] == "carried"


def test_operators_move_close_pause_and_resume(host, tmp_path):
    deploy_owned(host, tmp_path / "owned", minInstances=2, maxInstances=2)
    wait_until(lambda: [row["phase"] for row in host.instances("owned")] == ["ready"] * 2, what="two instances")

    def owner():
        (row,) = host.cli("--json", "resources", "owned", "--of", "a b").json()["owners"]
        return row

    def change(what, *more):
        return host.cli("--json", "resource", what, "owned", "a b", *more).json()

    with Caller(host.address) as caller:
        assert caller.invoke("/owned/a%20b/add", 5) == 5
        wait_until(lambda: owner()["settled"], what="its owner")
        first = owner()
        (other,) = {row["id"] for row in host.instances("owned")} - {first["instance"]}
        # Moved, and back to who is named.
        moved = change("move")
        assert (moved["instance"], moved["shard"]) == (other, first["shard"])
        assert caller.invoke("/owned/a%20b/add", 1) == 6, "with what it carried"
        said = host.cli("resource", "move", "owned", "a b", first["instance"]).ok().out
        assert said == f"lever://dev.lever/owned/a%20b moved to {first['instance']}, with shard {first['shard']}\n"
        assert caller.invoke("/owned/a%20b/add", 1) == 7
        # Closed, and opened again by the next call, under a new generation.
        before = owner()["generation"]
        assert change("close")["generation"] > before
        assert caller.invoke("/owned/a%20b/add", 1) == 8
        # Paused: calls wait until it is resumed.
        assert change("pause")["instance"] == ""
        assert owner()["paused"] and "paused" in host.cli("resources", "owned", "--of", "a b").ok().out
        waits = caller.start("/owned/a%20b/add", 1, timeout_s=50)
        refused = host.cli("resource", "move", "owned", "a b")
        assert refused.code == 6 and "it is paused: resume it first" in refused.err
        assert not waits.future.done()
        change("resume")
        assert caller.value(waits.future.result(20)) == 9
        assert not owner()["paused"]
    for words, code, says in (
            (("resume", "owned", "a b"), 6, "it is not paused"),
            (("move", "owned", "a b", "i-nobody"), 6, "i-nobody is no instance"),
            (("close", "nothing", "a"), 3, "there is no service"),
            (("close", "owned", ".."), 2, "resource"),
            (("close", "owned"), 2, "NAME")):
        done = host.cli("resource", *words)
        assert done.code == code and says in done.err, (words, done.code, done.err)
