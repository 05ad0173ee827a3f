'use strict';
// Where the addon is, for which machines the package carries one, and what somebody with another
// machine is told. Used when the package is installed (install.js) and when it is loaded.
//
// This file runs on machines on which nothing else of the package does: it needs Node alone.

const fs = require('node:fs');
const path = require('node:path');

// What the prebuilt binary is for. A test reads the binary, and fails where it needs more.
const PREBUILT = {
  platform: 'linux',
  arch: 'x64',
  glibc: '2.35',
  libstdcxx: '3.4.30', // of GCC 12
};
const NATIVE = path.join(__dirname, '..', 'native');
const BUILT = path.join(NATIVE, 'built', 'lever.node'); // from the sources, on this machine

function prebuilt() {
  return path.join(NATIVE, `${process.platform}-${process.arch}`, 'lever.node');
}

// The addon to load: what was built here comes before what came with the package.
function addonFile() {
  return fs.existsSync(BUILT) ? BUILT : prebuilt();
}

// Of the C library that runs: '2.36'; undefined where it is another one (musl).
function glibcVersion() {
  const { report } = process;
  if (report === undefined) return undefined;
  const before = report.excludeNetwork;
  report.excludeNetwork = true; // which may wait for name servers
  try {
    const text = report.getReport();
    return (typeof text === 'string' ? JSON.parse(text) : text).header.glibcVersionRuntime;
  } finally {
    report.excludeNetwork = before;
  }
}

function isOlder(version, than) {
  const [major, minor] = version.split('.').map(Number);
  const [wantedMajor, wantedMinor] = than.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

// 'linux-arm64, glibc 2.31'
function describeMachine() {
  const glibc = glibcVersion();
  const library = glibc === undefined ? 'a C library that is not glibc' : `glibc ${glibc}`;
  const { platform, arch } = process;
  return platform === 'linux' ? `${platform}-${arch}, ${library}` : `${platform}-${arch}`;
}

// Why the prebuilt binary cannot be used on this machine, as far as that shows without loading it;
// undefined if nothing speaks against it.
function whyNoPrebuilt() {
  const { platform, arch, glibc } = PREBUILT;
  if (process.platform !== platform || process.arch !== arch) {
    return `there is none for ${process.platform}-${process.arch}`;
  }
  const version = glibcVersion();
  if (version === undefined) return 'it needs glibc, and the C library of this system is another';
  if (isOlder(version, glibc)) return `it needs glibc ${glibc}, and this system has ${version}`;
  if (!fs.existsSync(prebuilt())) return 'this copy of the package has none';
  return undefined;
}

// What to tell somebody whose machine cannot use the prebuilt binary.
function explain(why) {
  const { platform, arch, glibc, libstdcxx } = PREBUILT;
  return [
    `lever: no prebuilt binary for this machine (${describeMachine()}): ${why}.`,
    `The prebuilt binary is for ${platform}-${arch} with glibc ${glibc} or newer and libstdc++ of`,
    `GCC 12 (GLIBCXX_${libstdcxx}) or newer: Debian 12, Ubuntu 22.04, Fedora 36 and what came later.`,
    'To build it here, on Linux with a C++20 compiler, either',
    '  - install liblever (`cmake --install`), so that `pkg-config lever` finds it, and make and python3; or',
    '  - set LEVER_SOURCE_DIR to a checkout of Lever in which `cmake/setup.sh build` was run;',
    'then install it again, with --foreground-scripts to see how it is built.',
  ].join('\n');
}

module.exports = { PREBUILT, NATIVE, BUILT, addonFile, prebuilt, whyNoPrebuilt, explain };
