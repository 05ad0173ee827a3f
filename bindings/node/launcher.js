#!/usr/bin/env node
'use strict';
// Runs a service that was deployed with `jsEntry`: node launcher.js <entry>, started by a host in the
// bundle's directory.
//
// Every function that the entry exports is a method; those whose names end in Chan or _chan, or are
// chan, are streaming methods. The entry may be CommonJS or an ES module. `lever` is the package of the
// bundle, if it has one, else the one that this file is in.
//
// Exit codes: 0 when the host has drained the instance, 1 for everything else, with the reason on
// standard error, whose last lines the callers of a service that does not start are told.

const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const OWN = __dirname;

// Where `lever` is for the file at `from`: the bundle's own package, or this one.
function packageFor(from) {
  try {
    return path.dirname(Module.createRequire(from).resolve('lever/package.json'));
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    return OWN;
  }
}

// What the bundle does not find is looked for here: `lever` itself, by require and by import.
function offerOwnPackage() {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function resolveOrOwn(request, ...rest) {
    try {
      return resolve.call(this, request, ...rest);
    } catch (error) {
      if (request !== 'lever' || error.code !== 'MODULE_NOT_FOUND') throw error;
      return path.join(OWN, 'index.js');
    }
  };
  Module.register(pathToFileURL(path.join(OWN, 'lib', 'resolve-hooks.mjs')), {
    data: pathToFileURL(path.join(OWN, 'index.mjs')).href,
  });
}

async function load(file) {
  try {
    return require(file);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    return import(pathToFileURL(file).href);
  }
}

// The object whose functions are the methods: an ES module may export them as its default.
function methodsOf(loaded) {
  const named = Object.keys(loaded).some((key) => key !== 'default' && typeof loaded[key] === 'function');
  if (named || loaded.default === undefined) return loaded;
  return loaded.default;
}

function say(text) {
  process.stderr.write(`lever: ${text}\n`);
}

async function main() {
  if (process.argv.length < 3) {
    say('usage: node launcher.js ENTRY');
    return process.exit(1);
  }
  const entry = path.resolve(process.argv[2]);
  process.argv.splice(1, 2, entry);
  const home = packageFor(entry);
  if (home === OWN) offerOwnPackage();
  const { Service } = require(path.join(home, 'index.js'));
  // Before the entry is loaded: its clients go over this attachment.
  const service = new Service();
  service.add(methodsOf(await load(entry)));
  if (service.methodCount === 0) {
    say(`${process.argv[1]} exports no functions: there is nothing to call`);
    return process.exit(1);
  }
  service.once('drained', () => process.exit(0));
  service.once('detached', (error) => {
    say(`the host is gone: ${error.message}`);
    process.exit(1);
  });
  return service.start();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
