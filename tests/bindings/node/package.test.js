'use strict';
// The package as users get it: packed, installed in a clean folder, used there.
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { CleanFolder } = require('./clean_folder');
const { folder, inner, source } = require('./lever');

let clean;

before(() => {
  clean = new CleanFolder();
  const { status, stderr } = clean.install();
  assert.strictEqual(status, 0, stderr);
});

after(() => clean.remove());

const native = () => path.join(clean.installed, 'native', 'linux-x64');

test('the packed package has what it needs, and nothing of the machine that made it', () => {
  for (const file of [
    'LICENSE', 'README.md', 'index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'launcher.js',
    'install.js', 'native/linux-x64/lever.node', 'native/linux-x64/liblever.so.0', 'src/binding.gyp',
    'src/addon.cc', 'src/napi/napi.h', 'src/napi/LICENSE.md',
  ]) {
    assert.ok(fs.existsSync(path.join(clean.installed, file)), file);
  }
  assert.ok(!fs.existsSync(path.join(clean.installed, 'native', 'built')), 'it was built');
  const dynamic = clean.run('readelf', ['-d', path.join(native(), 'lever.node')]);
  assert.deepStrictEqual(dynamic.match(/R(?:UN)?PATH.*\[(.*)\]/)[1], '$ORIGIN');
  assert.deepStrictEqual(
    fs.readdirSync(path.join(clean.path, 'node_modules')).filter((n) => !n.startsWith('.')),
    ['lever']
  );
});

