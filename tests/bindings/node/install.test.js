'use strict';
// Installing the package: with the prebuilt binary, where it cannot be used, and from the sources.
const assert = require('node:assert');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { CleanFolder } = require('./clean_folder');
const { folder, source } = require('./lever');

const BUILD = path.join(folder, '..', '..', '..', '..');
const INVOKE = `new (require('lever').Client)({ echo: true }).invoke('/e/e', 'Ann')
  .then((answer) => console.log(answer[0]));`;
let clean;

before(() => {
  clean = new CleanFolder();
});

after(() => clean.remove());

// Runs what comes with the package as on another machine.
function elsewhere(machine, program) {
  return spawnSync(process.execPath, ['-e', `${machine}; ${program}`], {
    cwd: clean.path,
    encoding: 'utf8',
    // No pkg-config, no liblever.
    env: { PATH: path.join(clean.path, 'nowhere'), HOME: clean.path },
  });
}

const ARM = "Object.defineProperty(process, 'arch', { value: 'arm64' })";
const MACHINES = [
  [ARM, /there is none for linux-arm64\./],
  ["process.report.getReport = () => ({ header: { glibcVersionRuntime: '2.31' } })",
    /\(linux-x64, glibc 2\.31\): it needs glibc 2\.35, and this system has 2\.31\./],
  ['process.report.getReport = () => ({ header: {} })',
    /C library that is not glibc\): it needs glibc,/],
];

test('where the prebuilt binary cannot be used, installing fails and says what is needed', () => {
  assert.strictEqual(clean.install().status, 0);
  for (const [machine, why] of MACHINES) {
    const { status, stderr } = elsewhere(machine, `require('./node_modules/lever/install.js')`);
    assert.strictEqual(status, 1, stderr);
    assert.match(stderr, why);
    assert.match(stderr, /linux-x64 with glibc 2\.35 or newer/);
    assert.match(stderr, /LEVER_SOURCE_DIR/);
    assert.match(stderr, /not built from source: neither LEVER_SOURCE_DIR is set nor does pkg-config/);
  }
});

test('installed without scripts, the package says so when it is loaded', () => {
  const { status, stderr } = elsewhere(ARM, `require('lever')`);
  assert.strictEqual(status, 1);
  assert.match(stderr, /no prebuilt binary for this machine \(linux-arm64/);
  assert.match(stderr, /linux-x64 with glibc 2\.35 or newer/);
});

test('a prebuilt binary that does not load is not used, and its error is told', () => {
  const addon = path.join(clean.installed, 'native', 'linux-x64', 'lever.node');
  const whole = fs.readFileSync(addon);
  fs.writeFileSync(addon, whole.subarray(0, 10));
  for (const program of [`require('./node_modules/lever/install.js')`, `require('lever')`]) {
    const { status, stderr } = elsewhere('', program);
    assert.strictEqual(status, 1);
    assert.match(stderr, /no prebuilt binary for this machine .*: .*lever\.node: file too short/);
  }
  fs.writeFileSync(addon, whole);
});

test('in the source tree, where CMake builds the addon, npm installs without it', () => {
  const { status, stderr } = spawnSync(
    process.execPath, [path.join(source, 'bindings', 'node', 'install.js')], { encoding: 'utf8' });
  assert.deepStrictEqual([status, stderr], [0, '']);
});

test('npm fails with the reason where a build is asked for and nothing is there to build with', () => {
  const { status, stderr } = clean.install({ LEVER_BUILD_FROM_SOURCE: '1', PKG_CONFIG_PATH: '/nowhere' });
  assert.notStrictEqual(status, 0);
  assert.match(stderr, /lever: not built from source: neither LEVER_SOURCE_DIR/);
  const other = clean.install({ LEVER_BUILD_FROM_SOURCE: '1', LEVER_SOURCE_DIR: 'no-such-checkout' });
  assert.notStrictEqual(other.status, 0);
  assert.match(other.stderr, /lever: not built from source: `cmake -S .*no-such-checkout .*` failed/);
});

test('the package builds against an installed liblever, and works', () => {
  const prefix = path.join(clean.path, 'prefix');
  execFileSync('cmake', ['--install', BUILD, '--prefix', prefix], { stdio: 'ignore' });
  const { status, stdout, stderr } = clean.install({
    LEVER_BUILD_FROM_SOURCE: '1',
    PKG_CONFIG_PATH: path.join(prefix, 'lib', 'pkgconfig'),
    CXXFLAGS: '-O0',
  });
  assert.strictEqual(status, 0, stdout + stderr);
  fs.rmSync(path.join(clean.installed, 'native', 'linux-x64'), { recursive: true });
  assert.strictEqual(clean.run(process.execPath, ['-e', INVOKE]), 'Ann\n');
  assert.ok(!fs.existsSync(path.join(clean.installed, 'src', 'build')));
});
