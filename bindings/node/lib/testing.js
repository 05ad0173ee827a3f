'use strict';
// Services and a client in one process, without a host and a network, for tests of services.
//
// All of it is in the queue of the thread, whose time can stand still and be moved by hand: deadlines
// and timeouts of Lever are on it. Node's own timers are not; node:test has mocks for them.

const { setImmediate: turn } = require('node:timers/promises');
const { Client } = require('./client');
const { Status } = require('./codes');
const { asyncDispose } = require('./dispose');
const { invalid, refusal } = require('./errors');
const { delivered } = require('./events');
const { methodsOf } = require('./methods');
const native = require('./native');
const { MS_MAX } = require('./options');
const { Service } = require('./service');

const { addon } = native;

// After so many turns of the loop without an event, what was due has happened: what one event leads
// to comes within a turn or two.
const QUIET_TURNS = 8;
const TURNS_MAX = 10_000;

let holders = 0; // tests that hold the time of this thread's queue

class Testing {
  #services;
  #holdsTime;
  #closing = null;

  constructor(client, services, holdsTime) {
    this.client = client;
    this.#services = services;
    this.#holdsTime = holdsTime;
  }

  // Moves the time that start() holds, and waits until what was due has happened.
  async advance(ms) {
    if (typeof ms !== 'number' || !(ms >= 0 && ms <= MS_MAX)) {
      throw invalid('advance: milliseconds are expected');
    }
    if (!this.#holdsTime) {
      throw refusal(Status.FAILED_PRECONDITION, 'advance: start() was not told to hold the time');
    }
    const status = addon.advanceTime(ms);
    if (status !== Status.OK) throw refusal(status, 'the time cannot be moved');
    await settled();
  }

  // Ends what runs with CANCELLED. Resolves when all of it has ended; time goes on.
  close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [asyncDispose]() {
    return this.close();
  }

  async #close() {
    if (this.#holdsTime) {
      this.#holdsTime = false;
      if (--holders === 0) addon.resumeTime();
    }
    await this.client.close();
    await Promise.all(this.#services.map((service) => service.close()));
  }
}

async function settled() {
  let quiet = 0;
  for (let i = 0; i < TURNS_MAX && quiet < QUIET_TURNS; i++) {
    const before = delivered.count;
    await turn();
    quiet = delivered.count === before ? quiet + 1 : 0;
  }
}

// Starts services by name; what each is given is a module or object whose functions are its methods.
async function start(services, { config = {}, secrets = {}, env, holdTime = false } = {}) {
  for (const [option, given] of Object.entries({ config, secrets })) {
    const unknown = Object.keys(given).find((name) => !Object.hasOwn(services, name));
    if (unknown !== undefined) throw invalid(`${option}: there is no service ${unknown}`);
  }
  for (const [name, texts] of Object.entries(secrets)) {
    const other = Object.keys(texts).find((key) => typeof texts[key] !== 'string');
    if (other !== undefined) throw invalid(`secrets: ${other} of ${name} is not a string`);
  }
  native.open();
  const started = [];
  try {
    for (const [name, object] of Object.entries(services)) {
      const configJson = JSON.stringify(config[name] ?? null);
      const secretsJson = JSON.stringify(secrets[name] ?? {});
      const service = new Service({ name, env, inProcess: true, configJson, secretsJson });
      started.push(service);
      service.add(methodsOf(object)).start();
      await service.attached();
    }
    const client = new Client({ env, inProcess: true });
    if (holdTime && holders++ === 0) addon.holdTime();
    return new Testing(client, started, holdTime);
  } catch (error) {
    await Promise.all(started.map((service) => service.close()));
    throw error;
  }
}

module.exports = { start };
