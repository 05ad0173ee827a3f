'use strict';
// Streams of messages, the caller's side and the method's side.
//
// Writing: what the library does not take now (its queue is full) waits here, encoded, and the
// promise of write() waits with it. Reading is by credit: the library delivers at most what was
// granted, and what the program reads is granted again, so that a stream holds a bounded number of
// messages that nobody has read.

const encoder = require('./encode');
const { Status } = require('./codes');
const { asyncDispose } = require('./dispose');
const { LeverError, Moved, refusal } = require('./errors');
const { incoming } = require('./events');
const native = require('./native');
const { errorOf, putError, putMessage, putToken, takePayload, takeResumePoint } =
  require('./payload');

const { addon, Command, Event, shared } = native;

// Credit: messages and bytes that may lie here unread. Granted again when half of it was read.
const PREFETCH = { messages: 64, bytes: 256 * 1024 };
// Where that tells the caller what it need not keep any more.
const PREFETCH_RESUMABLE = { messages: 16, bytes: 64 * 1024 };

const DONE = Promise.resolve();
const NO_OPTIONS = Object.freeze({});

// A rejection that nobody needs to handle: it is told in another way, too.
function rejected(error) {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}

class MessageStream {
  client = 0; // the token of its client; a stream that came in has none
  idLow = 0;
  idHigh = 0;
  prefetch = PREFETCH;
  #waiting = []; // writes that wait for room: {kind, bytes, token, resolve, reject}
  #sendClosed = false; // end() was called
  #closeDue = null; // what is to be carried out when nothing waits any more
  #messages = []; // delivered and not read: {value, bytes}
  #readAt = 0;
  #readers = []; // next() that wait for a message
  #usedMessages = 0; // read, and not granted again
  #usedBytes = 0;
  #readEnded = false;
  #ended = false;
  #failed = false; // fail() was called
  #error = null; // why it ended, if not well
  #errorTold = false;
  #whenEnded = null; // {promise, resolve}, once somebody waits for it
  stopped = null; // why nothing is read any more, before the end
  told = false; // whoever reads knows, or looks, whether it is so

  // ---- Writing ----

  // Sends one message. Resolves when the library has taken it: waiting for that is back-pressure.
  write(value) {
    return this.send(value, undefined);
  }

  send(value, token) {
    if (this.#ended) return rejected(this.#error ?? this.#over());
    if (this.#sendClosed) return rejected(this.#over());
    let aside;
    let payloadBytes;
    try {
      aside = putMessage(value);
      payloadBytes = encoder.scratchUsed();
      if (token !== undefined) this.#putToken(token);
    } catch (error) {
      return rejected(error);
    }
    const kind = shared.words[Command.KIND];
    if (this.#waiting.length > 0) return this.#wait(kind, aside, payloadBytes, token);
    const write = token === undefined ? addon.streamWrite : addon.streamWriteResumable;
    const status = this.#send(write, kind, aside);
    if (status === Status.OK) return DONE;
    if (status === Status.WOULD_BLOCK) return this.#wait(kind, aside, payloadBytes, token);
    return rejected(refusal(status, 'the message cannot be sent'));
  }

  // No more messages from this side.
  end() {
    if (this.#sendClosed || this.#ended) return;
    this.closeSend(addon.streamCloseSend);
  }

  // `close` is one of the addon's functions, and is called when nothing waits any more.
  closeSend(close) {
    this.#sendClosed = true;
    this.#closeDue = close;
    this.#closeIfDue();
  }

  // Gives the stream up: what waits is dropped, and the other side learns of it.
  cancel() {
    if (this.#ended) return;
    this.sendClosed();
    this.#messages = [];
    this.#readAt = 0;
    this.#name();
    shared.words[Command.STATUS] = Status.CANCELLED;
    addon.streamCancel('cancelled by the program');
  }

  sendClosed() {
    this.#sendClosed = true;
    this.#closeDue = null;
  }

  // Resolves when nothing waits to be written.
  flushed() {
    return this.#waiting.length > 0 ? this.#waiting.at(-1).promise : DONE;
  }

  fail(thrown) {
    if (this.#ended || this.#failed) return;
    this.#failed = true;
    this.sendClosed();
    const aside = putError(thrown);
    const status = this.#send(addon.streamFail, shared.words[Command.KIND], aside);
    if (status === Status.OK) return;
    this.#name();
    shared.words[Command.STATUS] = Status.INTERNAL;
    addon.streamCancel('the error of the method cannot be sent');
  }

  #over() {
    return refusal(Status.FAILED_PRECONDITION, 'the stream was ended: nothing more can be written');
  }

  #name() {
    shared.words[Command.OBJECT] = this.client;
    shared.words[Command.ID_LOW] = this.idLow;
    shared.words[Command.ID_HIGH] = this.idHigh;
  }

  #send(call, kind, aside) {
    this.#name();
    shared.words[Command.KIND] = kind;
    return native.send(call, aside);
  }

  #putToken(token) {
    shared.words[Command.METADATA_BYTES] = 0;
    putToken(token);
  }

  #sendAgain({ kind, bytes, token }) {
    if (token === undefined) return this.#send(addon.streamWrite, kind, bytes);
    encoder.resetScratch();
    this.#putToken(token);
    return this.#send(addon.streamWriteResumable, kind, bytes);
  }

  #wait(kind, aside, payloadBytes, token) {
    const bytes = aside ?? Buffer.from(encoder.scratch().subarray(0, payloadBytes));
    const entry = { kind, bytes, token, resolve: null, reject: null, promise: null };
    entry.promise = new Promise((resolve, reject) => {
      entry.resolve = resolve;
      entry.reject = reject;
    });
    entry.promise.catch(() => {});
    this.#waiting.push(entry);
    return entry.promise;
  }

