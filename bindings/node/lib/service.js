'use strict';
// Services: functions that are called from elsewhere.
//
// Used alike by the launcher, in an instance that a host has started, and by a program that
// attaches itself. An open service keeps the process alive until it is drained or closed.

const { EventEmitter } = require('node:events');
const { Client } = require('./client');
const { Status } = require('./codes');
const { asyncDispose } = require('./dispose');
const { errorFor, invalid, refusal } = require('./errors');
const { methods, objects } = require('./events');
const { Method, ResourceMethod } = require('./incoming');
const { functionsOf } = require('./methods');
const native = require('./native');
const { checkOptions, countOf, millisecondsOf, textsOf } = require('./options');
const { takeMessage } = require('./payload');
const { ResourceType } = require('./resource');
const { rejected } = require('./stream');

const { addon, Command, Event, shared } = native;

const State = { STARTING: 0, ATTACHED: 1, DRAINING: 2, DRAINED: 3, DETACHED: 4 };

class Service extends EventEmitter {
  #token;
  #methodTokens = [];
  #resourceOptions;
  #resources = null; // the ResourceType, where there are resources
  #client = null;
  #config;
  #secrets;
  #started = false;
  #state = State.STARTING;
  #waiting = { attached: [], drained: [], closed: [] };

  // {name, env, host, listen, private, maxConcurrency, drainTimeoutMs, resource}. Without a name: the instance
  // that a host has started this process as. resource: {serial, maxConcurrency, idleTimeoutMs}.
  constructor(options = {}) {
    super();
    checkOptions(options);
    this.#resourceOptions = options.resource;
    const given = {
      ...textsOf(options, ['name', 'env', 'host', 'listen', 'configJson', 'secretsJson']),
      private: options.private,
      inProcess: options.inProcess,
      runtime: `node ${process.versions.node}`,
      maxConcurrency: countOf(options.maxConcurrency, 'maxConcurrency'),
      drainTimeoutMs: millisecondsOf(options.drainTimeoutMs, 'drainTimeoutMs'),
    };
    native.open();
    this.#token = objects.add(this);
    const status = addon.serviceCreate(this.#token, given);
    if (status === Status.OK) return;
    objects.remove(this.#token);
    throw refusal(status, addon.takeError());
  }

  // Before start(): the functions of an object become methods, and the class that is called Resource
  // that of the service's resources.
  add(object) {
    for (const [key, run] of functionsOf(object)) {
      this.#addMethod(addon.serviceAddMethod, key, new Method(this, object, key, run));
    }
    if (object.Resource !== undefined) this.#addResource(object.Resource);
    return this;
  }

  #addMethod(add, key, method) {
    const token = methods.add(method);
    const status = add(this.#token, key, token);
    if (status !== Status.OK) {
      methods.remove(token);
      throw refusal(status, `method ${key}: ${addon.takeError()}`);
    }
    this.#methodTokens.push(token);
  }

  #addResource(Class) {
    const type = new ResourceType(this, Class, this.#resourceOptions);
    const { maxConcurrency, idleTimeoutMs } = type.settings;
    const status =
      addon.serviceSetResource(this.#token, maxConcurrency, idleTimeoutMs, type.resumes);
    if (status !== Status.OK) throw refusal(status, `Resource: ${addon.takeError()}`);
    this.#resources = type;
    for (const [key, run] of type.methods) {
      const method = new ResourceMethod(this, type, key, run);
      this.#addMethod(addon.serviceAddResourceMethod, key, method);
    }
  }

  get methodCount() {
    return this.#methodTokens.length;
  }

  start() {
    if (this.#resourceOptions !== undefined && this.#resources === null) {
      throw invalid('resource: the service has no class Resource');
    }
    const status = addon.serviceStart(this.#token);
    if (status !== Status.OK) throw refusal(status, addon.takeError());
    this.#started = true;
    return this;
  }

  // {env, name, instance, version, listening}: what the host has told, and the bound address or ''.
  get details() {
    const { configJson, secretsJson, ...details } = addon.serviceDetails(this.#token) ?? {};
    return details;
  }

  get config() {
    if (this.#config === undefined) {
      this.#config = JSON.parse(addon.serviceDetails(this.#token)?.configJson ?? 'null');
    }
    return this.#config;
  }

  // Frozen, since all calls share it.
  get secrets() {
    if (this.#secrets === undefined) {
      const text = addon.serviceDetails(this.#token)?.secretsJson ?? '{}';
      this.#secrets = Object.freeze(JSON.parse(text));
    }
    return this.#secrets;
  }

  get client() {
    if (this.#client === null) {
      if (this.#token === 0) throw this.#isClosed();
      this.#client = new Client({}, this.#token);
    }
    return this.#client;
  }

  // Resolves when the host knows the service, and calls come.
  attached() {
    return this.#state === State.ATTACHED ? Promise.resolve() : this.#wait('attached');
  }

  // Out of every route table, and no new calls; what runs is finished. Resolves when nothing is
  // left.
  drain() {
    if (this.#token !== 0 && !this.#started) return Promise.resolve();
    addon.serviceDrain(this.#token);
    return this.drained();
  }

  drained() {
    return this.#state === State.DRAINED ? Promise.resolve() : this.#wait('drained');
  }

  // Ends what runs with CANCELLED. Resolves when all of it has ended.
  close() {
    if (this.#token === 0) return Promise.resolve();
    const closed = this.#wait('closed');
    addon.serviceClose(this.#token);
    return closed;
  }

  // What runs is finished, and then it is over.
  async [asyncDispose]() {
    if (this.#token === 0) return;
    await this.drain().catch(() => {}); // it was closed meanwhile
    await this.close();
  }

  #isClosed() {
    return refusal(Status.CANCELLED, 'the service is closed');
  }

  #wait(what) {
    if (this.#token === 0) return rejected(this.#isClosed());
    const promise = new Promise((resolve, reject) => this.#waiting[what].push({ resolve, reject }));
    promise.catch(() => {});
    return promise;
  }

  #settle(what, error) {
    for (const { resolve, reject } of this.#waiting[what].splice(0)) {
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  onState(r, large) {
    this.#state = shared.events[r + Event.STATE];
    switch (this.#state) {
      case State.ATTACHED:
        this.#config = undefined;
        this.#secrets = undefined;
        this.#settle('attached');
        this.emit('attached');
        break;
      case State.DETACHED:
        this.emit('detached', errorFor(shared.events[r + Event.STATUS], takeMessage(r, large)));
        break;
      case State.DRAINING:
        this.emit('draining');
        break;
      case State.DRAINED:
        this.#settle('drained');
        this.emit('drained');
        break;
      default:
    }
  }

  // ---- Resources ----

  onResourceOpen(r, large) {
    this.#resources.onOpen(r, large);
  }

  onResourceClose(r, large) {
    this.#resources.onClose(r, large);
  }

  // CANCELLED: the service is closed, and nobody is there to hear of it.
  tellOpened(id, status, text) {
    if (this.#token === 0) return Status.CANCELLED;
    this.#name(id, status);
    return addon.resourceOpened(text);
  }

  // `aside`: as putCarried() has given it.
  tellClosed(id, status, aside) {
    if (this.#token === 0) return Status.CANCELLED;
    this.#name(id, status);
    return native.send(addon.resourceClosed, aside);
  }

  #name(id, status) {
    shared.words[Command.OBJECT] = this.#token;
    shared.words[Command.ID_LOW] = id % 0x100000000;
    shared.words[Command.ID_HIGH] = Math.floor(id / 0x100000000);
    shared.words[Command.STATUS] = status;
  }

  onClosed() {
    this.#token = 0;
    for (const token of this.#methodTokens.splice(0)) methods.remove(token);
    this.#resources?.clear();
    const closed = refusal(Status.CANCELLED, 'the service was closed');
    this.#settle('attached', closed);
    this.#settle('drained', closed);
    if (this.#client === null) this.#onAllClosed();
    else this.#client.close().then(() => this.#onAllClosed());
  }

  #onAllClosed() {
    this.#settle('closed');
    this.emit('closed');
  }
}

// Makes this program an instance of a service, whose methods are the functions of `object`.
function serve(object, options) {
  const service = new Service(options);
  try {
    return service.add(object).start();
  } catch (error) {
    service.close();
    throw error;
  }
}

module.exports = { Service, serve };
