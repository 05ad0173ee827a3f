'use strict';
// The launcher, as a host starts it.
const assert = require('node:assert');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, test } = require('node:test');
const { folder } = require('./lever');
const { FakeHost } = require('./fake_host');

const LIMIT_MS = 30000;
const made = [];

// A bundle with these files.
function bundle(files) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-bundle-'));
  made.push(directory);
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), text);
  }
  return directory;
}

after(() => made.forEach((directory) => fs.rmSync(directory, { recursive: true, force: true })));

// The next event of a host; its process must not have ended before.
async function next(host, event) {
  const limit = setTimeout(() => host.kill(), LIMIT_MS);
  const ended = (end) => host.emit('error', new Error(`ended instead: ${JSON.stringify(end)}`));
  if (event !== 'exit') host.once('exit', ended);
  try {
    return (await once(host, event))[0];
  } finally {
    clearTimeout(limit);
    host.off('exit', ended);
  }
}

// Starts it, drains it; what it printed.
async function runDrained(files, entry, config) {
  const host = new FakeHost(bundle(files), entry, config);
  const methods = await next(host, 'ready');
  host.drain();
  const { code, signal, out, err } = await next(host, 'exit');
  assert.deepStrictEqual({ code, signal, err }, { code: 0, signal: null, err: '' });
  return { methods, out };
}

const failing = (files, entry) => next(new FakeHost(bundle(files), entry), 'exit');

test('a CommonJS service: its functions are methods, and it ends with 0 when it is drained', async () => {
  const { methods, out } = await runDrained(
    {
      'service.js': `
      exports.sayHello = async (name) => name;
      exports.echoChan = async (stream) => {};
      exports.limit = 5;
      exports.Klass = class {};
      console.log('cwd', process.cwd() === __dirname, 'argv', process.argv.length, process.argv[1] === __filename);
    `,
    },
    'service.js'
  );
  assert.deepStrictEqual(methods, ['echoChan', 'sayHello']);
  assert.strictEqual(out, 'cwd true argv 2 true\n');
});

test('a CommonJS service may export an instance of a class', async () => {
  const { methods } = await runDrained(
    {
      'service.js': 'module.exports = new (class Hello { sayHello() {} async echoChan() {} })();',
    },
    'service.js'
  );
  assert.deepStrictEqual(methods, ['echoChan', 'sayHello']);
});

test('an ES module, by its name and by its package, with its exports or its default', async () => {
  const named = await runDrained(
    {
      'service.mjs':
        'import "./part.mjs"; await null; export const a = () => 1; export async function b_chan() {} export default 5;',
      'part.mjs': '',
    },
    'service.mjs'
  );
  assert.deepStrictEqual(named.methods, ['a', 'b_chan']);
  const byDefault = await runDrained(
    {
      'package.json': '{"type": "module"}',
      'src/service.js': 'export default { one() {}, two() {} };',
    },
    'src/service.js'
  );
  assert.deepStrictEqual(byDefault.methods, ['one', 'two']);
});

const SEES = "const own = require.resolve('lever'); console.log(own);";

test('lever comes from the runtime where the bundle has none: require, import, import from CommonJS', async () => {
  const required = await runDrained(
    { 'service.js': `${SEES} exports.f = () => {};` },
    'service.js'
  );
  assert.strictEqual(required.out.trim(), path.join(folder, 'index.js'));
  const imported = await runDrained(
    {
      'service.mjs':
        "import { version, Client } from 'lever'; new Client(); console.log(version); export function f() {}",
    },
    'service.mjs'
  );
  assert.match(imported.out, /^\d+\.\d+\.\d+\n$/);
  const later = await runDrained(
    {
      'service.js':
        "import('./esm/late.mjs').then(({ same }) => console.log(same(require('lever')))); exports.f = () => {};",
      'esm/late.mjs': "import lever from 'lever'; export const same = (other) => other === lever;",
    },
    'service.js'
  );
  assert.strictEqual(later.out, 'true\n');
});

test('what is not there is not found, as without the launcher', async () => {
  const { code, err } = await failing({ 'service.js': "require('leverage');" }, 'service.js');
  assert.strictEqual(code, 1);
  assert.match(err, /Cannot find module 'leverage'/);
  const module = await failing({ 'service.mjs': "import 'leverage';" }, 'service.mjs');
  assert.match(module.err, /Cannot find package 'leverage'/);
});

test('lever comes from the bundle where it has one', async () => {
  const directory = bundle({ 'service.js': `${SEES} exports.f = () => {};` });
  fs.cpSync(folder, path.join(directory, 'node_modules', 'lever'), { recursive: true });
  const host = new FakeHost(directory, 'service.js');
  await next(host, 'ready');
  host.drain();
  const { code, out } = await next(host, 'exit');
  assert.strictEqual(code, 0);
  assert.strictEqual(
    out.trim(),
    path.join(fs.realpathSync(directory), 'node_modules', 'lever', 'index.js')
  );
});

test('a client that the service makes while it loads goes over its attachment', async () => {
  // Nothing listens anywhere: that the call is answered NOT_FOUND shows whom it has reached.
  const host = new FakeHost(
    bundle({
      'service.js': `
      const lever = require('lever');
      const client = new lever.Client();
      exports.f = () => {};
      client.invoke('/a/b').catch((error) => console.log(error.code));
    `,
    }),
    'service.js'
  );
  const [printed] = await once(host.child.stdout, 'data');
  assert.strictEqual(printed.toString(), 'NOT_FOUND\n');
  host.drain();
  assert.strictEqual((await next(host, 'exit')).code, 0);
});

test('a service that throws while it loads ends with 1, and says why at the end of stderr', async () => {
  for (const [entry, text] of [
    ['service.js', "throw new Error('no database');"],
    ['service.mjs', "await null; throw new Error('no database');"],
    ['service.js', 'syntax error here'],
    ['missing.js', ''],
  ]) {
    const { code, err } = await failing(entry === 'missing.js' ? {} : { [entry]: text }, entry);
    assert.strictEqual(code, 1);
    assert.match(err, /no database|SyntaxError|Cannot find module/);
  }
});

test('a service without functions says so', async () => {
  const { code, err } = await failing({ 'service.js': 'exports.a = 5;' }, 'service.js');
  assert.strictEqual(code, 1);
  assert.match(err, /service\.js exports no functions/);
});

test('an error that nobody handles ends it with 1, and is on stderr', async () => {
  for (const fails of [
    "Promise.reject(new Error('lost'))",
    "setImmediate(() => { throw new Error('lost'); })",
  ]) {
    const { code, err } = await failing(
      {
        'service.js': `exports.f = () => {}; setTimeout(() => ${fails}, 50);`,
      },
      'service.js'
    );
    assert.strictEqual(code, 1);
    assert.match(err, /Error: lost/);
  }
});

test('an instance whose host has gone ends', async () => {
  const host = new FakeHost(bundle({ 'service.js': 'exports.f = () => {};' }), 'service.js');
  await next(host, 'ready');
  host.goAway();
  const { code, err } = await next(host, 'exit');
  assert.strictEqual(code, 1);
  assert.match(err, /lever: the host is gone/);
});

test('timers and servers of the service do not keep a drained instance', async () => {
  await runDrained(
    {
      'service.js':
        "exports.f = () => {}; setInterval(() => {}, 1000); require('net').createServer().listen(0, '127.0.0.1');",
    },
    'service.js'
  );
});
