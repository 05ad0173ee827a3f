"""A service that has as many instances as it may, each with as many calls as it may: calls wait up to a bound, what
is beyond is refused at once and has surely not run, and other services do not notice."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from lever_testing import BUILD, wait_until, write_service
from raw_calls import CallError, Caller

SLEEPER = """
let now = 0, most = 0, done = 0;
exports.slow = async (ms) => {
  most = Math.max(most, ++now);
  await new Promise((go) => setTimeout(go, ms));
  --now; ++done;
  return ms;
};
exports.seen = () => [most, done];
"""
ECHO = "exports.echo = async (value) => value;"

# So many calls at a time through the library, each followed by another, until there were as many as asked for.
CLIENT = """
const lever = require('lever');
const client = new lever.Client();
const [width, count] = process.argv.slice(2).map(Number);
const failed = [];
let sent = 0;
async function lane() {
  while (sent < count) {
    ++sent;
    try {
      await client.invoke('/sleeper/slow', 20);
    } catch (error) {
      failed.push({code: error.code, executed: error.executed, message: error.message});
    }
  }
}
Promise.all(Array.from({length: width}, lane)).then(() => {
  console.log(JSON.stringify({sent, failed}));
  process.exit(0);
});
"""


def deploy_sleeper(host, tmp_path, **fields):
    host.deploy(write_service(tmp_path / "sleeper", {"s.js": SLEEPER}, name="sleeper", jsEntry="s.js",
                              minInstances=1, idleTimeout="60s", **fields))
    wait_until(lambda: any(row["phase"] == "ready" for row in host.instances("sleeper")), what="an instance")


def ends_of(calls):
    """How many succeeded, and how the others failed."""
    errors = []
    for call in calls:
        try:
            call.result()
        except CallError as error:
            errors.append(error)
    return len(calls) - len(errors), errors


def test_calls_above_all_caps_wait_and_run(host, tmp_path):
    deploy_sleeper(host, tmp_path, maxInstances=2, maxConcurrency=3)
    with Caller(host.address) as a, Caller(host.address) as b:
        calls = [caller.start("/sleeper/slow", 50) for _ in range(150) for caller in (a, b)]
        assert ends_of(calls) == (300, [])
        assert len(host.instances("sleeper")) == 2
        for _ in range(20):
            assert a.invoke("/sleeper/seen")[0] <= 3


def test_through_the_library_too(host, tmp_path):
    deploy_sleeper(host, tmp_path, maxInstances=2, maxConcurrency=2)
    program = tmp_path / "client.js"
    program.write_text(CLIENT)
    environment = {**os.environ, **host.environment(), "NODE_PATH": str(BUILD / "runtime" / "node" / "node_modules")}
    # Several programs, each of which goes straight to the instances and knows nothing of the others.
    running = [subprocess.Popen(["node", program, "20", "200"], env=environment, stdout=subprocess.PIPE, text=True)
               for _ in range(3)]
    for process in running:
        output, _ = process.communicate(timeout=120)
        result = json.loads(output)
        assert result["sent"] >= 200
        assert result["failed"] == []


def test_what_is_beyond_the_queue_is_refused_at_once_and_others_do_not_notice(host, tmp_path):
    deploy_sleeper(host, tmp_path, maxInstances=1, maxConcurrency=2, maxQueue=20)
    host.deploy(write_service(tmp_path / "calm", {"e.js": ECHO}, name="calm", jsEntry="e.js", minInstances=1))
    with Caller(host.address) as storm, Caller(host.address) as calm:
        assert calm.invoke("/calm/echo", 1) == 1
        begun = time.monotonic()
        calls = [storm.start("/sleeper/slow", 1000) for _ in range(100)]
        wait_until(lambda: sum(call.ended_s is not None for call in calls) >= 78, what="refusals")
        refused = [call for call in calls if call.ended_s is not None]
        assert len(refused) == 78, "two run, twenty wait"
        assert max(call.ended_s for call in refused) - begun < 1, "before any of them could have run"
        request = urllib.request.Request(f"http://{host.address}/sleeper/slow", data=b"[1]", method="POST")
        try:
            urllib.request.urlopen(request, timeout=10)
            raise AssertionError("it was not refused")
        except urllib.error.HTTPError as error:
            assert (error.code, error.headers["retry-after"]) == (429, "1")
            assert json.loads(error.read())["error"]["executed"] == "no"
        for _ in range(50):
            assert calm.invoke("/calm/echo", 1) == 1
        assert time.monotonic() - begun < 5
        succeeded, errors = ends_of(calls)
        assert (succeeded, len(errors)) == (22, 78)
        assert {(error.code, error.executed) for error in errors} == {("RESOURCE_EXHAUSTED", "no")}
        assert host.invoke("/sleeper/seen") == [2, 22], "what was refused has not run"


def test_a_call_that_waits_ends_at_its_deadline_and_does_not_run(host, tmp_path):
    deploy_sleeper(host, tmp_path, maxInstances=1, maxConcurrency=1)
    with Caller(host.address) as caller:
        long_one = caller.start("/sleeper/slow", 2000)
        wait_until(lambda: sum(row["calls"] for row in host.instances("sleeper")) == 1, what="the call that runs")
        waits = caller.start("/sleeper/slow", 1, timeout_s=0.5)
        assert [error.code for error in ends_of([waits])[1]] == ["DEADLINE_EXCEEDED"]
        assert long_one.result() == 2000
        time.sleep(0.1)
        assert host.invoke("/sleeper/seen") == [1, 1], "it has not run, and does not later"
