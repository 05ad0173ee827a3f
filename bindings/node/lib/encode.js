'use strict';
// JavaScript to MessagePack, into the scratch memory that the addon reads from.
//
//   numbers           integers where they are integers, else floats; -0 is a float
//   undefined         null; left out as a property of an object
//   typed arrays      binary: their bytes
//   Date, Timestamp   timestamps
//   Error             {name, message} and its own fields
//   toJSON()          what it returns
//   functions, symbols, and text with half of a surrogate pair are refused

const { types } = require('node:util');
const { Timestamp, Ext } = require('./values');

const SCRATCH_BYTES = 64 * 1024;
const SCRATCH_KEPT_MAX = 1024 * 1024;
const DEPTH_MAX = 128;
const SHORT_TEXT = 40; // up to here the loop below is faster than a call of the runtime
const UINT64_MAX = 0xffffffffffffffffn;
const INT64_MIN = -0x8000000000000000n;

let out = null; // Buffer
let view = null;
let position = 0;
let depth = 0;
let active = false;

function useScratch(size) {
  const buffer = Buffer.allocUnsafeSlow(size);
  if (out !== null) out.copy(buffer, 0, 0, position);
  out = buffer;
  view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function ensure(size) {
  if (position + size > out.length) useScratch(Math.max(out.length * 2, position + size + 1024));
}

function header(length, fixed, fixedMax, code8, code16) {
  if (length <= fixedMax) {
    out[position++] = fixed | length;
  } else if (code8 !== 0 && length <= 0xff) {
    out[position++] = code8;
    out[position++] = length;
  } else if (length <= 0xffff) {
    out[position++] = code16;
    out[position++] = length >>> 8;
    out[position++] = length & 0xff;
  } else {
    out[position++] = code16 + 1;
    view.setUint32(position, length);
    position += 4;
  }
}

function writeInteger(value) {
  if (value >= 0) {
    if (value < 0x80) {
      out[position++] = value;
    } else if (value <= 0xff) {
      out[position++] = 0xcc;
      out[position++] = value;
    } else if (value <= 0xffff) {
      out[position++] = 0xcd;
      out[position++] = value >>> 8;
      out[position++] = value & 0xff;
    } else if (value <= 0xffffffff) {
      out[position++] = 0xce;
      view.setUint32(position, value);
      position += 4;
    } else {
      out[position++] = 0xcf;
      writeInt64(value);
    }
  } else if (value >= -0x20) {
    out[position++] = 0x100 + value;
  } else if (value >= -0x80) {
    out[position++] = 0xd0;
    out[position++] = 0x100 + value;
  } else if (value >= -0x8000) {
    out[position++] = 0xd1;
    view.setInt16(position, value);
    position += 2;
  } else if (value >= -0x80000000) {
    out[position++] = 0xd2;
    view.setInt32(position, value);
    position += 4;
  } else {
    out[position++] = 0xd3;
    writeInt64(value);
  }
}

// A number that is an integer, in 8 bytes.
function writeInt64(value) {
  const high = Math.floor(value / 0x100000000);
  view.setInt32(position, high);
  view.setUint32(position + 4, value - high * 0x100000000);
  position += 8;
}

function writeNumber(value) {
  if (Number.isSafeInteger(value) && (value !== 0 || 1 / value > 0)) return writeInteger(value);
  out[position++] = 0xcb;
  view.setFloat64(position, value);
  position += 8;
}

function writeBigInt(value) {
  if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) {
    return writeInteger(Number(value));
  }
  if (value > UINT64_MAX || value < INT64_MIN) {
    throw new RangeError(`the integer ${value} does not fit in 64 bits`);
  }
  out[position++] = value > 0 ? 0xcf : 0xd3;
  view.setBigUint64(position, BigInt.asUintN(64, value));
  position += 8;
}

function writeShortAscii(value, length) {
  const headerBytes = length < 32 ? 1 : 2;
  const start = position + headerBytes;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code > 0x7f) return false;
    out[start + i] = code;
  }
  header(length, 0xa0, 31, 0xd9, 0xda);
  position += length;
  return true;
}

function writeText(value) {
  const length = value.length;
  ensure(5 + length * 3);
  if (length <= SHORT_TEXT && writeShortAscii(value, length)) return;
  if (!value.isWellFormed()) {
    throw new TypeError('a text has half of a surrogate pair, and is no Unicode text');
  }
  // Written behind the longest header, and moved to where it belongs.
  const start = position + 5;
  const size = out.utf8Write(value, start);
  header(size, 0xa0, 31, 0xd9, 0xda);
  if (position !== start) out.copyWithin(position, start, start + size);
  position += size;
}

function writeBytes(value) {
  const data = Buffer.isBuffer(value)
    ? value
    : ArrayBuffer.isView(value)
      ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      : Buffer.from(value);
  ensure(5 + data.length);
  if (data.length <= 0xff) {
    out[position++] = 0xc4;
    out[position++] = data.length;
  } else {
    header(data.length, 0, -1, 0, 0xc5);
  }
  data.copy(out, position);
  position += data.length;
}

function writeArray(value) {
  header(value.length, 0x90, 15, 0, 0xdc);
  for (let i = 0; i < value.length; i++) write(value[i]);
}

