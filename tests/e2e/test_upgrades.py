"""New versions under load: good ones, and bad ones that are taken back."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from lever_testing import wait_until, write_service
from raw_calls import Caller
from test_resources import deploy_owned, events

CLOSED_FOR_AN_UPGRADE = 2

SERVICE = """
const { context } = require('lever');
exports.version = async () => context().service.version;
exports.config = async () => context().config;
exports.isWell = async () => { if (%(sick)s) throw new Error('no database'); };
exports.work = async () => { %(work)s; return context().service.version; };
if (%(dies)s) throw new Error('it does not start');
"""


def service(directory, work="", sick="false", dies="false", **manifest):
    code = SERVICE % {"work": work, "sick": sick, "dies": dies}
    return write_service(directory, {"service.js": code}, name="app", jsEntry="service.js",
                         **{"watch": "5s", **manifest})


class Callers:
    """Calls /app/work from a few threads, and counts who answered how."""

    def __init__(self, host, count=4):
        self.host, self.answers, self.errors, self.lock = host, {}, {}, threading.Lock()
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]

    def run(self):
        while not self.end.is_set():
            request = urllib.request.Request(f"http://{self.host.address}/app/work", data=b"[]",
                                             headers={"content-type": "application/json"})
            kind, key = "answers", None
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    key = json.loads(reply.read())
            except urllib.error.HTTPError as error:
                kind, key = "errors", error.read().decode()
            except OSError as error:
                # Also one that is never answered.
                kind, key = "errors", repr(error)
            with self.lock:
                counts = getattr(self, kind)
                counts[key] = counts.get(key, 0) + 1
            time.sleep(0.005)

    def answered(self, version):
        with self.lock:
            return self.answers.get(version, 0)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()


def upgrade(host, directory, **changes):
    """The result of a deploy that waits for its verdict, and the calls meanwhile."""
    host.deploy(service(directory))
    with Callers(host) as callers:
        wait_until(lambda: callers.answered(1) > 100)
        began = time.monotonic()
        result = host.cli("deploy", service(directory, **changes), timeout_s=60)
        seconds = time.monotonic() - began
        after = callers.answered(1)
        if result.code != 0:
            wait_until(lambda: callers.answered(1) > after + 50)
    print(f"{seconds:.1f} s, answers {callers.answers}, errors {callers.errors}")
    return result, callers, seconds


def test_a_good_version_stays(host, tmp_path):
    result, callers, seconds = upgrade(host, tmp_path, work="1")
    assert result.ok().out.strip() == "lever://dev.lever/app version 2"
    # It was watched to the end, and answered all the while.
    assert seconds >= 5
    assert callers.answered(2) > 100 and callers.errors == {}
    assert host.invoke("/app/version") == 2
    result = host.cli("deploy", service(tmp_path, work="1"), timeout_s=60).ok()
    assert result.out.strip() == "lever://dev.lever/app version 2 (unchanged)"


def test_a_version_with_errors_is_taken_back(host, tmp_path):
    result, callers, _ = upgrade(
        host, tmp_path,
        work="if (Math.random() < 0.3) { console.error('it is broken'); throw new Error('broken'); }")
    assert result.code != 0
    assert "is back at version 1; version 2 was bad" in result.err
    assert "calls ended in errors" in result.err and "it is broken" in result.err
    # Nobody saw another error than the method's own.
    assert all("broken" in text for text in callers.errors)
    assert callers.answered(2) > 0
    rows = host.cli("--json", "versions", "app").json()
    assert [(row["version"], row["current"]) for row in rows] == [(1, True)]
    # What is durable is what serves.
    host.kill()
    host.start()
    assert host.invoke("/app/version") == 1


def test_a_version_that_crashes_is_taken_back(host, tmp_path):
    result, callers, _ = upgrade(host, tmp_path,
                                 work="console.error('last words'); process.exit(3)")
    assert result.code != 0
    assert "is back at version 1; version 2 was bad" in result.err and "last words" in result.err
    # The calls that it took down with it, and no others.
    assert all('"executed":"unknown"' in text for text in callers.errors)
    assert sum(callers.errors.values()) <= 8


def test_versions_that_never_serve_disturb_nobody(host, tmp_path):
    for changes, why in (({"dies": "true"}, "it does not start"),
                         ({"sick": "true", "health": "isWell"}, "no database"),
                         ({"work": "1", "health": "nowhere"}, "nowhere")):
        result, callers, _ = upgrade(host, tmp_path, **changes)
        assert result.code != 0 and why in result.err, result.err
        assert "stays at version 1" in result.err
        assert callers.errors == {} and set(callers.answers) == {1}


def test_configuration_that_the_service_is_not_well_with_is_taken_back(host, tmp_path):
    host.deploy(service(tmp_path, sick="context().config?.a === 1", health="isWell"))
    assert host.invoke("/app/version") == 1
    bad = host.cli("config", "set", "app", "a=1")
    assert bad.code != 0 and "stays at version 1" in bad.err and "no database" in bad.err
    assert host.invoke("/app/config") is None
    host.cli("config", "set", "app", "a=2").ok()
    assert host.invoke("/app/version") == 3


def test_what_nobody_waits_for_is_watched_too(host, tmp_path):
    host.deploy(service(tmp_path))
    assert host.invoke("/app/version") == 1
    host.deploy(service(tmp_path, work="process.exit(3)"))
    assert host.invoke("/app/version") == 2
    with contextlib.suppress(subprocess.SubprocessError):
        host.cli("invoke", "/app/work")
    wait_until(lambda: host.invoke("/app/version") == 1)
    assert "version 2 was bad" in host.log_text()


def test_resources_of_a_version_that_is_taken_back_go_to_the_one_before(host, tmp_path):
    journal = deploy_owned(host, tmp_path / "owned", minInstances=2, watch="60s")
    names = [f"r{n}" for n in range(40)]

    def ready(version):
        rows = host.instances("owned")
        return len(rows) == 2 and all(row["version"] == version and row["phase"] == "ready" for row in rows)

    def owners():
        """The process that each resource is dispatched in."""
        for name in names:
            caller.invoke(f"/owned/{name}/add", 0)
        return {event[3]: event[2] for event in events(journal) if event[1] == "dispatch"}

    def settled():
        before = owners()
        time.sleep(0.5)
        return before if len(set(before.values())) == 2 and owners() == before else None

    with Caller(host.address) as caller:
        for name in names:
            assert caller.invoke(f"/owned/{name}/add", 3) == 3
        (tmp_path / "owned" / "turn").write_text("2")
        host.deploy(tmp_path / "owned")
        wait_until(lambda: ready(2), what="version 2 alone")
        held = wait_until(settled, what="owners that stay")
        crashed = host.instances("owned")[0]["pid"]
        os.kill(crashed, signal.SIGKILL)
        # Those of the other one go on meanwhile, and none of their calls fails.
        kept = [name for name in names if held[name] != crashed]
        counts = 3

        def taken_back():
            nonlocal counts
            counts += 1
            for name in kept:
                assert caller.invoke(f"/owned/{name}/add", 1) == counts
            return ready(1)

        wait_until(taken_back, timeout_s=60, what="version 1 again")
        assert 0 < len(kept) < len(names)
        for name in names:
            origin = caller.invoke(f"/owned/{name}/where").split()[2]
            count = caller.invoke(f"/owned/{name}/get")
            assert (origin, count) == (("carried", counts) if name in kept else ("lost", 0)), name
    survivor = ({*held.values()} - {crashed}).pop()
    closes = {event[3]: event[5] for event in events(journal)
              if event[1] == "close" and event[2] == survivor}
    assert closes == dict.fromkeys(kept, CLOSED_FOR_AN_UPGRADE)
    assert "version 2 was bad" in host.log_text()
