"""Resources in Go with a real host: examples/rooms, its load of 500 subscribers, upgrades, and an instance that
dies."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from lever_testing import ROOT, open_directory, wait_until
from test_go import go_environment, replace_module


@pytest.fixture(scope="module")
def built():
    """examples/rooms with the module of this build, and its load program."""
    directory = open_directory()
    bundle = os.path.join(directory, "rooms")
    shutil.copytree(ROOT / "examples" / "rooms", bundle, ignore=shutil.ignore_patterns("serve"))
    replace_module(bundle)
    load = os.path.join(directory, "load")
    subprocess.run(["go", "build", "-o", load, "./load"], cwd=bundle, check=True, timeout=300)
    yield bundle, load
    shutil.rmtree(directory)


def start_load(host, load, *arguments):
    return subprocess.Popen([load, *arguments], env=host.environment() | go_environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(load):
    out, errors = load.communicate(timeout=200)
    assert load.returncode == 0, out + errors
    return json.loads(out)


def upgrade(host, bundle, turn):
    with open(os.path.join(bundle, "turn"), "w") as file:
        file.write(str(turn))
    host.deploy(bundle, timeout_s=300)


def test_the_rooms_are_tested_without_a_host(built):
    bundle, _ = built
    done = subprocess.run(["go", "test", "./..."], cwd=bundle, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_500_subscribers_of_a_room_get_each_message_once(host, built):
    bundle, load = built
    host.deploy(bundle, timeout_s=300)
    seen = finish(start_load(host, load))
    assert (seen["subscribers"], seen["deliveries"], seen["joined_again"]) == (500, 100_000, 0)


def test_they_do_so_where_the_room_moves(host, built):
    bundle, load = built
    host.deploy(bundle, timeout_s=300)
    assert host.invoke("/rooms/lobby/Say", "Ann", "first") == 1
    before = {instance["id"] for instance in host.instances("rooms")}
    running = start_load(host, load, "-subscribers", "100", "-messages", "800", "-speakers", "2")
    upgrade(host, bundle, 1)
    assert finish(running)["deliveries"] == 80_000
    about = host.invoke("/rooms/lobby/About")
    assert (about["origin"], about["last"]) == ("carried", 801) and about["generation"] > 1
    wait_until(lambda: not before & {i["id"] for i in host.instances("rooms")}, what="the old instance is gone")


def test_a_room_is_lost_with_its_instance_and_told_so(host, built):
    bundle, _ = built
    host.deploy(bundle, timeout_s=300)
    assert host.invoke("/rooms/lobby/Say", "Ann", "Hello!") == 1
    assert host.invoke("/rooms/lobby/About")["origin"] == "new"
    (instance,) = host.instances("rooms")
    os.kill(instance["pid"], signal.SIGKILL)
    wait_until(lambda: all(i["pid"] != instance["pid"] for i in host.instances("rooms")), what="its end")
    about = host.invoke("/rooms/lobby/About")
    assert (about["origin"], about["last"]) == ("lost", 0)
