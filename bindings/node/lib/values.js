'use strict';
// What MessagePack has and JavaScript has not.

const { types } = require('node:util');

// A point in time that a Date cannot hold exactly: seconds since 1970 (a number, or a BigInt beyond
// 2^53) and nanoseconds (0 to 999,999,999).
class Timestamp {
  constructor(seconds, nanos = 0) {
    if (typeof seconds !== 'bigint' && !Number.isSafeInteger(seconds)) {
      throw new TypeError('seconds: an integer is expected');
    }
    if (!Number.isInteger(nanos) || nanos < 0 || nanos > 999999999) {
      throw new RangeError('nanos: an integer from 0 to 999999999 is expected');
    }
    this.seconds = seconds;
    this.nanos = nanos;
  }
}

// An extension that this library gives no meaning: its type (-128 to 127) and its bytes.
class Ext {
  constructor(type, data) {
    if (!Number.isInteger(type) || type < -128 || type > 127) {
      throw new RangeError('type: an integer from -128 to 127 is expected');
    }
    if (!types.isUint8Array(data)) throw new TypeError('data: bytes are expected');
    this.type = type;
    this.data = data;
  }
}

module.exports = { Timestamp, Ext };
