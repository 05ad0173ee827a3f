#!/usr/bin/env node
'use strict';
// npm runs this when the package is installed: it uses the prebuilt binary where that loads, else
// builds one from the sources that are here, else says what is missing and fails.
//
//   LEVER_BUILD_FROM_SOURCE=1   do not use the prebuilt binary
//   LEVER_SOURCE_DIR=DIR        build liblever too, out of a checkout of Lever
//
// Without LEVER_SOURCE_DIR the addon is built against the liblever that pkg-config finds.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { BUILT, explain, prebuilt, whyNoPrebuilt } = require('./lib/platform');

const SOURCES = path.join(__dirname, 'src');

class BuildError extends Error {}

function run(program, args, options = {}) {
  const done = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
  if (done.error !== undefined) throw new BuildError(`${program}: ${done.error.message}`);
  if (done.status !== 0) {
    throw new BuildError(`\`${[program, ...args].join(' ')}\` failed (${done.signal ?? done.status})`);
  }
  return done.stdout?.toString().trim();
}

// Why the addon does not load; undefined if it does. In a process of its own, since an addon that
// was loaded stays.
function whyNotLoaded(file) {
  const done = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', file], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (done.status === 0) return undefined;
  const line = /^(?:\w*Error): (.*)$/m.exec(done.stderr ?? '')?.[1];
  return line ?? done.error?.message ?? `it does not load (${done.signal ?? done.status})`;
}

// Into its place at once: another process may be loading what was there.
function place(files) {
  const folder = path.dirname(BUILT);
  fs.mkdirSync(folder, { recursive: true });
  for (const file of files) {
    const to = path.join(folder, path.basename(file));
    fs.copyFileSync(file, `${to}.new`);
    fs.renameSync(`${to}.new`, to);
  }
}

function hasLiblever() {
  return spawnSync('pkg-config', ['--exists', 'lever'], { stdio: 'ignore' }).status === 0;
}

// The addon alone, against an installed liblever, by the node-gyp that npm brings.
function buildAddon() {
  const gyp = process.env.npm_config_node_gyp;
  if (gyp === undefined) {
    throw new BuildError('npm names its node-gyp to install scripts only: run `npm rebuild lever`');
  }
  // Node's headers are mostly beside it; else node-gyp looks for them.
  const prefix = path.join(path.dirname(process.execPath), '..');
  const beside = fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h'));
  run(process.execPath, [gyp, 'rebuild', ...(beside ? [`--nodedir=${prefix}`] : [])], {
    cwd: SOURCES,
  });
  place([path.join(SOURCES, 'build', 'Release', 'lever.node')]);
  fs.rmSync(path.join(SOURCES, 'build'), { recursive: true });
}

// The addon and liblever, which then lie beside each other as in the prebuilt folder.
function buildAll(checkout) {
  const build = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-build-'));
  try {
    run('cmake', [
      '-S', checkout, '-B', build, '-DCMAKE_BUILD_TYPE=Release', '-DLEVER_BUILD_HOST=OFF',
      '-DLEVER_BUILD_TESTS=OFF', '-DLEVER_BUILD_EXAMPLES=OFF',
      `-DLEVER_NODE_ADDON_API=${path.join(SOURCES, 'napi')}`,
    ]);
    run('cmake', [
      '--build', build, '--target', 'lever-node', '--parallel', String(os.availableParallelism()),
    ]);
    const folder = path.join(build, 'runtime', 'node', 'node_modules', 'lever', 'native',
      `${process.platform}-${process.arch}`);
    place(fs.readdirSync(folder).map((name) => path.join(folder, name)));
  } finally {
    fs.rmSync(build, { recursive: true, force: true });
  }
}

function buildHere() {
  const checkout = process.env.LEVER_SOURCE_DIR;
  if (checkout) buildAll(path.resolve(process.env.INIT_CWD ?? '.', checkout));
  else if (hasLiblever()) buildAddon();
  else throw new BuildError('neither LEVER_SOURCE_DIR is set nor does pkg-config find `lever`');
  const why = whyNotLoaded(BUILT);
  if (why !== undefined) throw new BuildError(`what was built does not load: ${why}`);
}

function main() {
  // In the source tree, where npm runs this too, CMake builds the addon.
  if (fs.existsSync(path.join(__dirname, 'CMakeLists.txt'))) return 0;
  const forced = process.env.LEVER_BUILD_FROM_SOURCE === '1';
  const why = forced
    ? 'LEVER_BUILD_FROM_SOURCE is set'
    : (whyNoPrebuilt() ?? whyNotLoaded(prebuilt()));
  if (why === undefined) {
    // What was built before, in the same place, is not wanted any more.
    fs.rmSync(path.dirname(BUILT), { recursive: true, force: true });
    return 0;
  }
  try {
    buildHere();
    return 0;
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    const reason = forced ? '' : `${explain(why)}\n`;
    process.stderr.write(`${reason}lever: not built from source: ${error.message}\n`);
    return 1;
  }
}

process.exitCode = main();
