'use strict';
// Resources: objects of a program, each owned by one instance of its service at a time.
//
//   exports.Resource = class Note {
//     async open(name, { state, origin }) {}   before its first call here
//     async edit(text) {}                      methods; *Chan methods stream
//     async resume(stream, token, received) {} a stream goes on here that another owner had
//     async close(reason) { return state; }    what the next owner opens it with
//   };
//
// The library says when one is to be opened and closed, and until a resource is open its calls wait
// there. An object is closed when its methods have returned: of unary calls the library knows that, of
// streams, which may have ended while their method goes on, it is waited for here.

const encoder = require('./encode');
const { Context, contexts } = require('./context');
const { Status } = require('./codes');
const { invalid, LeverError } = require('./errors');
const { Event, shared } = require('./native');
const { resourceMethodsOf } = require('./methods');
const { checkOptions, countOf, millisecondsOf } = require('./options');
const { integerOf, putCarried, takeMessage, takePayload, textOfThrown } = require('./payload');

const ORIGINS = ['new', 'carried', 'lost'];
const REASONS = ['idle', 'moved', 'upgrade', 'stopping', 'lost'];
// For these reasons what close() returns goes to the next owner.
const CARRYING = new Set(['moved', 'upgrade', 'stopping']);
// The library's own limits: what is larger is lost, and so is what is closed later.
const CARRIED_BYTES_MAX = 1024 * 1024 - 64;
const CLOSE_MS = 5000;
// How long a closing waits for methods whose stream has ended: they know it, and have to clean up.
const STREAMS_END_MS = 1000;

function warn(text, error) {
  // Where it came from, unless that is here.
  const own = error instanceof LeverError;
  const detail = error instanceof Error && !own ? error.stack : undefined;
  process.emitWarning(text, { type: 'LeverWarning', detail });
}

function flagOf(value, name) {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw invalid(`${name}: true or false is expected`);
  return value;
}

// One that is open, or being opened.
class Resource {
  object = null;
  #streams = 0; // methods of streams that have not returned
  #quiet = null; // to be called when there are none

  constructor(id, name, generation) {
    this.id = id;
    this.name = name;
    this.generation = generation;
  }

  streamBegan() {
    this.#streams += 1;
  }

  streamReturned() {
    this.#streams -= 1;
    if (this.#streams === 0) this.#quiet?.();
  }

  // Resolves when none is left, or when they had their time.
  streamsReturned() {
    if (this.#streams === 0) return undefined;
    return new Promise((resolve) => {
      const limit = setTimeout(resolve, STREAMS_END_MS);
      this.#quiet = () => {
        clearTimeout(limit);
        resolve();
      };
    });
  }
}

// What the class says of itself, and what is said where the service is made, which goes first.
function settingsOf(Class, given) {
  checkOptions(given);
  for (const settings of [Class, given]) {
    if (settings.idleTimeout !== undefined) {
      throw invalid('Resource.idleTimeout: it is called idleTimeoutMs, and is in milliseconds');
    }
  }
  const named = (name) => given[name] ?? Class[name];
  const serial = flagOf(named('serial'), 'Resource.serial');
  const maxConcurrency = countOf(named('maxConcurrency'), 'Resource.maxConcurrency');
  if (serial && maxConcurrency > 1) {
    throw invalid('Resource.maxConcurrency: a serial resource runs one call at a time');
  }
  return {
    maxConcurrency: serial ? 1 : maxConcurrency,
    idleTimeoutMs: millisecondsOf(named('idleTimeoutMs'), 'Resource.idleTimeoutMs'),
  };
}

function checkClass(Class) {
  // Compilers for old JavaScript write classes as functions. One that is no constructor has no prototype.
  if (typeof Class !== 'function' || Class.prototype === undefined) {
    throw invalid('Resource: a class is expected, whose objects are the resources of the service');
  }
  for (const name of ['open', 'resume', 'close']) {
    const own = Class.prototype[name];
    if (own !== undefined && typeof own !== 'function') {
      throw invalid(`Resource.${name}: a method is expected`);
    }
  }
}

// The class of a service's resources, and those that are open here.
class ResourceType {
  #open = new Map(); // by id
  #warnedOfDrop = false;

