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
const { refusal } = require('./errors');
const { incoming } = require('./events');
const native = require('./native');
const { errorOf, putError, putMessage, takePayload } = require('./payload');

const { addon, Command, Event, shared } = native;

// Credit: messages and bytes that may lie here unread. Granted again when half of it was read.
const PREFETCH_MESSAGES = 64;
const PREFETCH_BYTES = 256 * 1024;

const DONE = Promise.resolve();

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
  #waiting = []; // writes that wait for room: {kind, bytes, resolve, reject}
  #sendClosed = false; // end() was called
  #closeDue = false; // and is to be carried out when nothing waits any more
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

  // ---- Writing ----

  // Sends one message. Resolves when the library has taken it: waiting for that is back-pressure.
  write(value) {
    if (this.#ended) return rejected(this.#error ?? this.#over());
    if (this.#sendClosed) return rejected(this.#over());
    let aside;
    try {
      aside = putMessage(value);
    } catch (error) {
      return rejected(error);
    }
    const kind = shared.words[Command.KIND];
    if (this.#waiting.length > 0) return this.#wait(kind, aside);
    const status = this.#send(addon.streamWrite, kind, aside);
    if (status === Status.OK) return DONE;
    if (status === Status.WOULD_BLOCK) return this.#wait(kind, aside);
    return rejected(refusal(status, 'the message cannot be sent'));
  }

  // No more messages from this side.
  end() {
    if (this.#sendClosed || this.#ended) return;
    this.#sendClosed = true;
    this.#closeDue = true;
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
    this.#closeDue = false;
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

  #wait(kind, aside) {
    const bytes = aside ?? Buffer.from(encoder.scratch().subarray(0, encoder.scratchUsed()));
    const entry = { kind, bytes, resolve: null, reject: null, promise: null };
    entry.promise = new Promise((resolve, reject) => {
      entry.resolve = resolve;
      entry.reject = reject;
    });
    entry.promise.catch(() => {});
    this.#waiting.push(entry);
    return entry.promise;
  }

  #closeIfDue() {
    if (!this.#closeDue || this.#waiting.length > 0) return;
    this.#closeDue = false;
    this.#name();
    addon.streamCloseSend();
  }

  // ---- As other things ----

  // One of Node's own streams, to be piped: of objects, or with {bytes: true} of bytes.
  toDuplex(options) {
    const { MessageDuplex } = require('./duplex'); // of which most programs have no need
    return new MessageDuplex(this, options);
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
    if (this.#readAt < this.#messages.length) {
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
    const due =
      this.#usedMessages * 2 >= PREFETCH_MESSAGES || this.#usedBytes * 2 >= PREFETCH_BYTES;
    if (!due || this.#readEnded) return;
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
      const status = this.#send(addon.streamWrite, entry.kind, entry.bytes);
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
    if (shared.events[r + Event.STATUS] !== Status.OK) this.#error = errorOf(r, large);
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
    shared.words[Command.READ_MESSAGES] = PREFETCH_MESSAGES;
    shared.words[Command.READ_BYTES] = PREFETCH_BYTES;
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

  constructor(context) {
    super();
    this.#context = context;
    this.idLow = context.idLow;
    this.idHigh = context.idHigh;
  }

  begun() {
    incoming.add(this);
    this.grant(PREFETCH_MESSAGES, PREFETCH_BYTES);
  }

  // The method may still write.
  onAbandoned() {}

  onDestroyed(error) {
    if (error === null) this.cancel();
    else this.fail(error);
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
