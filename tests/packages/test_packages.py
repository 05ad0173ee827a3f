"""Each package, installed where there is nothing of Lever: the README's quick start runs, and the package
gets on with others that bring an OpenSSL, an HTTP/2 or a protobuf of their own.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from clean_root import CleanRoot  # noqa: E402
from lever_testing import BUILD, Host, open_directory  # noqa: E402
from quick_start import QuickStart  # noqa: E402

PACKAGES = BUILD / "packages"
LANGUAGES = ("node", "python", "go")


@pytest.fixture(scope="session")
def root():
    shutil.rmtree(PACKAGES, ignore_errors=True)
    PACKAGES.mkdir(parents=True)
    for language in LANGUAGES:
        subprocess.run([ROOT / "bindings" / language / "package.sh", PACKAGES], check=True,
                       stdout=subprocess.DEVNULL)
    return CleanRoot(PACKAGES)


@pytest.fixture(scope="module")
def host():
    with Host() as running:
        yield running


@pytest.fixture
def folder():
    path = pathlib.Path(open_directory())
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_quick_start_runs_where_nothing_else_is(root, host, folder, language):
    start = QuickStart(ROOT / "bindings" / language / "README.md")
    start.write(folder)
    # Where a program attaches itself, the host's introduction socket is within its reach.
    code, printed = root.run(folder, start.script, {"LEVER_HOST": host.address}, [host.data_dir])
    assert code == 0, printed
    assert printed.endswith(start.output), printed


@pytest.mark.parametrize("language", LANGUAGES)
def test_neither_cmake_nor_our_sources_are_there(root, folder, language):
    code, printed = root.run(folder, "for program in cmake g++ lever leverd; do ! command -v $program || exit 1; done\n"
                             f"test ! -e {ROOT}/liblever")
    assert code == 0, printed


NODE_NEIGHBOURS = r"""
const grpc = require('@grpc/grpc-js');
const crypto = require('node:crypto');
const http2 = require('node:http2');
const lever = require('lever');

async function main() {
  const client = new lever.Client({ echo: true });
  const server = new grpc.Server();
  const pass = { requestStream: false, responseStream: false, path: '/a.B/C', requestSerialize: (b) => b,
    requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b };
  server.addService({ C: pass }, { C: (call, done) => done(null, call.request) });
  const port = await new Promise((resolve, reject) => server.bindAsync('127.0.0.1:0',
    grpc.ServerCredentials.createInsecure(), (error, bound) => error ? reject(error) : resolve(bound)));
  const stub = new (grpc.makeGenericClientConstructor({ C: pass }, 'B'))(
    `127.0.0.1:${port}`, grpc.credentials.createInsecure());
  for (let i = 0; i < 100; i++) {
    const text = crypto.createHash('sha256').update(String(i)).digest('hex');
    const [mine] = await client.invoke('/a/b', text);
    const theirs = await new Promise((resolve, reject) =>
      stub.C(Buffer.from(text), (error, reply) => error ? reject(error) : resolve(reply.toString())));
    if (mine !== text || theirs !== text) throw new Error('another text came back');
  }
  const plain = http2.createServer((request, response) => response.end('h2'));
  await new Promise((resolve) => plain.listen(0, '127.0.0.1', resolve));
  const session = http2.connect(`http://127.0.0.1:${plain.address().port}`);
  const answer = await new Promise((resolve, reject) => session.request({ ':path': '/' })
    .on('data', (piece) => resolve(piece.toString())).on('error', reject));
  console.log(answer, 'and all is well');
  session.close(); plain.close(); stub.close(); server.forceShutdown(); await client.close();
}
main().catch((error) => { console.error(error); process.exit(1); });
"""

PYTHON_NEIGHBOURS = r"""
import asyncio, hashlib, ssl
import grpc, google.protobuf.wrappers_pb2 as wrappers
from cryptography.hazmat.primitives import hashes
import lever

async def echo(request, context):
    return request

async def main():
    client = lever.Client(echo=True)
    server = grpc.aio.server()
    handlers = {"C": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a.B/C")
        for i in range(100):
            digest = hashes.Hash(hashes.SHA256())
            digest.update(str(i).encode())
            theirs = digest.finalize()
            assert theirs == hashlib.sha256(str(i).encode()).digest()
            message = wrappers.BytesValue(value=theirs).SerializeToString()
            assert await call(message) == message
            assert await client.invoke("/a/b", i, theirs) == [i, theirs]
    ssl.create_default_context()
    await server.stop(None)
    await client.close()
    print("all is well")

asyncio.run(main())
"""


def test_the_npm_package_gets_on_with_others(root, folder):
    (folder / "neighbours.js").write_text(NODE_NEIGHBOURS)
    code, printed = root.run(
        folder, "npm install /packages/lever-*.tgz @grpc/grpc-js@1 && node neighbours.js")
    assert code == 0, printed
    assert "h2 and all is well" in printed


def test_the_wheel_gets_on_with_others(root, folder):
    (folder / "neighbours.py").write_text(PYTHON_NEIGHBOURS)
    code, printed = root.run(folder, "python3 -m venv venv && venv/bin/pip install -q /packages/lever-*.whl "
                             "grpcio protobuf cryptography && venv/bin/python neighbours.py")
    assert code == 0, printed
    assert "all is well" in printed
