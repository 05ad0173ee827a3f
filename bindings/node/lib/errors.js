'use strict';
// The two kinds of errors that a call ends with.

const { Status, nameOf, textOf } = require('./codes');

const EXECUTED_NO = 1;
// Of a MethodError: its own, not to be overwritten by fields of the value.
const OWN_FIELDS = new Set(['name', 'message', 'stack', 'value', '__proto__', 'constructor']);

// The method itself answered with an error. `value` is what it threw; `message` and the other
// fields of the value are those of this error too.
class MethodError extends Error {
  constructor(value) {
    super(messageOf(value));
    this.value = value;
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return;
    for (const [key, field] of Object.entries(value)) {
      if (!OWN_FIELDS.has(key)) this[key] = field;
    }
  }
}
Object.defineProperty(MethodError.prototype, 'name', {
  value: 'MethodError',
  writable: true,
  configurable: true,
});

function messageOf(value) {
  if (typeof value === 'string') return value;
  if (value !== null && typeof value === 'object' && typeof value.message === 'string') {
    return value.message;
  }
  return 'the method answered with an error';
}

// Trouble of the platform. `code` is the name of a status ('UNAVAILABLE'), `executed` is 'no' where
// the method surely did not run, else 'unknown'.
class LeverError extends Error {
  constructor(code, message, executed = 'unknown', options = undefined) {
    super(message, options);
    this.code = code;
    this.executed = executed;
  }
}
Object.defineProperty(LeverError.prototype, 'name', {
  value: 'LeverError',
  writable: true,
  configurable: true,
});

// What reads of a method's stream fail with when its resource moves and the stream goes on there. Whoever
// cleans up after an error does so; thrown on, or with a return, it ends the method here.
class Moved extends Error {
  constructor() {
    super('the resource moves to another instance, where the stream goes on');
  }
}
Object.defineProperty(Moved.prototype, 'name', {
  value: 'Moved',
  writable: true,
  configurable: true,
});

// The error for a status of the library.
function errorFor(status, message, executed, options) {
  const code = nameOf[status] ?? 'UNKNOWN';
  return new LeverError(
    code,
    message || textOf[status] || code,
    executed === EXECUTED_NO ? 'no' : 'unknown',
    options
  );
}

// What was refused before anything was sent.
function refusal(status, message, options) {
  return errorFor(status, message, EXECUTED_NO, options);
}

// An argument that cannot be used or sent.
function invalid(message, options) {
  return refusal(Status.INVALID_ARGUMENT, message, options);
}

module.exports = { MethodError, LeverError, Moved, errorFor, refusal, invalid };