function writeMap(value) {
  header(value.size, 0x80, 15, 0, 0xde);
  for (const [key, item] of value) {
    write(key);
    write(item);
  }
}

function writeObject(value) {
  const names = Object.keys(value);
  let count = names.length;
  const items = new Array(count);
  for (let i = 0; i < names.length; i++) {
    items[i] = value[names[i]];
    if (items[i] === undefined) count--;
  }
  header(count, 0x80, 15, 0, 0xde);
  for (let i = 0; i < names.length; i++) {
    if (items[i] === undefined) continue;
    writeText(names[i]);
    write(items[i]);
  }
}

function writeExt(type, data) {
  ensure(6 + data.length);
  const fixed = [1, 2, 4, 8, 16].indexOf(data.length);
  if (fixed >= 0) {
    out[position++] = 0xd4 + fixed;
  } else if (data.length <= 0xff) {
    out[position++] = 0xc7;
    out[position++] = data.length;
  } else {
    header(data.length, 0, -1, 0, 0xc8);
  }
  view.setInt8(position++, type);
  out.set(data, position);
  position += data.length;
}

// As the format has them: the shortest of its three forms.
function writeTimestamp(seconds, nanos) {
  if (seconds >= 0 && seconds <= 0xffffffff && nanos === 0) {
    out[position++] = 0xd6;
    out[position++] = 0xff;
    view.setUint32(position, Number(seconds));
    position += 4;
  } else if (seconds >= 0 && seconds <= 0x3ffffffff) {
    const number = Number(seconds);
    out[position++] = 0xd7;
    out[position++] = 0xff;
    view.setUint32(position, nanos * 4 + Math.floor(number / 0x100000000));
    view.setUint32(position + 4, number % 0x100000000);
    position += 8;
  } else {
    const wide = BigInt(seconds);
    if (BigInt.asIntN(64, wide) !== wide) {
      throw new RangeError('the seconds of a Timestamp do not fit in 64 bits');
    }
    out[position++] = 0xc7;
    out[position++] = 12;
    out[position++] = 0xff;
    view.setUint32(position, nanos);
    view.setBigInt64(position + 4, wide);
    position += 12;
  }
}

function writeDate(value) {
  const ms = value.getTime();
  if (Number.isNaN(ms)) throw new TypeError('a Date is invalid');
  const seconds = Math.floor(ms / 1000);
  writeTimestamp(seconds, (ms - seconds * 1000) * 1000000);
}

function writeClass(value) {
  if (types.isDate(value)) return writeDate(value);
  if (value instanceof Map) return writeMap(value);
  if (value instanceof Set) return writeArray(Array.from(value));
  if (value instanceof Timestamp) return writeTimestamp(value.seconds, value.nanos);
  if (value instanceof Ext) return writeExt(value.type, value.data);
  if (typeof value.toJSON === 'function') return write(value.toJSON());
  if (types.isNativeError(value) || value instanceof Error) {
    return writeObject({ name: value.name, message: value.message, ...value });
  }
  return writeObject(value);
}

function writeReference(value) {
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return writeBytes(value);
  if (++depth > DEPTH_MAX) {
    throw new RangeError(`a value is nested more than ${DEPTH_MAX} deep, or contains itself`);
  }
  if (Array.isArray(value)) {
    writeArray(value);
  } else {
    const prototype = Object.getPrototypeOf(value);
    const plain = prototype === Object.prototype || prototype === null;
    if (plain && typeof value.toJSON !== 'function') writeObject(value);
    else writeClass(value);
  }
  depth--;
}

function write(value) {
  ensure(16);
  switch (typeof value) {
    case 'string':
      return writeText(value);
    case 'number':
      return writeNumber(value);
    case 'boolean':
      out[position++] = value ? 0xc3 : 0xc2;
      return;
    case 'undefined':
      out[position++] = 0xc0;
      return;
    case 'bigint':
      return writeBigInt(value);
    case 'object':
      if (value !== null) return writeReference(value);
      out[position++] = 0xc0;
      return;
    default:
      throw new TypeError(`a ${typeof value} cannot be sent`);
  }
}

function encodeNow(value) {
  active = true;
  depth = 0;
  position = 0;
  try {
    write(value);
  } finally {
    active = false;
  }
}

// Encodes `value` at the start of the scratch memory, where it is until the next call; its size is
// scratchUsed(). Returns null, or, when a getter or toJSON() of another value led here, a Buffer.
function encode(value) {
  if (active) return encodeAside(value);
  if (out === null || out.length > SCRATCH_KEPT_MAX) {
    out = null;
    useScratch(SCRATCH_BYTES);
  }
  encodeNow(value);
  return null;
}

function encodeAside(value) {
  const saved = [out, view, position, depth];
  out = null;
  useScratch(1024);
  try {
    encodeNow(value);
    return Buffer.from(out.subarray(0, position));
  } finally {
    [out, view, position, depth] = saved;
    active = true;
  }
}

// Puts bytes behind what is in the scratch memory already.
function append(data) {
  ensure(data.length);
  data.copy(out, position);
  position += data.length;
}

// Nothing in the scratch memory yet.
function resetScratch() {
  if (out === null) useScratch(SCRATCH_BYTES);
  position = 0;
}

const scratch = () => out;
const scratchUsed = () => position;

module.exports = { encode, append, resetScratch, scratch, scratchUsed, busy: () => active };
