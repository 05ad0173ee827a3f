'use strict';
// Who gets which event.
//
// Calls and streams of ours are known by the token that they were begun with, clients and services
// by theirs, methods by theirs. What came in is known by the slot of its id, which is its own while
// it lives.

const { Event, EventType, setDispatcher, shared } = require('./native');

// A table of things that the addon names by a number; 0 is none.
class Tokens {
  #entries = [null];
  #free = [];

  add(entry) {
    const token = this.#free.length > 0 ? this.#free.pop() : this.#entries.length;
    this.#entries[token] = entry;
    return token;
  }

  get(token) {
    return this.#entries[token];
  }

  remove(token) {
    this.#entries[token] = null;
    this.#free.push(token);
  }
}

// What came in, by its id. Slots are used again, the last one first: an array of them stays short.
class Incoming {
  #entries = [];

  add(entry) {
    while (this.#entries.length <= entry.idLow) this.#entries.push(undefined);
    this.#entries[entry.idLow] = entry;
  }

  get(idLow, idHigh) {
    const entry = this.#entries[idLow];
    return entry !== undefined && entry.idHigh === idHigh ? entry : undefined;
  }

  // The slot may be another's by now.
  remove(idLow, idHigh) {
    if (this.get(idLow, idHigh) !== undefined) this.#entries[idLow] = undefined;
  }
}

const begun = new Tokens(); // calls and streams of ours
const objects = new Tokens(); // clients and services
const methods = new Tokens();
const incoming = new Incoming(); // contexts of calls, and incoming streams

function incomingOf(r) {
  return incoming.get(shared.events[r + Event.ID_LOW], shared.events[r + Event.ID_HIGH]);
}

function streamOf(r) {
  const token = shared.events[r + Event.TOKEN];
  return token !== 0 ? begun.get(token) : incomingOf(r);
}

function dispatchOne(r, large) {
  const words = shared.events;
  const token = words[r + Event.TOKEN];
  switch (words[r]) {
    case EventType.CALL_DONE: {
      const call = begun.get(token);
      begun.remove(token);
      return call.onDone(r, large);
    }
    case EventType.INCOMING_CALL:
      return methods.get(token).onCall(r, large);
    case EventType.INCOMING_STREAM:
      return methods.get(token).onStream(r, large);
    case EventType.INCOMING_CANCELLED:
      return incomingOf(r)?.onCancelled();
    case EventType.STREAM_MESSAGE:
      return streamOf(r)?.onMessage(r, large);
    case EventType.STREAM_HALF_CLOSED:
      return streamOf(r)?.onHalfClosed();
    case EventType.STREAM_MOVING:
      return streamOf(r)?.onMoving();
    case EventType.WRITABLE:
      return streamOf(r)?.onWritable();
    case EventType.STREAM_END: {
      const stream = streamOf(r);
      if (token !== 0) begun.remove(token);
      return stream?.onEnd(r, large);
    }
    case EventType.SERVICE_STATE:
      return objects.get(token).onState(r, large);
    case EventType.RESOURCE_OPEN:
      return objects.get(token).onResourceOpen(r, large);
    case EventType.RESOURCE_CLOSE:
      return objects.get(token).onResourceClose(r, large);
    case EventType.CLOSED: {
      const object = objects.get(token);
      objects.remove(token);
      return object.onClosed();
    }
    default:
      return undefined;
  }
}

// A listener of the program's that throws (of a service's events) takes none of the others with it.
function dispatch(r, large) {
  try {
    dispatchOne(r, large);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}

// How many events have come, for those who wait until no more do (lib/testing.js).
const delivered = { count: 0 };

setDispatcher((count, large) => {
  delivered.count += count;
  for (let i = 0, r = 0; i < count; i++, r += Event.WORDS) dispatch(r, large);
});

module.exports = { begun, objects, methods, incoming, delivered };
