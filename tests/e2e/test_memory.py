"""A host whose memory is bounded: what is idle gives way, a storm leaves room for others, what cannot be
started waits and says why, and a version that does not fit does not serve."""

import collections
import json
import time
import urllib.error
import urllib.request

import pytest
from lever_testing import Host, wait_until, write_service
from raw_calls import Caller

RAM_MIB = 200  # four instances of the default 50 MiB
WORKER = """
const id = require('crypto').randomUUID();
exports.who = () => id;
exports.slow = async (ms) => { await new Promise((go) => setTimeout(go, ms)); return ms; };
"""


@pytest.fixture
def host():
    with Host("--ram", str(RAM_MIB)) as running:
        yield running


def deploy(host, tmp_path, name, **fields):
    host.deploy(write_service(tmp_path / name, {"w.js": WORKER}, name=name, jsEntry="w.js", **fields))


def services_that_run(host):
    return collections.Counter(row["service"] for row in host.instances())


def test_what_is_idle_gives_way_to_what_is_called(host, tmp_path):
    names = [f"s{i}" for i in range(7)]
    for name in names:
        deploy(host, tmp_path, name)
    with Caller(host.address) as caller:
        for _ in range(2):
            for name in names:
                assert caller.invoke(f"/{name}/who")
                assert services_that_run(host).total() <= 4
        counters = host.counters()
        assert counters.ram_reserved_bytes <= counters.ram_bytes == RAM_MIB << 20
        # The one that is called again and again stays.
        stays = caller.invoke("/s0/who")
        for name in names[1:]:
            for _ in range(3):
                assert caller.invoke("/s0/who") == stays
                time.sleep(0.1)
            caller.invoke(f"/{name}/who")
        assert caller.invoke("/s0/who") == stays
    assert "it was idle, and lever://dev.lever/s6 needs its memory" in host.log_text()


def test_a_storm_leaves_room_for_others(host, tmp_path):
    deploy(host, tmp_path, "storm", maxInstanceLoad=1)
    deploy(host, tmp_path, "calm")
    with Caller(host.address) as storm, Caller(host.address) as calm:
        calls = [storm.start("/storm/slow", 2000) for _ in range(200)]
        wait_until(lambda: services_that_run(host)["storm"] == 3, what="as many as it may have")
        begun = time.monotonic()
        calm.invoke("/calm/who")
        assert time.monotonic() - begun < 5
        why = "MiB of 200 MiB are taken, and the last eighth is for services that have no instance"
        wait_until(lambda: why in host.cli("ls").out, what="the reason why there are no more")
        assert [call.result() for call in calls] == [2000] * 200
        assert services_that_run(host) == {"storm": 3, "calm": 1}
    wait_until(lambda: why not in host.cli("ls").out, what="the end of it")


def test_what_cannot_be_started_waits_and_says_why(host, tmp_path):
    deploy(host, tmp_path, "full", ram=200)
    deploy(host, tmp_path, "late")
    with Caller(host.address) as caller:
        runs = caller.start("/full/slow", 3000)
        wait_until(lambda: services_that_run(host)["full"] == 1, what="the instance")
        request = urllib.request.Request(f"http://{host.address}/late/who", b"[]", {"lever-timeout": "500ms"})
        with pytest.raises(urllib.error.HTTPError) as ended:
            urllib.request.urlopen(request, timeout=20)
        error = json.loads(ended.value.read())["error"]
        assert (error["code"], error["executed"]) == ("DEADLINE_EXCEEDED", "no")
        assert "takes 50 MiB (ram): 200 MiB of 200 MiB are taken" in error["message"]
        # This one waits for as long as the other service is busy, and a little longer.
        assert caller.invoke("/late/who")
        assert runs.result() == 3000


def test_a_version_that_does_not_fit_beside_the_old_one_does_not_serve(host, tmp_path):
    deploy(host, tmp_path, "large", ram=120)
    with Caller(host.address) as caller:
        before = caller.invoke("/large/who")
        (tmp_path / "large" / "turn").write_text("2")
        result = host.cli("deploy", tmp_path / "large", timeout_s=60)
        assert result.code != 0
        assert "takes 120 MiB (ram): 120 MiB of 200 MiB are taken" in result.err
        assert caller.invoke("/large/who") == before


def test_a_service_that_is_too_large_for_the_host_is_told_at_once(host, tmp_path):
    result = host.deploy(write_service(tmp_path / "huge", {"w.js": WORKER}, name="huge", jsEntry="w.js", ram=201))
    assert "each takes 201 MiB (ram), and those on this host may take 200 MiB together" in result.err


def test_a_version_takes_over_with_what_fits(host, tmp_path):
    deploy(host, tmp_path, "wide", minInstances=2)
    wait_until(lambda: services_that_run(host)["wide"] == 2, what="two instances")
    for turn in range(3):
        (tmp_path / "wide" / "turn").write_text(str(turn))
        host.deploy(tmp_path / "wide")
        wait_until(lambda: [row["version"] for row in host.instances() if row["phase"] == "ready"] == [turn + 2] * 2,
                   what="two of the new version")
