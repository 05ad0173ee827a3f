"""Streams of resources go on where these move to: in each language nothing of them is lost, doubled or out of order, in
either direction, while all shards are handed over again and again."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory, reachable_python, wait_until
from test_go import replace_module
from test_handoff import UPGRADES

TALKS = ROOT / "tests" / "e2e" / "talks"
STREAMS = 20
MOST_S = 120


def python_talks(directory):
    shutil.copytree(TALKS / "python", directory)


def go_talks(directory):
    shutil.copytree(TALKS / "go", directory, ignore=shutil.ignore_patterns("serve"))
    replace_module(directory)


def cpp_talks(directory):
    shutil.copytree(BUILD / "tests" / "e2e" / "talks" / "bundle", directory)


@pytest.fixture
def host():
    with Host("--python", reachable_python()) as running:
        yield running


def start_callers(host):
    environment = {**host.environment(), "PYTHONPATH": str(BUILD / "runtime" / "python")}
    return subprocess.Popen([sys.executable, TALKS / "callers.py", str(STREAMS)], env=environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def upgrade(host, bundle, turn):
    """Returns when the instances of before are gone, and with them what they owned."""
    before = {instance["id"] for instance in host.instances("talks")}
    (bundle / "turn").write_text(str(turn))
    host.deploy(bundle, timeout_s=300)
    wait_until(lambda: not before & {i["id"] for i in host.instances("talks")}, timeout_s=60,
               what="the end of the old instances")


@pytest.mark.parametrize("make", [python_talks, go_talks, cpp_talks])
def test_streams_go_on_over_upgrades(host, make):
    bundle = pathlib.Path(open_directory()) / "talks"
    make(bundle)
    described = json.loads((bundle / "lever.json").read_text())
    (bundle / "lever.json").write_text(json.dumps({**described, "minInstances": 2, "drainTimeout": "20s"}))
    host.deploy(bundle, timeout_s=300)
    with start_callers(host) as callers:
        assert callers.stdout.readline() == "answered\n"
        for turn in range(UPGRADES):
            upgrade(host, bundle, turn)
        out, errors = callers.communicate(timeout=MOST_S)
    shutil.rmtree(bundle.parent)
    assert callers.returncode == 0, out + errors
    seen = json.loads(out)
    assert seen["wrong"] == []
    # Each stream was moved by each upgrade, while messages were under way.
    assert min(seen["moves"]) >= UPGRADES and seen["answers"] > seen["sent"] > STREAMS * UPGRADES
