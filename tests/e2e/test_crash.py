"""kill -9 of the host: nothing of its services goes on, and nothing that it acknowledged is lost."""

import os
import random
import subprocess
import time

from lever_testing import Host, descendants, process_exists, wait_until, write_service

# Forks twice, leaves its session, closes what it inherited, and stays.
DAEMON = """
const {spawn} = require('child_process');
exports.daemonize = async () => new Promise((done) => {
  const child = spawn('sh', ['-c', 'setsid sh -c "sleep 600 & sleep 600 &" </dev/null >/dev/null 2>&1 & sleep 600'],
                      {detached: true, stdio: 'ignore'});
  child.on('spawn', () => done(child.pid));
});
"""

# Answers with its version, if all of its files are of that version.
APP = """
const fs = require('fs');
exports.version = async () => {
  const versions = new Set(fs.readdirSync('parts').map((name) => fs.readFileSync('parts/' + name, 'utf8')));
  return [fs.readdirSync('parts').length, ...versions];
};
"""
PARTS = 60


def write_app(directory, version):
    parts = {f"parts/{n}": f"{version}".ljust(2000, ".") for n in range(PARTS)}
    return write_service(directory, {"s.js": APP, **parts}, name="app", jsEntry="s.js")


def test_killing_the_host_ends_every_descendant_within_a_second(tmp_path):
    with Host() as host:
        host.deploy(write_service(tmp_path / "d", {"s.js": DAEMON}, name="d", jsEntry="s.js"))
        host.invoke("/d/daemonize")
        host.invoke("/d/daemonize")
        below = wait_until(lambda: (lambda found: found if len(found) >= 9 else None)(
            descendants(host.pid)), what="the daemons")
        assert host.instance_pid("d") in below
        host.kill()
        began = time.monotonic()
        wait_until(lambda: not [pid for pid in below if process_exists(pid)], timeout_s=1,
                   what="the end of all that the host had started")
        print(f"{len(below)} processes were gone after {time.monotonic() - began:.3f} s")


def test_fifty_kills_during_deploys_lose_nothing(tmp_path):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    with Host() as host:
        host.deploy(write_service(tmp_path / "base", {"s.js": "exports.one = async () => 1;"},
                                  name="base", jsEntry="s.js"))
        # How long a deploy over a running version takes here.
        for version in (1, 2):
            began = time.monotonic()
            host.deploy(write_app(tmp_path / "app", version))
            longest = time.monotonic() - began
            assert host.invoke("/app/version") == [PARTS, f"{version}".ljust(2000, ".")]
        acknowledged, cut = 2, 0
        for attempt in range(3, 53):
            directory = write_app(tmp_path / "app", attempt)
            began = time.monotonic()
            deploying = subprocess.Popen(host.command("deploy", "-d", directory), env=host.environment(),
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            # Some of them after the deploy is done, most in the middle of it.
            give_up = began + chance.uniform(0, 1.3 * longest)
            while time.monotonic() < give_up and deploying.poll() is None:
                time.sleep(0.001)
            host.kill()
            out, _ = deploying.communicate(timeout=60)
            if deploying.returncode == 0:
                assert "version" in out
                acknowledged = attempt
            else:
                cut += 1
            host.start()
            assert host.invoke("/base/one") == 1
            count, *versions = host.invoke("/app/version")
            assert count == PARTS and len(versions) == 1, "half a version"
            found = int(versions[0].rstrip("."))
            assert acknowledged <= found <= attempt
        print(f"50 kills, {cut} in the middle of a deploy; the last version is {found}")
        # What was broken off has left nothing behind.
        assert os.listdir(os.path.join(host.data_dir, "uploads")) == []
        assert 5 <= cut < 50
