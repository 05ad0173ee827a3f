'use strict';
// What a method knows of the call that it runs in.
//
// A context follows the method through its awaits (AsyncLocalStorage). Calls made in it carry the
// parent: its deadline bounds them, its end cancels them.

const { AsyncLocalStorage } = require('node:async_hooks');
const { addon, Event, shared } = require('./native');
const { incoming } = require('./events');
const { readMetadata } = require('./metadata');
const { takeCaller, takeMetadata } = require('./payload');

const contexts = new AsyncLocalStorage();

class Context {
  #service;
  #deadlineMs;
  #caller;
  #metadata; // bytes until somebody looks
  #abort = null;
  #cancelled = false;
  #resource;

  // `resource`: whose method it is, or which is opened or closed; null of none.
  constructor(service, r, large, resource = null) {
    this.#service = service;
    this.#resource = resource;
    this.idLow = shared.events[r + Event.ID_LOW];
    this.idHigh = shared.events[r + Event.ID_HIGH];
    this.open = true; // whether the call is still to be answered
    this.#deadlineMs = shared.eventFloats[(r + Event.DEADLINE) / 2];
    this.#caller = takeCaller(r, large);
    this.#metadata = takeMetadata(r, large);
  }

  // When the caller stops waiting: a Date, or null.
  get deadline() {
    if (this.#deadlineMs === Infinity) return null;
    return new Date(Date.now() + this.#deadlineMs - addon.now());
  }

  // The caller's metadata.
  get metadata() {
    if (this.#metadata === null || Buffer.isBuffer(this.#metadata)) {
      this.#metadata = readMetadata(this.#metadata ?? Buffer.alloc(0));
    }
    return this.#metadata;
  }

  // 'lever://env/service' of who calls, '' if it is outside.
  get caller() {
    return this.#caller;
  }

  // `config` of lever.json.
  get config() {
    return this.#service.config;
  }

  // What `lever secret set` has set, by name.
  get secrets() {
    return this.#service.secrets;
  }

  // {env, name, instance, version} of this instance.
  get service() {
    return this.#service.details;
  }

  // Aborted when the caller is gone or the deadline has passed.
  get signal() {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#cancelled) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  // The name of the resource whose method it is; null of none.
  get resource() {
    return this.#resource === null ? null : this.#resource.name;
  }

  // The resource's fencing token.
  get generation() {
    return this.#resource === null ? null : this.#resource.generation;
  }

  // A client bound to the environment, over the connection to the host that is there already.
  get client() {
    return this.#service.client;
  }

  // ---- For the runtime ----

  onCancelled() {
    this.#cancelled = true;
    this.#abort?.abort();
  }

  ended() {
    this.open = false;
    incoming.remove(this.idLow, this.idHigh);
  }
}

// That of the method that is running here; undefined outside of one.
function context() {
  return contexts.getStore();
}

module.exports = { Context, contexts, context };
