"""Resources move from instance to instance under load, and no call fails for that.

LEVER_UPGRADES: how many times all of them move (3; `tests/run.sh --long`: 100). LEVER_RATE and LEVER_STREAMS: calls a
second (500; plain ones 300) and streams (100) meanwhile.
"""

import json
import os
import pathlib
import subprocess
import time

from lever_testing import BUILD, open_directory, wait_until
from test_resources import deploy_owned, events

PLAIN_CALLERS = BUILD / "e2e" / "plain-callers"
CALLERS = BUILD / "tests" / "e2e" / "owned" / "callers"
UPGRADES = int(os.environ.get("LEVER_UPGRADES", "3"))
STREAMS = int(os.environ.get("LEVER_STREAMS", "100"))


class Callers:
    def __init__(self, *command):
        self.program = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.program.poll() is None:
            self.program.kill()
            self.program.wait()

    def say(self, what):
        self.program.stdin.write(what)
        self.program.stdin.flush()

    def result(self):
        out, _ = self.program.communicate(timeout=200)
        return json.loads(out)


def upgrade(host, directory, turn):
    (directory / "turn").write_text(str(turn))
    host.deploy(directory)


def versions(host):
    return {row["version"] for row in host.instances("owned")}


def move_all(host, directory, *command):
    """Upgrades under load; what the callers saw, and the journal."""
    journal = deploy_owned(host, directory, minInstances=2, maxInstances=4, drainTimeout="10s")
    with Callers(*command) as callers:
        time.sleep(1)
        for turn in range(UPGRADES):
            callers.say("b")  # a move begins
            upgrade(host, directory, turn)
            wait_until(lambda: versions(host) == {turn + 2}, timeout_s=60,
                       what="the end of the version before")
            time.sleep(0.5)
            callers.say("e")
        seen = callers.result()
    print(json.dumps(seen))
    return seen, events(journal)


def callers(program, host, rate, *more):
    return (program, "--host", host.address, "--service", "owned", "--rate", os.environ.get("LEVER_RATE", rate),
            "--resources", 200, "--streams", STREAMS, *more)


def check(seen, happened):
    assert seen["failed"] == 0 and seen.get("unanswered", 0) == 0, seen
    assert seen["lost"] == 0
    assert not [event for event in happened if event[1] == "lost"]
    # Each time all resources that were open moved.
    assert len([event for event in happened if event[1] == "carried"]) >= UPGRADES * 100
    assert set(seen["stream_ends"]) <= {"UNAVAILABLE"}


def test_upgrades_fail_no_call_of_our_library(host):
    check(*move_all(host, pathlib.Path(open_directory()) / "owned", *callers(CALLERS, host, 500, "--way", "direct")))


def test_upgrades_fail_no_call_through_the_host(host):
    check(*move_all(host, pathlib.Path(open_directory()) / "owned", *callers(CALLERS, host, 500, "--way", "host")))


def test_upgrades_fail_no_call_of_plain_grpc_and_http(host):
    seen, happened = move_all(host, pathlib.Path(open_directory()) / "owned", *callers(PLAIN_CALLERS, host, 300))
    check(seen, happened)
    # They end, and are opened again by who has them.
    assert seen["stream_ends"]["UNAVAILABLE"] >= UPGRADES * STREAMS // 2
