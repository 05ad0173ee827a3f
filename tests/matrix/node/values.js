'use strict';
// Each value of the matrix by name, as a program in JavaScript has it.

const lever = require('lever');

const MIB = 1024 * 1024;
const NESTED = 99;

function nested(wrap, inner) {
  let value = inner;
  for (let i = 0; i < NESTED; i++) value = wrap(value);
  return value;
}

const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

const values = {
  nil: null,
  true: true,
  false: false,
  int_zero: 0,
  int_minus_1: -1,
  int_127: 127,
  int_128: 128,
  int_255: 255,
  int_256: 256,
  int_65535: 65535,
  int_65536: 65536,
  int_minus_128: -128,
  int_minus_129: -129,
  int_2_31: 2 ** 31,
  int_minus_2_31: -(2 ** 31),
  int_minus_2_31_less_1: -(2 ** 31) - 1,
  int_2_32: 2 ** 32,
  int_2_53: 2n ** 53n,
  int_2_53_plus_1: 2n ** 53n + 1n,
  int_minus_2_53_less_1: -(2n ** 53n) - 1n,
  int_2_63_less_1: 2n ** 63n - 1n,
  int_2_64_less_1: 2n ** 64n - 1n,
  int_minus_2_63: -(2n ** 63n),
  float_half: 0.5,
  float_whole: 1.0,
  float_minus_zero: -0,
  float_nan: NaN,
  float_infinity: Infinity,
  float_minus_infinity: -Infinity,
  float_least: Number.MIN_VALUE,
  float_greatest: Number.MAX_VALUE,
  text_empty: '',
  text_ascii: 'Lever',
  text_unicode: 'Grüße, 世界 🚀',
  text_nul: 'a\0b',
  text_1_mib: 'x'.repeat(MIB),
  uuid: '123e4567-e89b-12d3-a456-426614174000',
  bytes_empty: Buffer.alloc(0),
  bytes_256: allBytes,
  bytes_1_mib: Buffer.alloc(MIB, allBytes),
  array_empty: [],
  array_mixed: [null, true, 1, 'a', Buffer.from([1]), [], {}],
  array_nested_100: nested((inner) => [inner], []),
  map_empty: {},
  map_text_keys: { a: 1, b: [2, 3] },
  map_nested_100: nested((d) => ({ d }), {}),
  map_proto_key: { ['__proto__']: 1, constructor: 2 },
  map_int_keys: new Map([[1, 'one'], [-1, 'minus one']]),
  map_mixed_keys: new Map([['s', 2], [3, 3], [true, 4], [null, 5]]),
  map_float_key: new Map([[1.5, 'x']]),
  map_bytes_key: new Map([[Buffer.from('k'), 1]]),
  map_array_key: new Map([[[1, 2], 3]]),
  time_epoch: new Date(0),
  time_millis: new Date(1_700_000_000_123),
  time_micros: new lever.Timestamp(1_700_000_000, 123_456_000),
  time_nanos: new lever.Timestamp(1_700_000_000, 123_456_789),
  time_before_1970: new Date(-500),
  time_year_1: new Date('0001-01-01T00:00:00Z'),
  time_year_10000: new Date('+010000-01-01T00:00:00Z'),
  time_greatest: new lever.Timestamp(2n ** 63n - 1n, 999_999_999),
  time_least: new lever.Timestamp(-(2n ** 63n), 0),
  ext_unknown: new lever.Ext(42, Buffer.from([1, 2, 3])),
  ext_empty: new lever.Ext(5, Buffer.alloc(0)),
  ext_negative: new lever.Ext(-100, allBytes.subarray(0, 32)),
};

module.exports = { values };
