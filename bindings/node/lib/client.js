'use strict';
// Clients: unary calls, and the opening of streams.

const encoder = require('./encode');
const { contexts } = require('./context');
const { invalid, refusal } = require('./errors');
const { Status } = require('./codes');
const { asyncDispose } = require('./dispose');
const { begun, objects } = require('./events');
const { writeMetadata } = require('./metadata');
const native = require('./native');
const { checkOptions, countOf, textOf, textsOf } = require('./options');
const { errorOf, putArguments, putToken, takePayload } = require('./payload');
const { ClientStream } = require('./stream');

const { addon, Command, COMMAND_RECEIVED, COMMAND_TIMEOUT, Event, shared } = native;

const FLAG_ECHO = 1;
const FLAG_ONLY_THROUGH_HOST = 2;
const FLAG_IN_PROCESS = 4; // for lib/testing.js
const CALL_IDEMPOTENT = 1;
const CALL_COMPRESS = 4;
const CALL_RESUME = 8;
const TIMEOUT_MS_MIN = 0.001;
const NO_OPTIONS = Object.freeze({});

class PendingCall {
  constructor(resolve, reject) {
    this.resolve = resolve;
    this.reject = reject;
    this.abortion = null;
  }

  onDone(r, large) {
    const reason = this.abortion?.settle();
    if (shared.events[r + Event.STATUS] === Status.OK) return this.resolve(takePayload(r, large));
    const error = errorOf(r, large);
    if (reason !== undefined) error.cause = reason;
    return this.reject(error);
  }
}

// What is in flight under each AbortSignal: one listener serves all of it, since many calls may share
// a signal.
const aborters = new WeakMap();

// Cancels something of ours when a signal is aborted, until it has settled.
class Abortion {
  #signal;
  #reason;

  constructor(signal, cancel) {
    this.#signal = signal;
    this.abort = () => {
      this.#reason = signal.reason;
      cancel();
    };
    let aborter = aborters.get(signal);
    if (aborter === undefined) {
      const live = new Set();
      aborter = { live, listener: () => live.forEach((abortion) => abortion.abort()) };
      aborters.set(signal, aborter);
      signal.addEventListener('abort', aborter.listener, { once: true });
    }
    aborter.live.add(this);
  }

  // Returns why it was aborted, if it was.
  settle() {
    const aborter = aborters.get(this.#signal);
    aborter.live.delete(this);
    if (aborter.live.size === 0) {
      this.#signal.removeEventListener('abort', aborter.listener);
      aborters.delete(this.#signal);
    }
    return this.#reason;
  }
}

function checkSignal(signal) {
  if (signal === undefined || signal === null) return null;
  if (typeof signal.addEventListener !== 'function')
    throw invalid('signal: an AbortSignal is expected');
  if (signal.aborted) {
    throw refusal(Status.CANCELLED, 'the signal was aborted before the call', {
      cause: signal.reason,
    });
  }
  return signal;
}

function timeoutOf(timeoutMs) {
  if (timeoutMs === undefined) return 0;
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0)) {
    throw invalid('timeoutMs: a number above 0 is expected');
  }
  // Less than a nanosecond would be 0, which is the default.
  return timeoutMs === Infinity ? -1 : Math.max(timeoutMs, TIMEOUT_MS_MIN);
}

// Fills in the command for a call or stream. Returns what native.send() takes.
function prepare(token, address, args, options) {
  if (token === 0) throw refusal(Status.CANCELLED, 'the client is closed');
  if (typeof address !== 'string') throw invalid('the address must be a text');
  const metadata = options.metadata === undefined ? null : writeMetadata(options.metadata);
  const timeoutMs = timeoutOf(options.timeoutMs);
  const aside = putArguments(args);
  const words = shared.words;
  words[Command.METADATA_BYTES] = 0;
  if (metadata !== null && metadata.length > 0) {
    if (encoder.busy()) throw invalid('metadata cannot be sent from within toJSON() or a getter');
    encoder.append(metadata);
    words[Command.METADATA_BYTES] = metadata.length;
  }
  const parent = contexts.getStore();
  const bound = parent !== undefined && parent.open;
  words[Command.PARENT_LOW] = bound ? parent.idLow : 0;
  words[Command.PARENT_HIGH] = bound ? parent.idHigh : 0;
  words[Command.OBJECT] = token;
  words[Command.ADDRESS] = native.addressId(address);
  words[Command.FLAGS] =
    (options.idempotent ? CALL_IDEMPOTENT : 0) | (options.compress ? CALL_COMPRESS : 0);
  shared.floats[COMMAND_TIMEOUT] = timeoutMs;
  return aside;
}

