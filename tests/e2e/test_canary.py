"""A new version that gets a share of the calls: the share holds, it is promoted, given up, taken back."""

import http.client
import json
import math
import subprocess
import threading
import time

from lever_testing import BUILD, wait_until
from raw_calls import Caller
from test_resources import deploy_owned
from test_upgrades import Callers, service

SHARE = 0.1
# Reads numbers, and answers each with how many of so many calls each version had.
CLIENT = """
const lever = require('lever');
const client = new lever.Client();
require('readline').createInterface({input: process.stdin}).on('line', async (line) => {
  const seen = {};
  for (let i = 0; i < Number(line); ++i) {
    const version = await client.invoke('/app/work');
    seen[version] = (seen[version] || 0) + 1;
  }
  console.log(JSON.stringify(seen));
});
"""


class Client:
    """A program with the library, which routes by itself."""

    def __init__(self, host):
        modules = BUILD / "runtime" / "node" / "node_modules"
        self.process = subprocess.Popen(
            ["node", "-e", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**host.environment(), "NODE_PATH": str(modules)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def count(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return {int(version): count for version, count in json.loads(self.process.stdout.readline()).items()}


def versions_of(host, calls, **headers):
    """Who answered so many calls over one HTTP connection."""
    address, _, port = host.address.rpartition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=30)
    seen = {}
    for _ in range(calls):
        connection.request("POST", "/app/work", "[]", {"content-type": "application/json", **headers})
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 200, body
        version = json.loads(body)
        seen[version] = seen.get(version, 0) + 1
    connection.close()
    return seen


def assert_share(seen, share, what):
    calls = sum(seen.values())
    part = seen.get(2, 0) / calls
    deviation = math.sqrt(share * (1 - share) / calls)
    print(f"{what}: {part:.2%} of {calls} calls, wanted {share:.0%}, deviation {deviation:.2%}")
    assert set(seen) <= {1, 2} and abs(part - share) < 4.5 * deviation, (what, seen)


def begin(host, tmp_path, *flags, share="10%", **changes):
    host.deploy(service(tmp_path, work="0"))
    assert host.invoke("/app/version") == 1
    changes = {"work": "1", **changes}
    return host.cli("deploy", "-d", "--canary", share, *flags, service(tmp_path, **changes), timeout_s=60)


def states(host, name="app"):
    return [(row["version"], row["current"], row["canary_percent"])
            for row in host.cli("--json", "versions", name).json()]


def test_the_share_holds_through_the_host_and_without_it(host, tmp_path):
    result = begin(host, tmp_path).ok()
    assert result.out.strip() == "lever://dev.lever/app version 2, a canary with 10 % of the calls"
    assert states(host) == [(2, False, 10), (1, True, 0)]
    assert {row["version"]: row["canary"] for row in host.instances("app")} == {1: False, 2: True}
    assert "canary, 10 %" in host.cli("versions", "app").out
    assert_share(versions_of(host, 4000), SHARE, "HTTP")
    with Caller(host.address) as caller:
        seen = {}
        for _ in range(3000):
            version = caller.invoke("/app/work")
            seen[version] = seen.get(version, 0) + 1
    assert_share(seen, SHARE, "gRPC")
    with Client(host) as client:
        assert_share(client.count(500), SHARE, "the library, as it begins")
        relayed = host.counters().calls_relayed
        assert_share(client.count(8000), SHARE, "the library, direct")
        assert host.counters().calls_relayed - relayed < 100
        # It hears of another share.
        host.cli("deploy", "-d", "--canary", "50%", service(tmp_path, work="1"), timeout_s=60).ok()
        assert states(host) == [(2, False, 50), (1, True, 0)]
        time.sleep(0.1)
        assert_share(client.count(3000), 0.5, "the library, direct")
    assert_share(versions_of(host, 2000), 0.5, "HTTP")
    # Who says so goes to the one or the other.
    assert versions_of(host, 200, **{"lever-canary": "true"}) == {2: 200}
    assert versions_of(host, 200, **{"lever-canary": "false"}) == {1: 200}


def test_a_canary_outlives_the_host(host, tmp_path):
    begin(host, tmp_path).ok()
    host.kill()
    host.start()
    wait_until(lambda: {row["version"] for row in host.instances("app") if row["phase"] == "ready"} == {1, 2})
    assert_share(versions_of(host, 3000), SHARE, "HTTP, after the host was killed")


def test_callers_stay_with_one_version_where_that_is_asked_for(host, tmp_path):
    begin(host, tmp_path, "--sticky", share="50%").ok()
    firsts = [versions_of(host, 20) for _ in range(60)]
    assert all(len(seen) == 1 for seen in firsts), firsts
    assert_share({version: sum(version in seen for seen in firsts) for version in (1, 2)}, 0.5, "connections")
    for _ in range(4):
        with Client(host) as client:
            # Through the host first, and then direct.
            assert len(client.count(300)) == 1


def test_promoting_costs_no_call(host, tmp_path):
    begin(host, tmp_path, watch="2s").ok()
    with Callers(host) as callers:
        wait_until(lambda: callers.answered(2) > 20)
        result = host.cli("promote", "app").ok()
        assert result.out.strip() == "lever://dev.lever/app version 2 serves"
        before = callers.answered(1)
        after = callers.answered(2)
        wait_until(lambda: callers.answered(2) > after + 500)
        # What was on its way.
        assert callers.answered(1) <= before + 4
    print(f"answers {callers.answers}, errors {callers.errors}")
    assert callers.errors == {}
    assert states(host) == [(2, True, 0), (1, False, 0)]
    assert host.cli("promote", "app").code != 0


def test_one_that_is_given_up_costs_no_call(host, tmp_path):
    begin(host, tmp_path).ok()
    refused = host.cli("deploy", service(tmp_path, work="2"))
    assert refused.code != 0 and "`lever promote` or `lever rollback` it first" in refused.err
    with Callers(host) as callers:
        wait_until(lambda: callers.answered(2) > 20)
        assert host.cli("rollback", "app").ok().out.strip() == "lever://dev.lever/app version 1 serves"
        before = callers.answered(2)
        after = callers.answered(1)
        wait_until(lambda: callers.answered(1) > after + 500)
        assert callers.answered(2) <= before + 4
    assert callers.errors == {}
    assert states(host) == [(2, False, 0), (1, True, 0)]


def test_a_bad_canary_is_taken_back(host, tmp_path):
    host.deploy(service(tmp_path, work="0"))
    assert host.invoke("/app/version") == 1
    for work, why in (("if (Math.random() < 0.3) { console.error('it is broken'); throw new Error('broken'); }",
                       "calls ended in errors"),
                      ("console.error('last words'); process.exit(3)", "last words")):
        with Callers(host) as callers:
            wait_until(lambda: callers.answered(1) > 100)
            result = host.cli("deploy", "--canary", "10%", service(tmp_path, work=work, watch="30s"), timeout_s=60)
            after = callers.answered(1)
            wait_until(lambda: callers.answered(1) > after + 50)
        print(f"answers {callers.answers}, errors {callers.errors}")
        assert result.code != 0 and "is back at version 1" in result.err and why in result.err, result.err
        # Only what it answered or took down itself.
        assert all("broken" in text or '"executed":"unknown"' in text for text in callers.errors)
        assert states(host) == [(1, True, 0)]


def test_resources_are_wholly_on_one_version(host, tmp_path):
    deploy_owned(host, tmp_path / "owned", minInstances=2)
    names = [f"r{n}" for n in range(60)]
    counts = dict.fromkeys(names, 0)
    errors = []
    end = threading.Event()

    def count():
        with Caller(host.address) as caller:
            while not end.is_set():
                for name in names:
                    try:
                        counts[name] += 1
                        if caller.invoke(f"/owned/{name}/add", 1) != counts[name]:
                            errors.append(f"{name} lost a count")
                    except Exception as error:  # noqa: BLE001: whatever it is, it is told
                        errors.append(repr(error))

    def shards_of(version):
        rows = host.cli("--json", "resources", "owned").json()["owners"]
        return sum(row["version"] == version and row["settled"] for row in rows)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        wait_until(lambda: min(counts.values()) > 2)
        (tmp_path / "owned" / "turn").write_text("2")
        host.cli("deploy", "-d", "--canary", "25%", tmp_path / "owned", timeout_s=60).ok()
        wait_until(lambda: 52 <= shards_of(2) <= 76, what="a quarter of 256 shards, give or take an eighth")
        print(f"{shards_of(2)} of 256 shards")
        host.cli("promote", "owned").ok()
        wait_until(lambda: shards_of(2) == 256, what="all shards of the promoted version")
        done = min(counts.values())
        wait_until(lambda: min(counts.values()) > done + 2)
    finally:
        end.set()
        thread.join()
    print(f"{sum(counts.values())} counts, errors {errors[:5]}")
    assert errors == []
