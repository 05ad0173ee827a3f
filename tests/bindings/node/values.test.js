'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');
const { lever, inner, folder, source } = require('./lever');

const encoder = inner('encode');
const { decode } = inner('decode');
const { addon } = inner('native');
const vectors = require(path.join(source, 'tests', 'vectors', 'values.json'));

function toBytes(input) {
  if (typeof input === 'string') return Buffer.from(input, 'hex');
  const { hex, times = 1, then = '', then_times: thenTimes = 1 } = input;
  return Buffer.from(hex.repeat(times) + then.repeat(thenTimes), 'hex');
}

function encoded(value) {
  encoder.encode(value);
  return Buffer.from(encoder.scratch().subarray(0, encoder.scratchUsed()));
}

function decoded(bytes) {
  return decode(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, false);
}

const client = new lever.Client({ echo: true });
const echo = async (value) => (await client.invoke('/echo/echo', 0, value))[1];

// What JavaScript has one value for is written as the first of the two: integral floats as integers;
// a repeated key is kept once.
const WRITTEN_OTHERWISE = new Map([
  ['cb3ff0000000000000', '01'],
  ['cb0000000000000000', '00'],
  ['82a16101a16102', '81a16102'],
  ['82a624627974657301a624627974657302', '81a624627974657302'],
]);

test('every vector comes back as the same bytes, but for what JavaScript does not tell apart', () => {
  const otherwise = new Set();
  for (const { msgpack } of vectors.both) {
    const back = encoded(decoded(Buffer.from(msgpack, 'hex'))).toString('hex');
    if (back === msgpack) continue;
    assert.strictEqual(back, WRITTEN_OTHERWISE.get(msgpack), msgpack);
    otherwise.add(msgpack);
  }
  assert.ok(vectors.both.length > 90);
  assert.strictEqual(otherwise.size, WRITTEN_OTHERWISE.size);
});

test('valid inputs decode to what means the same', () => {
  for (const input of [
    ...vectors.valid_msgpack,
    ...vectors.msgpack_to_json.map((v) => v.msgpack),
  ]) {
    const bytes = toBytes(input);
    assert.strictEqual(addon.valueCheck(bytes), 0);
    const value = decoded(bytes);
    assert.strictEqual(addon.valueCheck(encoded(value)), 0);
    assert.deepStrictEqual(decoded(encoded(value)), value);
  }
});

test('invalid inputs are refused before anything decodes them', () => {
  for (const input of vectors.invalid_msgpack) {
    assert.strictEqual(addon.valueCheck(toBytes(input)), 3, JSON.stringify(input));
  }
  assert.ok(vectors.invalid_msgpack.length > 10);
});

test('native types go there and come back', async () => {
  const values = [
    null,
    true,
    false,
    0,
    -0,
    1,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 52,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32769,
    -(2 ** 31),
    -(2 ** 31) - 1,
    1.5,
    -1e300,
    5e-324,
    NaN,
    Infinity,
    -Infinity,
    2n ** 53n,
    -(2n ** 53n),
    2n ** 63n,
    2n ** 64n - 1n,
    -(2n ** 63n),
    '',
    'Ann',
    'grüß € 😀',
    'x'.repeat(31),
    'x'.repeat(32),
    'ü'.repeat(20),
    'x'.repeat(255),
    'x'.repeat(256),
    'é'.repeat(40000),
    'x'.repeat(70000),
    Buffer.alloc(0),
    Buffer.from('hello'),
    Buffer.alloc(300, 7),
    Buffer.alloc(70000, 8),
    [],
    [1, [2, [3]]],
    new Array(16).fill(1),
    new Array(70000).fill(2),
    {},
    { a: 1, b: { c: 'd' } },
    Object.fromEntries(Array.from({ length: 70000 }, (_, i) => [`k${i}`, i])),
    new Map([
      [1, 'a'],
      ['b', 2],
    ]),
    new Map([
      [[1], 'a'],
      [null, 2],
    ]),
    new Date(0),
    new Date(-1),
    new Date(1.7e12),
    new Date(-8.64e15),
    new Date(8.64e15),
    new lever.Timestamp(5, 1),
    new lever.Timestamp(-5, 999999999),
    new lever.Timestamp(2 ** 40, 5),
    new lever.Timestamp(2n ** 62n, 0),
    new lever.Ext(7, Buffer.from([0])),
    new lever.Ext(-2, Buffer.alloc(3)),
    ...[1, 2, 4, 8, 16, 17, 300, 70000].map((n) => new lever.Ext(0x72, Buffer.alloc(n, n))),
  ];
  for (const value of values) assert.deepStrictEqual(await echo(value), value);
});

