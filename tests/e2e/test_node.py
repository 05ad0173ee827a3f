"""Services and programs in Node: packages of other people, worker threads, a web server that attaches itself."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory, wait_until, write_service

PACKAGES = BUILD / "runtime" / "node" / "node_modules"


def test_a_service_with_five_packages_one_of_them_native(host):
    bundle = os.path.join(open_directory(), "five-packages")
    shutil.copytree(ROOT / "tests" / "e2e" / "services" / "five-packages", bundle,
                    ignore=shutil.ignore_patterns("node_modules"))
    host.deploy(bundle, timeout_s=300)

    hashed = host.invoke("/five-packages/hash", "secret")
    assert hashed.startswith("$argon2id$")
    assert host.invoke("/five-packages/verify", hashed, "secret") is True
    assert host.invoke("/five-packages/verify", hashed, "other") is False
    assert host.invoke("/five-packages/nextDay", "2028-02-28") == "2028-02-29"
    assert host.invoke("/five-packages/chunk", [1, 2, 3], 2) == [[1, 2], [3]]
    assert host.invoke("/five-packages/newest", ["1.2.10", "1.10.2"]) == "1.10.2"
    assert host.invoke("/five-packages/register", {"name": "Ann", "age": 7}) == {"name": "Ann", "age": 7}
    wrong = host.cli("invoke", "/five-packages/register", '{"name": "", "age": 7}')
    assert wrong.code == 1 and "ZodError" in wrong.err + wrong.out
    # What is only for development was left out.
    assert "ms" not in host.invoke("/five-packages/installed")
    shutil.rmtree(os.path.dirname(bundle))


# ---- Worker threads of a deployed service ----

WORKER = """
const { parentPort, workerData } = require('node:worker_threads');
const lever = require('lever');
const client = new lever.Client();  // over the attachment of the instance

const jobs = {
  async calls(count) {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, i) => client.invoke('/vault/open', i)));
    return answers.every(([n], i) => n === i) && answers[0][1];
  },
  async bytes(size) {
    return (await client.invoke('/vault/echo', Buffer.alloc(size, 7))).equals(Buffer.alloc(size, 7));
  },
  async stream(count) {
    const stream = client.stream('/vault/echoChan');
    const writing = (async () => {
      for (let i = 0; i < count; i++) await stream.write(Buffer.alloc(10000, i));
      stream.end();
    })();
    let i = 0;
    for await (const message of stream) if (message[0] !== i++ % 256) throw new Error('order');
    await writing;
    return i;
  },
  async errors() {
    const ends = await Promise.allSettled([
      client.invoke('/vault/fail'), client.invoke('/nobody/there'),
      client.call('/vault/hang', [], { timeoutMs: 50 }),
      client.call('/vault/hang', [], { signal: AbortSignal.timeout(50) })]);
    return ends.map(({ reason }) => reason.code ?? reason.message);
  },
  async close() {
    const hanging = client.invoke('/vault/hang').catch((error) => error.code);
    await client.close();
    return [await hanging, await client.invoke('/vault/open').catch((error) => error.code)];
  },
  forever() {
    parentPort.postMessage('begun');
    (async () => { for (;;) await client.invoke('/vault/open', 1); })();
    for (let i = 0; i < 20; i++) client.invoke('/vault/hang').catch(() => {});
    const stream = client.stream('/vault/echoChan');
    (async () => { for (;;) await stream.write(Buffer.alloc(1000)); })();
    return new Promise(() => {});
  },
};
jobs[workerData.job](workerData.size).then((result) => parentPort.postMessage(result));
"""

MODULE_WORKER = """
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
const { Client } = createRequire(import.meta.url)('lever');
parentPort.postMessage((await new Client().invoke('/vault/open', 1))[1]);
"""

BOSS = """
const { once } = require('node:events');
const { Worker } = require('node:worker_threads');
const lever = require('lever');