test('the prebuilt binary needs no newer libraries than the package says, and its README too', () => {
  const { PREBUILT } = inner('platform');
  const newest = { GLIBC: [0, 0, 0], GLIBCXX: [0, 0, 0] };
  const newer = (a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
  for (const file of ['lever.node', 'liblever.so.0']) {
    const versions = clean.run('readelf', ['--version-info', '--wide', path.join(native(), file)]);
    for (const [, library, version] of versions.matchAll(/Name: (GLIBC|GLIBCXX)_([\d.]+)/g)) {
      const numbers = [...version.split('.').map(Number), 0, 0].slice(0, 3);
      if (newer(numbers, newest[library]) > 0) newest[library] = numbers;
    }
  }
  const text = (numbers) => numbers.join('.').replace(/\.0$/, '');
  assert.strictEqual(text(newest.GLIBC), PREBUILT.glibc);
  assert.strictEqual(text(newest.GLIBCXX), PREBUILT.libstdcxx);
  const readme = fs.readFileSync(path.join(clean.installed, 'README.md'), 'utf8');
  assert.ok(readme.includes(`glibc ${PREBUILT.glibc}`), 'README.md does not name the oldest glibc');
});

test('require and import give the same package, from where it was installed', () => {
  clean.write(
    'both.mjs',
    `
    import { createRequire } from 'node:module';
    import fs from 'node:fs';
    import lever, { Client, LeverError, MethodError, Timestamp, Ext, Service, serve, context, version } from 'lever';
    import testing, { start } from 'lever/testing';
    const required = createRequire(import.meta.url)('lever');
    if (createRequire(import.meta.url)('lever/testing').start !== start || testing.start !== start) throw new Error('two');
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
  const [library, answer, version] = JSON.parse(clean.run(process.execPath, ['both.mjs']));
  assert.strictEqual(path.dirname(library), fs.realpathSync(native()));
  assert.deepStrictEqual(answer, ['Ann']);
  assert.strictEqual(version, require(path.join(folder, 'package.json')).version);
});

test("the README's test of a service passes", () => {
  const readme = fs.readFileSync(path.join(clean.installed, 'README.md'), 'utf8');
  clean.write('greet.test.js', /```js\n(\/\/ greet\.test\.js\n.*?)```/s.exec(readme)[1]);
  assert.match(clean.run(process.execPath, ['--test', 'greet.test.js']), /pass 1\n/);
});

// ---- TypeScript ----

const PROGRAM = `
async function main(): Promise<void> {
  await using client = new Client({ env: 'dev.lever' });
  const answer: string = await client.invoke('/hello/sayHello', 'Ann');
  await client.call('/a/b', [answer], { timeoutMs: 5, idempotent: true, signal: AbortSignal.timeout(5), metadata: { a: 'b' } });
  await using s = client.stream('/hello/echoChan', 'hi');
  await s.write({ a: 1n });
  s.end();
  for await (const message of s) console.log(message);
  s.cancel();
  await pipeline(process.stdin, client.stream('/a/bChan').toDuplex({ bytes: true }), process.stdout);
}
const service = serve({ hello: () => context()?.deadline }, { name: 'hello', listen: '127.0.0.1:0' });
service.attached().then(() => service.details.listening.length);
service.once('detached', () => {});
async function test(): Promise<void> {
  await using t = await testing.start({ hello: { hi: () => 1 } }, { config: { hello: { a: 1 } }, holdTime: true });
  await t.advance(5);
  const client: Client = t.client;
  const started: Promise<testing.Testing> = testing.start({});
  console.log(client.stats(), await started);
}
test();
main().catch((error: unknown) => {
  if (error instanceof MethodError) console.log(error.value, error.code);
  if (error instanceof LeverError && error.code === 'UNAVAILABLE') console.log(error.executed === 'no');
  const code: StatusCode = 'NOT_FOUND';
  new lever.Client();
  return [code, new Timestamp(1n, 2), new Ext(1, new Uint8Array()), lever.version];
});
`;
const NAMES = 'Client, MethodError, LeverError, Timestamp, Ext, context, serve';

function tsc(file, ...flags) {
  const modules = path.join(source, 'bindings', 'node', 'node_modules');
  return clean.run(process.execPath, [
    path.join(modules, 'typescript', 'bin', 'tsc'), '--strict', '--target', 'es2022',
    '--types', 'node', '--typeRoots', path.join(modules, '@types'), ...flags, file,
  ]);
}

test('strict TypeScript programs as ES modules and as CommonJS are checked against its types', () => {
  const nodenext = ['--noEmit', '--module', 'nodenext'];
  clean.write('module.mts', `
    import { pipeline } from 'node:stream/promises';
    import * as testing from 'lever/testing';
    import lever, { ${NAMES}, type StatusCode } from 'lever'; ${PROGRAM}`);
  clean.write('common.cts', `
    import { pipeline } from 'node:stream/promises';
    import * as testing from 'lever/testing';
    import lever = require('lever');
    import { ${NAMES}, type StatusCode } from 'lever'; ${PROGRAM}`);
  clean.write('interop.cts', `
    import { pipeline } from 'node:stream/promises';
    import * as testing from 'lever/testing';
    import lever, { ${NAMES}, type StatusCode } from 'lever'; ${PROGRAM}`);
  for (const file of ['module.mts', 'common.cts', 'interop.cts']) {
    assert.strictEqual(tsc(file, ...nodenext), '');
  }
  assert.strictEqual(tsc('module.mts', '--noEmit', '--module', 'esnext', '--moduleResolution', 'bundler'), '');
});

test('what TypeScript makes of a program runs: `await using` closes the client', () => {
  const program = `
    async function main(): Promise<void> {
      let kept: lever.Client;
      {
        await using client = new lever.Client({ echo: true });
        kept = client;
        await using stream = client.stream('/e/eChan');
        await stream.write('hi');
        console.log(JSON.stringify([await client.invoke('/e/e', 'Ann'), (await stream.next()).value]));
      }
      await kept.invoke('/e/e').catch((error: lever.LeverError) => console.log(error.code));
    }
    main();`;
  clean.write('run.mts', `import * as lever from 'lever'; ${program}`);
  clean.write('run.cts', `import lever = require('lever'); ${program}`);
  for (const [made, file] of [['run.mjs', 'run.mts'], ['run.cjs', 'run.cts']]) {
    tsc(file, '--module', 'nodenext');
    assert.strictEqual(clean.run(process.execPath, [made]), '[["Ann"],"hi"]\nCANCELLED\n');
  }
});

test('what is wrong in a TypeScript program is found', () => {
  clean.write('bad.ts', `
    import { Client, LeverError } from 'lever';
    new Client({ hots: 'typo' });
    new Client().call('/a/b', 'no array');
    declare const error: LeverError;
    if (error.code === 'NO_SUCH_CODE') throw error;
    new Client().stream('/a/bChan').toDuplex({ byte: true });
  `);
  assert.throws(
    () => tsc('bad.ts', '--noEmit', '--module', 'nodenext'),
    (error) => {
      const found = error.stdout.match(/bad\.ts\(\d+/g);
      assert.deepStrictEqual(found, ['bad.ts(3', 'bad.ts(4', 'bad.ts(6', 'bad.ts(7']);
      return true;
    }
  );
});
