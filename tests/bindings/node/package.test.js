'use strict';
// The package as users get it: packed, installed in a clean folder, used there.
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { folder, source } = require('./lever');

const LIMIT_MS = 60000;
let clean;

function run(program, args, cwd = clean) {
  return execFileSync(program, args, {
    cwd,
    encoding: 'utf8',
    timeout: LIMIT_MS,
    env: {
      PATH: process.env.PATH,
      HOME: clean,
      npm_config_cache: path.join(clean, '.cache'),
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_update_notifier: 'false',
    },
  });
}

before(() => {
  clean = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-package-'));
  const packed = run('npm', ['pack', '--silent', '--pack-destination', clean, folder]).trim();
  fs.writeFileSync(path.join(clean, 'package.json'), '{"name": "user", "private": true}');
  run('npm', ['install', '--offline', '--silent', path.join(clean, packed)]);
});

after(() => fs.rmSync(clean, { recursive: true, force: true }));

test('the packed package has what it needs, and nothing of the machine that made it', () => {
  const installed = path.join(clean, 'node_modules', 'lever');
  for (const file of ['index.js', 'index.mjs', 'index.d.ts', 'launcher.js', 'native/lever.node']) {
    assert.ok(fs.existsSync(path.join(installed, file)), file);
  }
  assert.ok(
    fs.readdirSync(path.join(installed, 'native')).some((name) => name.startsWith('liblever.so'))
  );
  const dynamic = run('readelf', ['-d', path.join(installed, 'native', 'lever.node')]);
  assert.deepStrictEqual(dynamic.match(/R(?:UN)?PATH.*\[(.*)\]/)[1], '$ORIGIN');
  assert.deepStrictEqual(
    fs.readdirSync(path.join(clean, 'node_modules')).filter((n) => !n.startsWith('.')),
    ['lever']
  );
});

test('require and import give the same package, from where it was installed', () => {
  fs.writeFileSync(
    path.join(clean, 'both.mjs'),
    `
    import { createRequire } from 'node:module';
    import fs from 'node:fs';
    import lever, { Client, LeverError, MethodError, Timestamp, Ext, Service, serve, context, version } from 'lever';
    const required = createRequire(import.meta.url)('lever');
    if (required.Client !== Client || lever !== required) throw new Error('two packages');
    for (const thing of [LeverError, MethodError, Timestamp, Ext, Service, serve, context]) {
      if (typeof thing !== 'function') throw new Error('missing');
    }
    const maps = fs.readFileSync('/proc/self/maps', 'utf8');
    const library = maps.split('\\n').find((line) => line.includes('liblever.so')).split(/\\s+/).at(-1);
    const client = new Client({ echo: true });
    console.log(JSON.stringify([library, await client.invoke('/a/b', 'Ann'), version]));
  `
  );
  const [library, answer, version] = JSON.parse(run(process.execPath, ['both.mjs']));
  assert.strictEqual(
    path.dirname(library),
    fs.realpathSync(path.join(clean, 'node_modules', 'lever', 'native'))
  );
  assert.deepStrictEqual(answer, ['Ann']);
  assert.strictEqual(version, require(path.join(folder, 'package.json')).version);
});

test('TypeScript programs are checked against its types', () => {
  fs.writeFileSync(
    path.join(clean, 'good.ts'),
    `
    import lever, { Client, MethodError, LeverError, context, serve } from 'lever';
    async function main(): Promise<void> {
      const client = new Client({ env: 'dev.lever' });
      const answer: string = await client.invoke('/hello/sayHello', 'Ann');
      await client.call('/a/b', [answer], { timeoutMs: 5, idempotent: true, signal: AbortSignal.timeout(5), metadata: { a: 'b' } });
      const s = client.stream('/hello/echoChan', 'hi');
      await s.write({ a: 1n });
      s.end();
      for await (const message of s) console.log(message);
      s.cancel();
    }
    const service = serve({ hello: () => context()?.deadline }, { name: 'hello', listen: '127.0.0.1:0' });
    service.attached().then(() => service.details.listening.length);
    main().catch((error) => {
      if (error instanceof MethodError) console.log(error.value, error.code);
      if (error instanceof LeverError && error.code === 'UNAVAILABLE') console.log(error.executed === 'no');
      new lever.Client();
    });
  `
  );
  fs.writeFileSync(
    path.join(clean, 'bad.ts'),
    `
    import { Client, LeverError } from 'lever';
    new Client({ hots: 'typo' });
    new Client().call('/a/b', 'no array');
    declare const error: LeverError;
    if (error.code === 'NO_SUCH_CODE') throw error;
  `
  );
  const modules = path.join(source, 'bindings', 'node', 'node_modules');
  const tsc = (file) =>
    run(process.execPath, [
      path.join(modules, 'typescript', 'bin', 'tsc'),
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--types',
      'node',
      '--typeRoots',
      path.join(modules, '@types'),
      file,
    ]);
  assert.strictEqual(tsc('good.ts'), '');
  assert.throws(
    () => tsc('bad.ts'),
    (error) => {
      const found = error.stdout.match(/bad\.ts\(\d+/g);
      assert.deepStrictEqual(found, ['bad.ts(3', 'bad.ts(4', 'bad.ts(6']);
      return true;
    }
  );
});