  constructor(service, Class, given = {}) {
    checkClass(Class);
    this.service = service;
    this.Class = Class;
    this.settings = settingsOf(Class, given);
    this.methods = resourceMethodsOf(Class);
    this.resume = Class.prototype.resume; // of streams that have run elsewhere
    this.resumes = this.resume !== undefined;
    if (this.methods.size === 0) throw invalid('Resource: the class has no methods');
  }

  // That of an incoming call or stream; undefined if it was closed.
  find(r) {
    return this.#open.get(integerOf(r, Event.RESOURCE_LOW));
  }

  onOpen(r, large) {
    const id = integerOf(r, Event.RESOURCE_LOW);
    const generation = integerOf(r, Event.GENERATION_LOW);
    const resource = new Resource(id, takeMessage(r, large), generation);
    const opening = {
      state: takePayload(r, large),
      origin: ORIGINS[shared.events[r + Event.STATE]],
    };
    contexts.run(new Context(this.service, r, large, resource), () => this.#openOne(resource, opening));
  }

  onClose(r, large) {
    const id = integerOf(r, Event.RESOURCE_LOW);
    const resource = this.#open.get(id);
    this.#open.delete(id);
    const reason = REASONS[shared.events[r + Event.STATE]];
    contexts.run(new Context(this.service, r, large, resource), () => this.#closeOne(resource, reason));
  }

  // The service is over, and nothing of it is called any more.
  clear() {
    this.#open.clear();
  }

  async #openOne(resource, opening) {
    try {
      resource.object = new this.Class();
      await resource.object.open?.(resource.name, opening);
    } catch (error) {
      const why = `the resource could not be opened: ${textOfThrown(error)}`;
      this.service.tellOpened(resource.id, Status.INTERNAL, why);
      return;
    }
    // Calls come as soon as the library knows.
    this.#open.set(resource.id, resource);
    const status = this.service.tellOpened(resource.id, Status.OK, '');
    if (status !== Status.OK) this.#open.delete(resource.id); // the service was closed
  }

  async #closeOne(resource, reason) {
    await resource.streamsReturned();
    const late = setTimeout(() => {
      this.#warnOfLoss(resource, reason, `takes longer than ${CLOSE_MS / 1000} s`);
    }, CLOSE_MS);
    late.unref();
    try {
      this.#tellClosed(resource.id, reason, await resource.object.close?.(reason));
    } catch (error) {
      this.#warnOfLoss(resource, reason, `failed: ${textOfThrown(error)}`, error);
      this.service.tellClosed(resource.id, Status.INTERNAL, putCarried(undefined));
    } finally {
      clearTimeout(late);
    }
  }

  #tellClosed(id, reason, carried) {
    const aside = putCarried(carried);
    const bytes = aside === null ? encoder.scratchUsed() : aside.length;
    if (CARRYING.has(reason) && bytes > CARRIED_BYTES_MAX) {
      throw invalid(`it returned ${bytes} bytes, and at most ${CARRIED_BYTES_MAX} are carried`);
    }
    const status = this.service.tellClosed(id, Status.OK, aside);
    if (status === Status.INVALID_ARGUMENT) throw invalid('what it returned is no valid value');
    if (carried !== undefined && reason === 'idle') this.#warnOfDrop();
  }

  #warnOfLoss(resource, reason, what, error) {
    const lost = CARRYING.has(reason) ? ', and what the resource was is lost' : '';
    warn(`close('${reason}') of ${JSON.stringify(resource.name)} ${what}${lost}`, error);
  }

  // Once: who carries something returns it for each reason.
  #warnOfDrop() {
    if (this.#warnedOfDrop) return;
    this.#warnedOfDrop = true;
    warn("what close('idle') returns is dropped: an idle resource is new when it is opened again");
  }
}

module.exports = { ResourceType };
