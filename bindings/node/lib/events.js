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

const begun = new Tokens(); // calls and streams of ours
const objects = new Tokens(); // clients and services
const methods = new Tokens();
const incoming = new Map(); // by slot: {idHigh, onCancelled()} and incoming streams

function incomingOf(r) {
  const entry = incoming.get(shared.events[r + Event.ID_LOW]);
  return entry !== undefined && entry.idHigh === shared.events[r + Event.ID_HIGH]
    ? entry
    : undefined;
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
    case EventType.WRITABLE:
      return streamOf(r)?.onWritable();
    case EventType.STREAM_END: {
      const stream = streamOf(r);
      if (token !== 0) begun.remove(token);
      return stream?.onEnd(r, large);
    }
    case EventType.SERVICE_STATE:
      return objects.get(token).onState(r, large);
    case EventType.CLOSED: {
      const object = objects.get(token);
      objects.remove(token);
      return object.onClosed();
    }
    default:
      return undefined;
  }
}

setDispatcher((count, large) => {
  for (let i = 0, r = 0; i < count; i++, r += Event.WORDS) dispatchOne(r, large);
});

module.exports = { begun, objects, methods, incoming };
