'use strict';
// Payloads of commands and events: which kind they are, and where their bytes go.
//
// The put* functions encode first and fill in the command afterwards, because encoding may run code
// of the program's. They return what native.send() takes.

const { types } = require('node:util');
const encoder = require('./encode');
const { decode } = require('./decode');
const { Status } = require('./codes');
const { errorFor, invalid, LeverError, MethodError } = require('./errors');
const { Command, Event, Kind, shared } = require('./native');

const TOKEN_BYTES_MAX = 4096; // LEVER_RESUME_TOKEN_MAX

function put(kind, aside) {
  shared.words[Command.KIND] = kind;
  shared.words[Command.PAYLOAD_BYTES] = aside === null ? encoder.scratchUsed() : 0;
  return aside;
}

// A text of something that a program has thrown, whatever that is.
function fieldOf(thrown, name, otherwise) {
  try {
    const value = thrown[name];
    return (typeof value === 'string' ? value : otherwise).toWellFormed();
  } catch {
    return otherwise;
  }
}

function encode(value) {
  try {
    return encoder.encode(value);
  } catch (error) {
    if (error instanceof LeverError) throw error;
    throw invalid(fieldOf(error, 'message', 'it cannot be sent'), { cause: error });
  }
}

// Bytes go as they are, everything else as a value.
function putMessage(value) {
  if (!types.isUint8Array(value)) return put(Kind.VALUE, encode(value));
  encoder.resetScratch();
  return put(Kind.RAW, value);
}

// What a resource is closed with: undefined is nothing.
function putCarried(value) {
  if (value !== undefined) return putMessage(value);
  encoder.resetScratch();
  return put(Kind.NONE, null);
}

// One argument of bytes goes as it is.
function putArguments(args) {
  if (!Array.isArray(args)) throw invalid('the arguments must be an array');
  if (args.length === 1 && types.isUint8Array(args[0])) return putMessage(args[0]);
  return put(Kind.VALUE, encode(args));
}

// What a method has thrown.
function putError(thrown) {
  if (types.isUint8Array(thrown)) {
    encoder.resetScratch();
    return put(Kind.ERROR_RAW, thrown);
  }
  let aside;
  try {
    aside = encoder.encode(errorValue(thrown));
  } catch (error) {
    // It has a field that cannot be sent.
    const why = fieldOf(error, 'message', 'it cannot be sent');
    aside = encoder.encode({
      name: fieldOf(thrown, 'name', 'Error'),
      message: fieldOf(thrown, 'message', why),
    });
  }
  return put(Kind.ERROR_VALUE, aside);
}

// The own fields of an Error that are no values (its cause, what it wraps) stay here.
function errorValue(thrown) {
  if (!(thrown instanceof Error) && !types.isNativeError(thrown)) return thrown;
  if (typeof thrown.toJSON === 'function') return thrown.toJSON();
  if (thrown.name === 'MethodError' && 'value' in thrown) return thrown.value;
  const { stack, cause, ...fields } = thrown;
  return { ...fields, name: thrown.name, message: thrown.message };
}

// A line for those who are told that something has thrown.
function textOfThrown(thrown) {
  if (typeof thrown === 'string') return thrown.toWellFormed();
  return fieldOf(thrown, 'message', 'no reason was given') || 'no reason was given';
}

// An integer of 64 bits of an event, as decoded ones are.
function integerOf(r, low) {
  const number = shared.events[r + low + 1] * 0x100000000 + shared.events[r + low];
  if (Number.isSafeInteger(number)) return number;
  return (BigInt(shared.events[r + low + 1]) << 32n) | BigInt(shared.events[r + low]);
}

// Where the bytes of an event are: its record `r`, and the memories of their own.
function sourceOf(r, large) {
  const index = shared.events[r + Event.LARGE];
  return index === 0 ? shared.bytes : large[index - 1];
}

// The payload of an event as a value; undefined without one.
function takePayload(r, large) {
  const words = shared.events;
  const kind = words[r + Event.KIND];
  if (kind === Kind.NONE) return undefined;
  const offset = words[r + Event.PAYLOAD];
  const source = sourceOf(r, large);
  const own = source !== shared.bytes;
  if (kind === Kind.RAW || kind === Kind.ERROR_RAW) {
    const bytes = source.subarray(offset, offset + words[r + Event.PAYLOAD_BYTES]);
    return own ? bytes : Buffer.from(bytes);
  }
  if (!own) return decode(source, shared.view, offset, false);
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  return decode(source, view, offset, true);
}

function takeText(r, large, offset, size) {
  const start = shared.events[r + offset];
  return sourceOf(r, large).utf8Slice(start, start + shared.events[r + size]);
}

function takeMessage(r, large) {
  if (shared.events[r + Event.MESSAGE_BYTES] === 0) return '';
  return takeText(r, large, Event.MESSAGE, Event.MESSAGE_BYTES);
}

// The error of an event's record.
function errorOf(r, large) {
  const status = shared.events[r + Event.STATUS];
  if (status === Status.METHOD_ERROR) return new MethodError(takePayload(r, large));
  return errorFor(status, takeMessage(r, large), shared.events[r + Event.EXECUTED]);
}

// From where a stream goes on that has run elsewhere, or could go on after its end: {token, received};
// null if it is no such stream.
function takeResumePoint(r, large) {
  if (shared.events[r + Event.STATE] === 0) return null;
  const start = shared.events[r + Event.RESUME_TOKEN];
  const size = shared.events[r + Event.TOKEN_BYTES];
  const token =
    size === 0 ? Buffer.alloc(0) : Buffer.from(sourceOf(r, large).subarray(start, start + size));
  return { token, received: integerOf(r, Event.RECEIVED_LOW) };
}

// A resume token behind what the command has in the scratch memory.
function putToken(token) {
  if (encoder.busy()) throw invalid('a token cannot be sent from within toJSON() or a getter');
  if (!types.isUint8Array(token) && typeof token !== 'string') {
    throw invalid('token: bytes or a text are expected');
  }
  const bytes = Buffer.from(token);
  if (bytes.length > TOKEN_BYTES_MAX) {
    throw invalid(`token: at most ${TOKEN_BYTES_MAX} bytes are expected`);
  }
  encoder.append(bytes);
  shared.words[Command.TOKEN_BYTES] = bytes.length;
}

// A copy of an event's metadata, still to be read; null without.
function takeMetadata(r, large) {
  const size = shared.events[r + Event.METADATA_BYTES];
  if (size === 0) return null;
  const start = shared.events[r + Event.METADATA];
  return Buffer.from(sourceOf(r, large).subarray(start, start + size));
}

// Who calls is mostly who called last.
let lastCaller = '';
function takeCaller(r, large) {
  const size = shared.events[r + Event.CALLER_BYTES];
  if (size === 0) return '';
  const source = sourceOf(r, large);
  const start = shared.events[r + Event.CALLER];
  if (lastCaller.length === size) {
    let i = 0;
    while (i < size && lastCaller.charCodeAt(i) === source[start + i]) i++;
    if (i === size) return lastCaller;
  }
  lastCaller = source.latin1Slice(start, start + size);
  return lastCaller;
}

module.exports = {
  putMessage,
  putArguments,
  putError,
  putCarried,
  takePayload,
  takeMessage,
  takeMetadata,
  takeCaller,
  putToken,
  errorOf,
  takeResumePoint,
  integerOf,
  textOfThrown,
};
