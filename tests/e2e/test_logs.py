"""lever logs: what is kept, found, and followed; and what a service costs that only prints."""

import os
import pathlib
import time

from lever_testing import Host, resident_bytes, wait_until, write_service

SERVICE = """
exports.print = async (text, count = 1) => {
  for (let i = 0; i < count; i++) console.log(count === 1 ? text : `${text} ${i}`);
};
exports.flood = async (seconds) => {
  const fs = require('fs');
  const piece = Buffer.from(('x'.repeat(99) + '\\n').repeat(640));
  const end = Date.now() + seconds * 1000;
  let written = 0;
  while (Date.now() < end) {
    try { written += fs.writeSync(1, piece); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
  }
  return written;
};
"""


def texts(host, *words):
    return [line["text"] for line in host.cli("--json", "logs", *words).lines()]


def deploy(host, directory, name="talker"):
    host.deploy(write_service(directory / name, {"service.js": SERVICE}, name=name,
                              jsEntry="service.js"))


def test_lines_are_kept_over_versions_instances_and_hosts(tmp_path):
    with Host() as host:
        deploy(host, tmp_path)
        host.invoke("/talker/print", "from the first host")
        wait_until(lambda: "from the first host" in texts(host, "talker"))
        # A moment, so that what was read is in its file.
        wait_until(lambda: any(b"from the first host" in path.read_bytes()
                               for path in pathlib.Path(host.data_dir, "logs").rglob("*.log")))
        host.kill()
        host.start()
        assert "from the first host" in texts(host, "talker")
        host.invoke("/talker/print", "from the second host")
        wait_until(lambda: "from the second host" in texts(host, "talker", "--tail", "1"))
        both = texts(host, "talker", "--grep", "^from the .* host$")
        assert both == ["from the first host", "from the second host"]
        host.cli("rm", "talker").ok()
        assert "from the second host" in texts(host, "talker")


def test_since_and_grep(host, tmp_path):
    deploy(host, tmp_path, "found")
    host.invoke("/found/print", "needle", 3)
    host.invoke("/found/print", "hay", 500)
    wait_until(lambda: "hay 499" in texts(host, "found", "--tail", "1"))
    assert texts(host, "found", "--grep", "NEEDLE") == []
    assert texts(host, "found", "--grep", "(?i)NEEDLE [12]") == ["needle 1", "needle 2"]
    assert texts(host, "found", "--grep", "needle", "--tail", "1") == ["needle 2"]
    assert len(texts(host, "found", "--since", "1h")) >= 503
    assert len(texts(host, "found")) == 100
    assert texts(host, "found", "--since", "2099-01-01") == []
    bad = host.cli("logs", "found", "--grep", "(")
    assert bad.code == 2 and "not a regular expression" in bad.err
    assert host.cli("logs", "found", "--since", "yesterday").code == 2


def test_json_lines_are_told_apart(host, tmp_path):
    deploy(host, tmp_path, "machine")
    host.invoke("/machine/print", '{"level":40,"msg":"slow query","ms":812}')
    wait_until(lambda: "slow query" in host.cli("logs", "machine").out)
    line = host.cli("--json", "logs", "machine", "--tail", "1").lines()[0]
    assert line["fields"] == {"level": 40, "msg": "slow query", "ms": 812}
    assert host.cli("logs", "machine", "--tail", "1").out.strip().endswith("| WARN slow query ms=812")


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_service_that_prints_without_end_slows_itself(tmp_path):
    with Host() as host:
        deploy(host, tmp_path, "loud")
        deploy(host, tmp_path, "quiet")
        host.invoke("/quiet/print", "here")
        host.invoke("/loud/flood", 0.5)
        before, cpu, began = resident_bytes(host.pid), cpu_s(host.pid), time.monotonic()
        written = host.invoke("/loud/flood", 4)
        seconds = time.monotonic() - began
        grown = resident_bytes(host.pid) - before
        share = (cpu_s(host.pid) - cpu) / seconds
        print(f"written {written / seconds / 2**20:.1f} MiB/s, host: {share:.2f} cores, "
              f"{grown / 2**20:.1f} MiB more")
        # 4 MiB/s, a burst of 1 MiB, and what pipe and start-up hold.
        assert written < 4 * 2**20 * (seconds + 2)
        assert grown < 64 * 2**20
        host.invoke("/quiet/print", "still here")
        wait_until(lambda: "still here" in texts(host, "quiet"))
        kept = sum(path.stat().st_size for path in pathlib.Path(host.data_dir, "logs").rglob("*.log"))
        assert kept < 70 * 2**20