  #closeIfDue() {
    if (this.#closeDue === null || this.#waiting.length > 0) return;
    const close = this.#closeDue;
    this.#closeDue = null;
    this.#name();
    shared.words[Command.READ_MESSAGES] = this.#messages.length - this.#readAt;
    close();
  }

  // ---- As other things ----

  // One of Node's own streams, to be piped: of objects, or with {bytes: true} of bytes.
  toDuplex(options) {
    const { MessageDuplex } = require('./duplex'); // of which most programs have no need
    return new MessageDuplex(this, options);
  }

  // Whether this side has ended neither itself nor the stream.
  get sending() {
    return !this.#sendClosed && !this.#ended;
  }

  get endedWell() {
    return this.#ended && this.#error === null;
  }

  // Resolves when the stream has ended, however it did.
  whenEnded() {
    if (this.#ended) return DONE;
    if (this.#whenEnded === null) {
      const waiting = {};
      waiting.promise = new Promise((resolve) => {
        waiting.resolve = resolve;
      });
      this.#whenEnded = waiting;
    }
    return this.#whenEnded.promise;
  }

  // ---- Reading ----

  [Symbol.asyncIterator]() {
    return this;
  }

  // The next message, as an iterator has it.
  next() {
    const unread = this.#readAt < this.#messages.length;
    if (this.stopped !== null && (unread || !this.#readEnded)) {
      this.told = true;
      return Promise.reject(this.stopped);
    }
    if (unread) {
      return Promise.resolve({ value: this.#take(), done: false });
    }
    if (this.#error !== null && !this.#errorTold) {
      this.#errorTold = true;
      return Promise.reject(this.#error);
    }
    if (this.#readEnded) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  // A `for await` was left early: nobody reads on.
  return(value) {
    this.onAbandoned();
    return Promise.resolve({ value, done: true });
  }

  #take() {
    const { value, bytes } = this.#messages[this.#readAt];
    this.#messages[this.#readAt++] = undefined;
    if (this.#readAt === this.#messages.length) {
      this.#messages.length = 0;
      this.#readAt = 0;
    }
    this.#used(bytes);
    return value;
  }

  #used(bytes) {
    this.#usedMessages += 1;
    this.#usedBytes += bytes;
    const { messages, bytes: most } = this.prefetch;
    const due = this.#usedMessages * 2 >= messages || this.#usedBytes * 2 >= most;
    if (!due || this.#readEnded || this.stopped !== null) return;
    this.grant(this.#usedMessages, this.#usedBytes);
  }

  grant(messages, bytes) {
    this.#usedMessages = 0;
    this.#usedBytes = 0;
    this.#name();
    shared.words[Command.READ_MESSAGES] = messages;
    // No bytes at all would be read as no bound.
    shared.words[Command.READ_BYTES] = Math.max(bytes, 1);
    addon.streamRead();
  }

  // Nothing is read any more: what lies here is left there.
  stopReading(error) {
    this.stopped = error;
    this.told ||= this.#readers.length > 0;
    for (const reader of this.#readers.splice(0)) reader.reject(error);
  }

  #finishReading() {
    this.#readEnded = true;
    for (const reader of this.#readers.splice(0)) {
      if (this.#error !== null && !this.#errorTold) {
        this.#errorTold = true;
        reader.reject(this.#error);
      } else {
        reader.resolve({ value: undefined, done: true });
      }
    }
  }

  // ---- Events ----

  onMessage(r, large) {
    const value = takePayload(r, large);
    const bytes = shared.events[r + Event.PAYLOAD_BYTES];
    const reader = this.#readers.shift();
    if (reader === undefined) {
      this.#messages.push({ value, bytes });
    } else {
      this.#used(bytes);
      reader.resolve({ value, done: false });
    }
  }

  onHalfClosed() {
    this.#finishReading();
  }

  onWritable() {
    let sent = 0;
    for (const entry of this.#waiting) {
      const status = this.#sendAgain(entry);
      if (status === Status.WOULD_BLOCK) break;
      sent += 1;
      if (status === Status.OK) entry.resolve();
      else entry.reject(refusal(status, 'the message cannot be sent'));
    }
    this.#waiting.splice(0, sent);
    this.#closeIfDue();
  }

  onEnd(r, large) {
    this.#ended = true;
    if (shared.events[r + Event.STATUS] !== Status.OK) {
      this.#error = errorOf(r, large);
      const point = takeResumePoint(r, large);
      if (point !== null && this.#error instanceof LeverError) this.#error.resume = point;
    }
    this.onEnded(this.#error);
    for (const entry of this.#waiting.splice(0)) entry.reject(this.#error ?? this.#over());
    this.#finishReading();
    this.#whenEnded?.resolve();
  }
}

// A stream that this side has opened.
class ClientStream extends MessageStream {
  #abortion = null;

  grantAtOpen() {
    shared.words[Command.READ_MESSAGES] = this.prefetch.messages;
    shared.words[Command.READ_BYTES] = this.prefetch.bytes;
  }

  opened(client, abortion) {
    this.client = client;
    this.idLow = shared.words[Command.ID_LOW];
    this.idHigh = shared.words[Command.ID_HIGH];
    this.#abortion = abortion;
  }

  onAbandoned() {
    this.cancel();
  }

  onDestroyed() {
    this.cancel();
  }

  // Gives the stream up, unless it has ended.
  [asyncDispose]() {
    this.cancel();
    return this.whenEnded();
  }

  onEnded(error) {
    const reason = this.#abortion?.settle();
    if (error !== null && reason !== undefined) error.cause = reason;
  }
}

// A stream that came in, as its method sees it.
class ServiceStream extends MessageStream {
  #context;
  #moving = null; // an AbortController, once somebody looks

  // `method` is its name, `resumable` says whether it can go on where its resource moves to.
  constructor(context, method, args, resumable) {
    super();
    this.#context = context;
    this.method = method;
    this.args = args;
    if (resumable) this.prefetch = PREFETCH_RESUMABLE;
    this.idLow = context.idLow;
    this.idHigh = context.idHigh;
  }

  begun() {
    incoming.add(this);
    this.grant(this.prefetch.messages, this.prefetch.bytes);
  }

  // With a token, from which resume() can go on once the message has come.
  write(value, { token } = NO_OPTIONS) {
    return this.send(value, token);
  }

  // Aborted when the resource moves, and the method is to return.
  get moving() {
    this.told = true;
    if (this.#moving === null) {
      this.#moving = new AbortController();
      if (this.stopped !== null) this.#moving.abort(this.stopped);
    }
    return this.#moving.signal;
  }

  onMoving() {
    this.stopReading(new Moved());
    this.#moving?.abort(this.stopped);
  }

  // The method has returned. One that has heard of no move has come to its end.
  returned() {
    if (this.stopped === null || !this.told) this.end();
    else if (this.sending) this.closeSend(addon.streamMoved);
  }

  // The method has thrown.
  async threw(error) {
    await this.flushed().catch(() => {});
    this.#failed(error);
  }

  #failed(error) {
    if (error instanceof Moved && this.stopped !== null) this.returned();
    else this.fail(error);
  }

  // The method may still write.
  onAbandoned() {}

  onDestroyed(error) {
    if (error === null) this.cancel();
    else this.#failed(error);
  }

  // Ends it as the method's return does.
  [asyncDispose]() {
    this.end();
    return this.flushed().catch(() => {});
  }

  onEnded(error) {
    this.#context.ended();
    if (error !== null) this.#context.onCancelled();
  }
}

module.exports = { ClientStream, ServiceStream, rejected };
