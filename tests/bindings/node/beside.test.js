'use strict';
// The package in one process with others that speak TLS and HTTP/2: Node's own, @grpc/grpc-js, and an
// addon that carries BoringSSL. Whichever was loaded first.
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { folder } = require('./lever');

const LIMIT_MS = 60000;
let work;

before(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-beside-'));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-keyout', path.join(work, 'key.pem'), '-out', path.join(work, 'cert.pem'),
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
  ], { stdio: 'ignore' });
});

after(() => fs.rmSync(work, { recursive: true }));

function together(order) {
  const out = execFileSync(
    process.execPath,
    [path.join(__dirname, 'beside', 'program.js'), folder, work, ...order],
    { encoding: 'utf8', timeout: LIMIT_MS }
  );
  return JSON.parse(out);
}

const ALL_RIGHT = {
  lever: 'Hello, Ann!',
  leverTls: 'over TLS',
  grpc: 'grpc over TLS',
  https: 'https',
  digest: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  libraries: { lever: 1, boringssl: 1 },
};

test('loaded first', () => {
  assert.deepStrictEqual(together(['lever', 'node', 'grpc', 'native']), ALL_RIGHT);
});

test('loaded last', () => {
  assert.deepStrictEqual(together(['native', 'grpc', 'node', 'lever']), ALL_RIGHT);
});

test('loaded between', () => {
  assert.deepStrictEqual(together(['native', 'lever', 'grpc', 'node']), ALL_RIGHT);
});