const start = (job, size) => new Worker(__dirname + '/worker.js', { workerData: { job, size } });
async function run(job, size) {
  const worker = start(job, size);
  // It ends by itself: an idle client does not hold it.
  const [[result], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
  return [result, code];
}

exports.run = (jobs) => Promise.all(jobs.map(([job, size]) => run(job, size)));
exports.terminate = async (count) => {
  const codes = [];
  for (let i = 0; i < count; i++) {
    const worker = start('forever');
    await once(worker, 'message');
    await new Promise((resolve) => setTimeout(resolve, 10 * i));
    codes.push(await worker.terminate());
  }
  return codes;
};
exports.nested = () => new Promise((resolve, reject) => {
  const outer = new Worker(`
    const { Worker, parentPort } = require('node:worker_threads');
    new Worker(${JSON.stringify(__dirname + '/worker.js')}, { workerData: { job: 'calls', size: 10 } })
      .on('message', (result) => parentPort.postMessage(result));`, { eval: true });
  outer.once('message', resolve).once('error', reject);
});
exports.esm = () => new Promise((resolve, reject) => {
  new Worker(__dirname + '/worker.mjs').once('message', resolve).once('error', reject);
});
exports.inFlight = () => lever.context().client.invoke('/vault/hanging');
"""

VAULT = """
const lever = require('lever');
let hanging = 0;
exports.open = (n) => [n, lever.context().caller];
exports.echo = (bytes) => bytes;
exports.fail = () => { throw new Error('shut'); };
exports.hang = async () => {
  const { signal } = lever.context();
  hanging += 1;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  hanging -= 1;
};
exports.hanging = () => hanging;
exports.echoChan = async (stream) => { for await (const message of stream) await stream.write(message); };
"""


@pytest.fixture
def boss(host):
    """A service with worker threads, and a private one that it calls."""
    folder = open_directory()
    host.deploy(write_service(os.path.join(folder, "vault"), {"service.js": VAULT},
                              name="vault", jsEntry="service.js", private=True))
    host.deploy(write_service(os.path.join(folder, "boss"), {"service.js": BOSS, "worker.js": WORKER,
                                                               "worker.mjs": MODULE_WORKER},
                              name="boss", jsEntry="service.js"))
    yield host
    shutil.rmtree(folder)


def test_worker_threads_call_as_the_instance_that_they_are_of(boss):
    jobs = [["calls", 500], ["calls", 1], ["stream", 300], ["bytes", 1], ["bytes", 1_000_000], ["errors"],
            ["close"]]
    # A private service answers: the calls come from the instance, and not from outside.
    caller = "lever://dev.lever/boss"
    for _ in range(2):
        assert boss.invoke("/boss/run", jobs) == [
            [caller, 0], [caller, 0], [300, 0], [True, 0], [True, 0],
            [["shut", "NOT_FOUND", "DEADLINE_EXCEEDED", "CANCELLED"], 0], [["CANCELLED", "CANCELLED"], 0]]
    assert boss.invoke("/boss/nested") == caller
    assert boss.invoke("/boss/esm") == caller


def test_worker_threads_that_are_terminated_take_their_calls_with_them(boss):
    assert boss.invoke("/boss/terminate", 8) == [1] * 8
    wait_until(lambda: boss.invoke("/boss/inFlight") == 0, what="the end of the calls")
    assert boss.invoke("/boss/run", [["calls", 10]]) == [["lever://dev.lever/boss", 0]]
    assert len(boss.instances("boss")) == 1, "the instance has crashed and was started again"


# ---- A web server that attaches itself ----

class WebServer:
    """examples/web-node, against a host that may go away."""

    def __init__(self, folder, host):
        shutil.copytree(ROOT / "examples" / "web-node", os.path.join(folder, "web"),
                        ignore=shutil.ignore_patterns("node_modules"))
        self.folder = os.path.join(folder, "web")
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=self.folder,
                       check=True, timeout=300)
        self.process = subprocess.Popen(
            ["node", "server.js", "0"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "LEVER_HOST": host, "NODE_PATH": str(PACKAGES)})
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()
        self.url = wait_until(self._url, what="the web server")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def _url(self):
        return next((line.split()[-1] for line in self.lines if line.startswith("listening on")), None)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as response:
            return json.load(response)

    def post(self, path):
        request = urllib.request.Request(self.url + path, method="POST")
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)


def attached(host):
    """Whether `lever ps` lists the web server's service as attached."""
    rows = host.instances("guestbook")
    return len(rows) == 1 and rows[0]["attached"]


def test_a_web_server_outlives_its_host_and_attaches_itself_again():
    folder = open_directory()
    try:
        with Host("--listen", f"unix:{folder}/lever.sock") as host:
            host.deploy(ROOT / "examples" / "hello")
            web = WebServer(folder, f"unix:{folder}/lever.sock")
            wait_until(lambda: attached(host), what="the attachment")
            assert web.post("/guests/Ann") == {"guests": 1, "greeting": "Hello, Ann!"}
            assert host.invoke("/guestbook/write", "Bob") == 2
            assert web.get("/guests") == ["Ann", "Bob"]
            for round in range(2):
                host.kill()
                wait_until(lambda: sum(line.startswith("detached") for line in web.lines) > round,
                           what="the detachment")
                alone = web.post("/guests/Cid")
                assert alone == {"guests": 3 + 2 * round, "greeting": None}
                host.start()
                wait_until(lambda: attached(host), timeout_s=30, what="the attachment again")
                assert host.invoke("/guestbook/write", "Dora") == 4 + 2 * round
                wait_until(lambda: web.post("/guests/Eve")["greeting"] == "Hello, Eve!" if round else True,
                           what="the greeting again")
            web.process.terminate()
            assert web.process.wait(20) == 0, web.lines
            wait_until(lambda: host.instances("guestbook") == [], what="the end of the instance")
    finally:
        shutil.rmtree(folder)
