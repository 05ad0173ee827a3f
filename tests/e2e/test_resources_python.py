"""Resources in Python with a real host: examples/leaderboard, its load, upgrades, and an instance that dies."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory, reachable_python, wait_until

EXAMPLE = ROOT / "examples" / "leaderboard"


@pytest.fixture
def host():
    with Host("--python", reachable_python()) as running:
        yield running


@pytest.fixture
def bundle():
    directory = open_directory()
    copy = os.path.join(directory, "leaderboard")
    shutil.copytree(EXAMPLE, copy)
    yield copy
    shutil.rmtree(directory)


def start_load(host, *arguments):
    environment = {**host.environment(), "PYTHONPATH": str(BUILD / "runtime" / "python")}
    return subprocess.Popen([sys.executable, EXAMPLE / "load.py", *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def upgrade(host, bundle, turn):
    """Returns when the instances of before are gone."""
    before = {instance["id"] for instance in host.instances("leaderboard")}
    with open(os.path.join(bundle, "turn"), "w") as file:
        file.write(str(turn))
    host.deploy(bundle)
    wait_until(lambda: not before & {i["id"] for i in host.instances("leaderboard")}, timeout_s=40,
               what="the end of the old instances")


def test_the_load_of_the_leaderboards_over_upgrades(host, bundle):
    with open(os.path.join(bundle, "lever.json")) as file:
        manifest = json.load(file)
    with open(os.path.join(bundle, "lever.json"), "w") as file:
        json.dump({**manifest, "minInstances": 2}, file)
    host.deploy(bundle)
    host.invoke("/leaderboard/first/add", "Ann", 1)
    with start_load(host, "--calls", "12000") as load:
        for turn in range(2):
            upgrade(host, bundle, turn)
        out, errors = load.communicate(timeout=120)
    assert load.returncode == 0, out + errors
    seen = json.loads(out)
    assert (seen["failed"], seen["wrong"], seen["boards"]) == (0, 0, 20)
    upgrade(host, bundle, "last")
    assert host.invoke("/leaderboard/first/top") == [["Ann", 1]]
    about = host.invoke("/leaderboard/first/about")
    assert (about["board"], about["origin"]) == ("first", "carried") and about["generation"] > 1


def test_a_board_is_lost_with_its_instance_and_told_so(host, bundle):
    host.deploy(bundle)
    assert host.invoke("/leaderboard/a/add", "Ann", 3) == 3
    assert host.invoke("/leaderboard/a/about")["origin"] == "new"
    with subprocess.Popen(host.command("stream", "/leaderboard/a/watch_chan"), env=host.environment(), text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stream:
        assert json.loads(stream.stdout.readline()) == [["Ann", 3]]
        assert host.invoke("/leaderboard/a/add", "Ben", 5) == 5
        assert json.loads(stream.stdout.readline()) == [["Ben", 5], ["Ann", 3]]
        (instance,) = host.instances("leaderboard")
        os.kill(instance["pid"], signal.SIGKILL)
        assert "UNAVAILABLE" in stream.communicate(timeout=60)[1]
    wait_until(lambda: all(i["pid"] != instance["pid"] for i in host.instances("leaderboard")), what="its end")
    about = host.invoke("/leaderboard/a/about")
    assert (about["origin"], about["players"]) == ("lost", 0)
