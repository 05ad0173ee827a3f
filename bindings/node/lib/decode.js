'use strict';
// MessagePack to JavaScript.
//
// The library has checked what comes in before this sees it (depth, counts, UTF-8), so that nothing
// here looks for the end of the bytes.
//
//   integers          numbers, BigInt where they are beyond 2^53
//   maps              objects; Map if a key is not a string
//   binary            Buffer
//   timestamps        Date where that is exact, else Timestamp
//   other extensions  Ext

const { Timestamp, Ext } = require('./values');

const SHORT_TEXT = 32; // up to here the loop below is faster than a call of the runtime
const KEYS_KEPT = 1024;
const DATE_MS_MAX = 8.64e15;

let bytes = null; // Buffer
let view = null; // DataView of the same bytes
let position = 0;
let keep = false; // whether what is handed out may share memory with `bytes`

const codes = Array.from({ length: SHORT_TEXT + 1 }, (_, length) => new Array(length).fill(0));
const keys = new Array(KEYS_KEPT).fill('');

function readText(length) {
  const start = position;
  position += length;
  if (length > SHORT_TEXT) return bytes.utf8Slice(start, position);
  const text = codes[length];
  for (let i = 0; i < length; i++) {
    const code = bytes[start + i];
    if (code > 0x7f) return bytes.utf8Slice(start, position);
    text[i] = code;
  }
  return String.fromCharCode.apply(null, text);
}

// Keys come again and again: those that were seen last are kept.
function readKey(length) {
  if (length === 0) return '';
  const start = position;
  const slot = (bytes[start] * 31 + bytes[start + length - 1] * 7 + length * 131) & (KEYS_KEPT - 1);
  const kept = keys[slot];
  if (kept.length === length) {
    let i = 0;
    while (i < length && kept.charCodeAt(i) === bytes[start + i]) i++;
    if (i === length) {
      position += length;
      return kept;
    }
  }
  const key = readText(length);
  if (key.length === length) keys[slot] = key; // ASCII: the comparison above holds
  return key;
}

function readBytes(length) {
  const start = position;
  position += length;
  const part = bytes.subarray(start, position);
  return keep ? part : Buffer.from(part);
}

function readArray(length) {
  const array = new Array(length);
  for (let i = 0; i < length; i++) array[i] = read();
  return array;
}

// A key that is text, or NaN for anything else, which then is still to be read.
function textKey() {
  const head = bytes[position];
  if (head >= 0xa0 && head <= 0xbf) {
    position += 1;
    return readKey(head & 0x1f);
  }
  if (head >= 0xd9 && head <= 0xdb) return read();
  return NaN;
}

function readMap(length) {
  const object = {};
  for (let i = 0; i < length; i++) {
    const key = textKey();
    if (typeof key !== 'string') return readRestAsMap(object, i, length);
    if (key === '__proto__') {
      Object.defineProperty(object, key, {
        value: read(),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    } else {
      object[key] = read();
    }
  }
  return object;
}

function readRestAsMap(object, done, length) {
  const map = new Map(Object.entries(object));
  for (let i = done; i < length; i++) {
    const key = read();
    map.set(key, read());
  }
  return map;
}

function readInt64(high, low) {
  const number = high * 0x100000000 + low;
  if (Number.isSafeInteger(number)) return number;
  return (BigInt(high) << 32n) | BigInt(low);
}

function readTimestamp(length) {
  let seconds;
  let nanos;
  if (length === 4) {
    return new Date(view.getUint32(position) * 1000);
  } else if (length === 8) {
    const high = view.getUint32(position);
    nanos = high >>> 2;
    seconds = (high & 3) * 0x100000000 + view.getUint32(position + 4);
  } else if (length === 12) {
    nanos = view.getUint32(position);
    seconds = readInt64(view.getInt32(position + 4), view.getUint32(position + 8));
  }
  if (!(nanos <= 999999999)) return null;
  const ms = Number(seconds) * 1000 + nanos / 1000000;
  const exact = nanos % 1000000 === 0 && Math.abs(ms) <= DATE_MS_MAX;
  return exact ? new Date(ms) : new Timestamp(seconds, nanos);
}

function readExt(length) {
  const type = view.getInt8(position++);
  if (type === -1) {
    const time = readTimestamp(length);
    if (time !== null) {
      position += length;
      return time;
    }
  }
  return new Ext(type, readBytes(length));
}

function read8() {
  return bytes[position++];
}

function read16() {
  position += 2;
  return view.getUint16(position - 2);
}

function read32() {
  position += 4;
  return view.getUint32(position - 4);
}

function read() {
  const head = bytes[position++];
  if (head < 0x80) return head;
  if (head >= 0xe0) return head - 0x100;
  if (head < 0x90) return readMap(head & 0x0f);
  if (head < 0xa0) return readArray(head & 0x0f);
  if (head < 0xc0) return readText(head & 0x1f);
  switch (head) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
      return readBytes(read8());
    case 0xc5:
      return readBytes(read16());
    case 0xc6:
      return readBytes(read32());
    case 0xc7:
      return readExt(read8());
    case 0xc8:
      return readExt(read16());
    case 0xc9:
      return readExt(read32());
    case 0xca:
      position += 4;
      return view.getFloat32(position - 4);
    case 0xcb:
      position += 8;
      return view.getFloat64(position - 8);
    case 0xcc:
      return read8();
    case 0xcd:
      return read16();
    case 0xce:
      return read32();
    case 0xcf:
      position += 8;
      return readInt64(view.getUint32(position - 8), view.getUint32(position - 4));
    case 0xd0:
      return view.getInt8(position++);
    case 0xd1:
      position += 2;
      return view.getInt16(position - 2);
    case 0xd2:
      position += 4;
      return view.getInt32(position - 4);
    case 0xd3:
      position += 8;
      return readInt64(view.getInt32(position - 8), view.getUint32(position - 4));
    case 0xd4:
      return readExt(1);
    case 0xd5:
      return readExt(2);
    case 0xd6:
      return readExt(4);
    case 0xd7:
      return readExt(8);
    case 0xd8:
      return readExt(16);
    case 0xd9:
      return readText(read8());
    case 0xda:
      return readText(read16());
    case 0xdb:
      return readText(read32());
    case 0xdc:
      return readArray(read16());
    case 0xdd:
      return readArray(read32());
    case 0xde:
      return readMap(read16());
    default:
      return readMap(read32()); // 0xdf; 0xc1 was refused by the check
  }
}

// The value that begins at `offset`. With `mayKeep` the value may share memory with `from`.
function decode(from, dataView, offset, mayKeep) {
  bytes = from;
  view = dataView;
  position = offset;
  keep = mayKeep;
  return read();
}

module.exports = { decode };
