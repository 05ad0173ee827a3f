"""Resources of services in Node: what they carry over an upgrade, and what a crash loses."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from lever_testing import BUILD, ROOT, open_directory, wait_until, write_service
from raw_calls import CallError, Caller

PACKAGES = BUILD / "runtime" / "node" / "node_modules"
NOTES = ROOT / "examples" / "notes"

COUNTER = """
const fs = require('node:fs');
const lever = require('lever');

exports.pid = () => process.pid;
exports.Resource = class Counter {
  static serial = true;
  open(name, { state, origin }) {
    if (name === 'refuses') throw new Error('it does not want to be opened');
    this.name = name;
    this.origin = origin;
    this.carried = state;
    this.count = Buffer.isBuffer(state) ? state.readUInt32BE() : (state?.count ?? 0);
  }
  add(n) {
    this.count += n;
    return this.count;
  }
  where() {
    const { generation, resource } = lever.context();
    return { pid: process.pid, origin: this.origin, generation, resource, count: this.count };
  }
  close(reason) {
    fs.appendFileSync(lever.context().config, `${this.name} ${reason} ${this.count}\\n`);
    if (this.name === 'breaks') throw new Error('it cannot be closed');
    if (this.name === 'empty') return undefined;
    if (this.name !== 'bytes') return { count: this.count };
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.count);
    return bytes;
  }
};
"""


@pytest.fixture
def counters(host, tmp_path):
    """The directory of a deployed service, and the file in which it says what it closed, and why; which
    lies outside of what a sandbox lets it write."""
    closed = pathlib.Path(open_directory()) / "closed"
    closed.touch()
    closed.chmod(0o666)
    directory = write_service(tmp_path / "counters", {"service.js": COUNTER}, name="counters",
                              jsEntry="service.js", config=str(closed), sandbox="none")
    host.deploy(directory)
    yield directory, closed
    shutil.rmtree(closed.parent)


def upgrade(host, directory, version):
    (directory / "version").write_text(str(version))
    host.deploy(directory)


def test_an_upgrade_carries_values_and_bytes_and_says_what_was_not_closed_well(host, counters):
    directory, closed = counters
    names = ["value", "bytes", "empty", "breaks"]
    with Caller(host.address) as caller:
        for name in names:
            assert caller.invoke(f"/counters/{name}/add", 5) == 5
        before = {name: caller.invoke(f"/counters/{name}/where") for name in names}
        assert {row["origin"] for row in before.values()} == {"new"}
        upgrade(host, directory, 2)
        after = {name: caller.invoke(f"/counters/{name}/where", timeout_s=30) for name in names}
        assert caller.invoke("/counters/value/add", 1) == 6
    told = {name: (row["origin"], row["count"]) for name, row in after.items()}
    assert told == {"value": ("carried", 5), "bytes": ("carried", 5), "empty": ("new", 0),
                    "breaks": ("lost", 0)}
    for name in names:
        assert after[name]["resource"] == name
        assert after[name]["pid"] != before[name]["pid"]
        assert after[name]["generation"] > before[name]["generation"] > 0
    assert sorted(closed.read_text().splitlines()) == [f"{name} upgrade 5" for name in sorted(names)]
    log = host.cli("logs", "counters").out
    assert "close('upgrade') of \"breaks\" failed: it cannot be closed" in log


def test_what_dies_is_lost_and_says_so(host, counters):
    with Caller(host.address) as caller:
        assert caller.invoke("/counters/apples/add", 3) == 3
        before = caller.invoke("/counters/apples/where")
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: all(row["pid"] != before["pid"] for row in host.instances("counters")),
                   what="its end")
        after = caller.invoke("/counters/apples/where", timeout_s=30)
        assert (after["origin"], after["count"]) == ("lost", 0)
        assert after["generation"] > before["generation"]


def test_one_that_cannot_be_opened_tells_who_calls(host, counters):
    with Caller(host.address) as caller:
        with pytest.raises(CallError) as raised:
            caller.invoke("/counters/refuses/add", 1)
    assert raised.value.code == "INTERNAL" and raised.value.executed == "no"
    assert "it does not want to be opened" in raised.value.details


def test_the_notes_lose_no_line_in_upgrades(host, tmp_path):
    directory = tmp_path / "notes"
    shutil.copytree(NOTES, directory)
    host.deploy(directory)
    with subprocess.Popen(["node", str(NOTES / "load.js"), "300", "8", "4"],
                          env={**host.environment(), "NODE_PATH": str(PACKAGES)},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        try:
            assert "watched" in load.stdout.readline()
            for version in (2, 3):
                upgrade(host, directory, version)
                wait_until(lambda: {row["version"] for row in host.instances("notes")} == {version},
                           timeout_s=60, what="the end of the version before")
            load.send_signal(signal.SIGINT)
            out, err = load.communicate(timeout=120)
        finally:
            load.kill()
    assert load.returncode == 0, out + err
    seen = json.loads(out.splitlines()[-1])
    print(seen)
    assert seen["problems"] == []
    assert seen["watched"] == 8 * 4
    # Each note has moved twice, and its watchers' streams went on.
    assert seen["reopened"] == 0
