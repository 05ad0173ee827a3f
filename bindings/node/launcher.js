#!/usr/bin/env node
'use strict';
// Runs a service that was deployed with `jsEntry`: node launcher.js <entry>, started by a host in
// the bundle's directory. `node launcher.js --ahead` is started before it is known which: it waits
// at descriptor 3 to be told, loaded with all that it will need.
//
// Every function that the entry exports is a method; those whose names end in Chan or _chan, or are
// chan, are streaming methods. A class that it exports as Resource is that of its resources. The entry may be CommonJS or an ES module. `lever` is the package of
// the bundle, if it has one, else the one that this file is in.
//
// Exit codes: 0 when the host has drained the instance, 1 for everything else, with the reason on
// standard error, whose last lines the callers of a service that does not start are told.

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { methodsOf } = require('./lib/methods');

const OWN = __dirname;
const ENTRIES_LOOKED_AT_MAX = 2000;
const TAKEOVER_FD = 3;

// Where `lever` is for the file at `from`: the bundle's own package, or this one.
function packageFor(from) {
  try {
    return path.dirname(Module.createRequire(from).resolve('lever/package.json'));
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    return OWN;
  }
}

// Whether a file of the bundle may be an ES module. Those below node_modules have their own
// packages.
function mayHaveModules(folder) {
  let left = ENTRIES_LOOKED_AT_MAX;
  const look = (at) => {
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      if (--left < 0 || entry.name.endsWith('.mjs')) return true;
      const file = path.join(at, entry.name);
      if (entry.isDirectory() && entry.name !== 'node_modules' && look(file)) return true;
      if (
        entry.name === 'package.json' &&
        JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module'
      )
        return true;
    }
    return false;
  };
  try {
    return look(folder);
  } catch {
    return true; // in doubt
  }
}

// What the bundle does not find is looked for here: `lever` itself, by require and by import. Hooks
// for import have a thread of their own, which a start should not wait for without need.
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
  // Worker threads, and programs that the service starts, look there by themselves: they take over
  // the environment.
  const { NODE_PATH } = process.env;
  const folder = path.dirname(OWN);
  process.env.NODE_PATH = NODE_PATH ? `${NODE_PATH}${path.delimiter}${folder}` : folder;
  if (!mayHaveModules(process.cwd())) return;
  Module.register(pathToFileURL(path.join(OWN, 'lib', 'resolve-hooks.mjs')), {
    data: pathToFileURL(path.join(OWN, 'index.mjs')).href,
  });
}

// Whether Node takes the file for an ES module.
function isModule(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let at = path.dirname(file); ; at = path.dirname(at)) {
    const description = path.join(at, 'package.json');
    if (fs.existsSync(description))
      return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
    if (at === path.dirname(at)) return false;
  }
}

async function load(file) {
  return isModule(file) ? import(pathToFileURL(file).href) : require(file);
}

function say(text) {
  process.stderr.write(`lever: ${text}\n`);
}

// Waits to be told which service this is: becomes what `node launcher.js <entry>` is at its start.
function takeOver() {
  const { addon } = require('./lib/native');
  require('./index.js');
  const told = addon.takeOver(TAKEOVER_FD);
  if (told === undefined) process.exit(0);
  const [directory, entry, files, ...variables] = told.toString().split('\0').slice(0, -1);
  if (!addon.limitDescriptors(Number(files))) throw new Error('its descriptors cannot be limited');
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const variable of variables) {
    const at = variable.indexOf('=');
    process.env[variable.slice(0, at)] = variable.slice(at + 1);
  }
  process.chdir(directory);
  process.argv[2] = entry;
}

async function main() {
  if (process.argv[2] === '--ahead') takeOver();
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