// The end of a stream, from which it is taken up again: {token, received}.
function putResumePoint(point) {
  if (point === null || typeof point !== 'object') {
    throw invalid('resume: {token, received} is expected');
  }
  const received = Number(point.received ?? 0);
  if (!Number.isSafeInteger(received) || received < 0) {
    throw invalid('resume.received: a number of messages is expected');
  }
  shared.floats[COMMAND_RECEIVED] = received;
  putToken(point.token ?? '');
  shared.words[Command.FLAGS] |= CALL_RESUME;
}

function begin(call, aside, entry) {
  const token = begun.add(entry);
  shared.words[Command.TOKEN] = token;
  const status = native.send(call, aside);
  if (status === Status.OK) return;
  begun.remove(token);
  throw refusal(status, addon.takeError());
}

function startCall(client, address, args, options, resolve, reject) {
  checkOptions(options);
  const signal = checkSignal(options.signal);
  const aside = prepare(client, address, args, options);
  const call = new PendingCall(resolve, reject);
  begin(addon.callStart, aside, call);
  if (signal === null) return;
  const low = shared.words[Command.ID_LOW];
  const high = shared.words[Command.ID_HIGH];
  call.abortion = new Abortion(signal, () => {
    shared.words[Command.OBJECT] = client;
    shared.words[Command.ID_LOW] = low;
    shared.words[Command.ID_HIGH] = high;
    addon.callCancel();
  });
}

function tlsOf(tls) {
  if (tls === undefined || tls === null) return null;
  if (typeof tls !== 'object') throw invalid('tls: an object is expected');
  return textsOf(tls, ['ca', 'cert', 'key', 'serverName']);
}

class Client {
  #token = 0;
  #closing = null;
  #closed = null;
  #lastStats; // once it is closed

  // host: 'address:port' or 'unix:/path'; default: the host that this instance is attached to, else
  // LEVER_HOST. env: default: this instance's, else LEVER_ENV, else dev.lever. tls: {ca, cert, key,
  // serverName}, for a host with 'tls:' before its address.
  constructor(options = NO_OPTIONS, service = 0) {
    checkOptions(options);
    const { echo, onlyThroughHost, inProcess } = options;
    const host = textOf(options.host, 'host');
    const env = textOf(options.env, 'env');
    const messageBytesMax = countOf(options.messageBytesMax, 'messageBytesMax');
    const tls = tlsOf(options.tls);
    native.open();
    this.#token = objects.add(this);
    const flags = (echo ? FLAG_ECHO : 0) |
      (onlyThroughHost ? FLAG_ONLY_THROUGH_HOST : 0) | (inProcess ? FLAG_IN_PROCESS : 0);
    const status =
      addon.clientCreate(this.#token, host, env, flags, messageBytesMax, service, tls);
    if (status === Status.OK) return;
    objects.remove(this.#token);
    throw refusal(status, addon.takeError());
  }

  // Calls a method and gives its answer.
  invoke(address, ...args) {
    return new Promise((resolve, reject) => {
      startCall(this.#token, address, args, NO_OPTIONS, resolve, reject);
    });
  }

  // The same with options: {timeoutMs, signal, idempotent, compress, metadata}.
  call(address, args = [], options = NO_OPTIONS) {
    return new Promise((resolve, reject) => {
      startCall(this.#token, address, args, options, resolve, reject);
    });
  }

  // Opens a stream to a streaming method.
  stream(address, ...args) {
    return this.openStream(address, args);
  }

  // The same with options: {timeoutMs, signal, compress, metadata, resume}.
  openStream(address, args = [], options = NO_OPTIONS) {
    checkOptions(options);
    const signal = checkSignal(options.signal);
    const aside = prepare(this.#token, address, args, options);
    if (options.resume !== undefined) putResumePoint(options.resume);
    const stream = new ClientStream();
    stream.grantAtOpen();
    begin(addon.streamOpen, aside, stream);
    stream.opened(this.#token, signal === null ? null : new Abortion(signal, () => stream.cancel()));
    return stream;
  }

  // {callsDirect, callsThroughHost, retries, directConnections}; of a closed client what they were then.
  stats() {
    return this.#lastStats ?? addon.clientStats(this.#token);
  }

  // Ends what is in flight with CANCELLED. Resolves when all of it has ended.
  close() {
    if (this.#closing === null) {
      this.#closing = new Promise((resolve) => {
        this.#closed = resolve;
      });
      this.#lastStats = addon.clientStats(this.#token);
      addon.clientClose(this.#token);
    }
    return this.#closing;
  }

  [asyncDispose]() {
    return this.close();
  }

  // Its token is another's from now on.
  onClosed() {
    this.#token = 0;
    this.#closed?.();
  }
}

module.exports = { Client };
