"""Streams go on where their resources move to: nothing is lost, doubled or out of order, either way.

LEVER_UPGRADES: how many times all of them move (3; `tests/run.sh --long`: 100).
"""

import json
import os
import pathlib
import subprocess
import time

import pytest

from lever_testing import BUILD, ROOT, open_directory, wait_until, write_service

UPGRADES = int(os.environ.get("LEVER_UPGRADES", "3"))
PACKAGES = BUILD / "runtime" / "node" / "node_modules"
STREAMS = 100
RATE = 1000

# Counts the messages of its stream, and says of each the number that it bears and the one that it should.
SERVICE = """
exports.Resource = class Tape {
  open(name, { state, origin }) {
    this.count = origin === 'carried' ? state : 0;
    if (origin === 'lost') console.error(`lost: ${name}`);
  }
  async echoChan(stream, name) {
    if (name !== stream.args[0] || stream.method !== 'echoChan') throw new Error('other arguments');
    for await (const n of stream) {
      this.count += 1;
      await stream.write({ n, serial: this.count }, { token: String(this.count) });
    }
  }
  async resume(stream, token, received) {
    if (Number(token) !== received) throw new Error(`token ${token}, ${received} received`);
    if (received !== this.count) throw new Error(`${received} received, ${this.count} counted`);
    return this.echoChan(stream, ...stream.args);
  }
  close() {
    return this.count;
  }
};
"""


def versions(host):
    return {row["version"] for row in host.instances("tapes")}


@pytest.mark.parametrize("way", ["direct", "host"])
def test_streams_go_on_over_upgrades(host, way):
    directory = write_service(pathlib.Path(open_directory()) / "tapes", {"s.js": SERVICE},
                              name="tapes", jsEntry="s.js", minInstances=2, maxInstances=4,
                              drainTimeout="10s")
    host.deploy(directory)
    with subprocess.Popen(
            ["node", ROOT / "tests" / "e2e" / "resumed.js", "tapes", str(STREAMS), str(RATE), way],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**host.environment(), "NODE_PATH": str(PACKAGES)}) as callers:
        try:
            time.sleep(1)
            for turn in range(UPGRADES):
                (directory / "turn").write_text(str(turn))
                host.deploy(directory)
                wait_until(lambda: versions(host) == {turn + 2}, timeout_s=60,
                           what="the end of the version before")
                time.sleep(0.5)
            out, _ = callers.communicate(timeout=100)
        finally:
            callers.kill()
    seen = json.loads(out)
    print(json.dumps(seen))
    assert seen["wrong"] == []
    assert seen["ends"] == {"OK": STREAMS}
    assert seen["read"] == seen["written"] > UPGRADES * STREAMS
