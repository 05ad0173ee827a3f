"""1 GiB through a streaming method, each way, by the host and directly, with a reader that is a hundred
times slower than the writer for a part of it: the contents arrive, and nobody's memory grows with them."""

import json
import pathlib
import subprocess

import pytest
from lever_testing import BUILD, write_service

TOTAL_MIB = 1024
# What a process may have had resident at its most, in MiB. A bare Node 20 has about 45.
HOST_MIB_MAX = 96
NODE_MIB_MAX = 256

# What both sides share: the contents, and reading them, slowly for 8 MiB in the middle.
SHARED = """
const crypto = require('crypto');
const CHUNK = 65536, SLOW_FROM = 64 << 20, SLOW_BYTES = 8 << 20, SLOW_MS = 30;
exports.send = async function (stream, total) {
  const hash = crypto.createHash('sha256');
  const block = Buffer.alloc(CHUNK, 'lever');
  for (let sent = 0, n = 0; sent < total; sent += CHUNK, ++n) {
    const chunk = Buffer.from(block);
    chunk.writeUInt32LE(n, 0);
    hash.update(chunk);
    await stream.write(chunk);
  }
  return hash.digest('hex');
};
exports.receive = async function (stream, total) {
  const hash = crypto.createHash('sha256');
  let got = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    got += chunk.length;
    if (got > SLOW_FROM && got <= SLOW_FROM + SLOW_BYTES) {
      await new Promise((done) => setTimeout(done, SLOW_MS));
    }
    if (got === total) break;
  }
  if (got !== total) throw new Error(`${got} bytes of ${total}`);
  return hash.digest('hex');
};
exports.peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status'))[1]) / 1024;
"""

SERVICE = """
const {send, receive, peak} = require('./shared.js');
let digest = '';
exports.uploadChan = async (stream, total) => { await stream.write(await receive(stream, total)); };
exports.downloadChan = async (stream, total) => { digest = await send(stream, total); };
exports.digest = async () => digest;
exports.peak = async () => peak();
"""

CLIENT = """
const lever = require('lever');
const {send, receive, peak} = require(process.argv[2]);
const [way, direction, total] = [process.argv[3], process.argv[4], Number(process.argv[5])];
(async () => {
  const client = new lever.Client({onlyThroughHost: way === 'host'});
  // A direct way comes after the first calls.
  for (let i = 0; i < 100; ++i) await client.invoke('/files/digest');
  const began = Date.now();
  let here, there;
  if (direction === 'upload') {
    const stream = client.stream('/files/uploadChan', total);
    here = await send(stream, total);
    for await (const message of stream) there = message;
  } else {
    const stream = client.stream('/files/downloadChan', total);
    here = await receive(stream, total);
    for await (const _ of stream) throw new Error('more than was sent');
    there = await client.invoke('/files/digest');
  }
  const seconds = (Date.now() - began) / 1000;
  console.log(JSON.stringify({here, there, seconds, client_mib: peak(),
                              service_mib: await client.invoke('/files/peak')}));
  process.exit(0);
})();
"""


@pytest.mark.parametrize("way", ["host", "direct"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_gibibyte_arrives_and_memory_stays(host, tmp_path, way, direction):
    host.deploy(write_service(tmp_path / "files", {"s.js": SERVICE, "shared.js": SHARED},
                              name="files", jsEntry="s.js"))
    (tmp_path / "client.js").write_text(CLIENT)
    modules = BUILD / "runtime" / "node" / "node_modules"
    total = TOTAL_MIB << 20
    relayed = host.counters().calls_relayed
    done = subprocess.run(
        ["node", str(tmp_path / "client.js"), str(tmp_path / "files" / "shared.js"), way, direction,
         str(total)], capture_output=True, text=True, timeout=300,
        env={**host.environment(), "NODE_PATH": str(modules)})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    status = pathlib.Path(f"/proc/{host.pid}/status").read_text()
    host_mib = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"{direction} {way}: {TOTAL_MIB / result['seconds']:.0f} MiB/s; resident at most, MiB: "
          f"host {host_mib:.0f}, client {result['client_mib']:.0f}, "
          f"service {result['service_mib']:.0f}")
    assert result["here"] == result["there"]
    if way == "direct":
        assert host.counters().calls_relayed - relayed < 100
    assert host_mib < HOST_MIB_MAX
    assert result["client_mib"] < NODE_MIB_MAX and result["service_mib"] < NODE_MIB_MAX
