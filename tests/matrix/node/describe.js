'use strict';
// The notation of tests/matrix/README.md: what a program got.

const { createHash } = require('node:crypto');
const lever = require('lever');

const INTEGER_LEAST = -(2 ** 63);
const INTEGER_BEYOND = 2 ** 64;
const MS_A_SECOND = 1000;

function hashed(kind, bytes) {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return `${kind}:${bytes.length}:${hash}`;
}

function describeNumber(value) {
  const whole = Number.isInteger(value) && !Object.is(value, -0);
  if (whole && value >= INTEGER_LEAST && value < INTEGER_BEYOND) return `int:${BigInt(value)}`;
  if (Number.isNaN(value)) return 'float:7ff8000000000000';
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  return `float:${bits.toString('hex')}`;
}

const describeTime = (seconds, nanos) => `time:${seconds}.${String(nanos).padStart(9, '0')}`;

function describeDate(date) {
  const ms = date.getTime();
  const seconds = Math.floor(ms / MS_A_SECOND);
  return describeTime(seconds, (ms - seconds * MS_A_SECOND) * 1e6);
}

function describeEntries(entries) {
  const texts = entries.map(([key, value]) => Buffer.from(`${describe(key)}=${describe(value)}`));
  return `{${texts.sort(Buffer.compare).join(',')}}`;
}

function describe(value) {
  if (value === null || value === undefined) return 'nil';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return describeNumber(value);
  if (typeof value === 'bigint') return `int:${value}`;
  if (typeof value === 'string') return hashed('text', Buffer.from(value));
  if (value instanceof Uint8Array) return hashed('bytes', value);
  if (Array.isArray(value)) return `[${value.map(describe).join(',')}]`;
  if (value instanceof Date) return describeDate(value);
  if (value instanceof lever.Timestamp) return describeTime(value.seconds, value.nanos);
  if (value instanceof lever.Ext) return hashed(`ext:${value.type}`, value.data);
  return describeEntries(value instanceof Map ? [...value] : Object.entries(value));
}

module.exports = { describe };