test('what has no type of its own is sent as the nearest', async () => {
  class Point {
    constructor(x) {
      this.x = x;
    }
    get double() {
      return this.x * 2;
    }
  }
  assert.strictEqual(await echo(undefined), null);
  assert.deepStrictEqual(await echo({ a: undefined, b: 1 }), { b: 1 });
  assert.deepStrictEqual(await echo(new Set([1, 2])), [1, 2]);
  assert.deepStrictEqual(await echo(new Point(3)), { x: 3 });
  assert.deepStrictEqual(await echo({ toJSON: () => ['json'] }), ['json']);
  assert.deepStrictEqual(await echo(new Float32Array([1])), Buffer.from([0, 0, 0x80, 0x3f]));
  assert.deepStrictEqual(await echo(new Uint8Array([1, 2]).subarray(1)), Buffer.from([2]));
  assert.deepStrictEqual(await echo(new Uint8Array([1, 2]).buffer), Buffer.from([1, 2]));
  assert.deepStrictEqual(await echo(Object.assign(new TypeError('no'), { at: 5 })), {
    name: 'TypeError',
    message: 'no',
    at: 5,
  });
  assert.strictEqual(await echo(5n), 5);
  assert.deepStrictEqual(await echo([1, , 3]), [1, null, 3]); // eslint-disable-line no-sparse-arrays
});

test('what cannot be sent is refused, and nothing of it is', async () => {
  const circle = [];
  circle.push(circle);
  let deep = 1;
  for (let i = 0; i < 130; i++) deep = [deep];
  const refused = [
    2n ** 64n,
    -(2n ** 63n) - 1n,
    () => 1,
    Symbol('s'),
    { f() {} },
    'a\ud800b',
    circle,
    'x'.repeat(100) + '\udc00',
    deep,
    new Date(NaN),
    { '\ud800': 1 },
  ];
  for (const value of refused) {
    await assert.rejects(echo(value), {
      name: 'LeverError',
      code: 'INVALID_ARGUMENT',
      executed: 'no',
    });
  }
  assert.strictEqual(await echo(1), 1);
});

test('a key named __proto__ is a key like any other', async () => {
  const value = JSON.parse('{"__proto__": {"polluted": true}, "a": 1}');
  const back = await echo(value);
  assert.deepStrictEqual(Object.keys(back), ['__proto__', 'a']);
  assert.strictEqual(back.polluted, undefined);
  assert.strictEqual(Object.getPrototypeOf(back), Object.prototype);
  assert.strictEqual({}.polluted, undefined);
});

test("bytes that were received are the program's own", async () => {
  const one = await echo(Buffer.from('first'));
  await echo(Buffer.from('other'));
  assert.strictEqual(one.toString(), 'first');
});

test('a getter that calls while a value is encoded disturbs neither', async () => {
  let inside;
  const outside = await echo({
    before: 'x'.repeat(50),
    get call() {
      inside = echo({ nested: 'y'.repeat(3000) });
      return 'done';
    },
    after: 'z'.repeat(50),
  });
  assert.deepStrictEqual(outside, { before: 'x'.repeat(50), call: 'done', after: 'z'.repeat(50) });
  assert.deepStrictEqual(await inside, { nested: 'y'.repeat(3000) });
});

test('values are those of another implementation, where that has them', () => {
  const { Packr } = require(path.join(source, 'bindings', 'node', 'node_modules', 'msgpackr'));
  const peer = new Packr({ useRecords: false, int64AsType: 'auto', variableMapSize: true });
  const values = [
    null,
    true,
    'text',
    'ü'.repeat(100),
    1,
    -1,
    300,
    -70000,
    1.25,
    [1, 'a', [null]],
    { a: { b: [1, 2, { c: 'd' }] } },
    new Date(1234567890123),
    Buffer.from('bytes'),
    2n ** 60n,
  ];
  for (const value of values) {
    assert.deepStrictEqual(peer.unpack(encoded(value)), value);
    assert.deepStrictEqual(decoded(peer.pack(value)), value);
  }
});

test('a Timestamp whose seconds do not fit is refused, not cut off', () => {
  for (const seconds of [2n ** 63n, -(2n ** 63n) - 1n, 2n ** 70n + 5n]) {
    assert.throws(() => encoded(new lever.Timestamp(seconds)), RangeError);
  }
  const last = new lever.Timestamp(2n ** 63n - 1n, 5);
  assert.deepStrictEqual(decoded(encoded(last)), last);
});

test('lib/codes.js and its types are made from the list of status codes as it is', () => {
  const maker = path.join(source, 'bindings', 'node', 'tools', 'make-codes.js');
  for (const [file, ...flags] of [['codes.js'], ['codes.d.ts', '--types']]) {
    const made = execFileSync(process.execPath, [maker, ...flags], { encoding: 'utf8' });
    assert.strictEqual(fs.readFileSync(path.join(folder, 'lib', file), 'utf8'), made);
  }
  assert.strictEqual(inner('codes').nameOf[32], 'METHOD_ERROR');
});
