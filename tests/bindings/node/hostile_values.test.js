'use strict';
// 10,000 mutated inputs through the way that calls take: each is refused as INVALID_ARGUMENT or comes
// back, and memory stays within what the inputs are worth. The seed is printed.
const assert = require('node:assert');
const path = require('node:path');
const { test } = require('node:test');
const { lever, inner, source } = require('./lever');

const native = inner('native');
const { errorOf, takePayload } = inner('payload');
const { begun } = inner('events');
const encoder = inner('encode');
const { Status } = inner('codes');
const { Command, Kind, Event, addon, shared } = native;

const ROUNDS = 10000;
const seed = Number(process.env.LEVER_TEST_SEED ?? Date.now() % 2 ** 31);

// A small generator (xorshift), so that a seed gives the same inputs again.
let state = seed | 1;
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

function toBytes(input) {
  if (typeof input === 'string') return Buffer.from(input, 'hex');
  const { hex, times = 1, then = '', then_times: thenTimes = 1 } = input;
  return Buffer.from(hex.repeat(times) + then.repeat(thenTimes), 'hex');
}

const vectors = require(path.join(source, 'tests', 'vectors', 'values.json'));
const seeds = [
  ...vectors.both.map((v) => toBytes(v.msgpack)),
  ...vectors.valid_msgpack.map(toBytes),
  ...vectors.invalid_msgpack.map(toBytes),
  Buffer.from('ddff000000', 'hex'),
  Buffer.alloc(10000, 0x91),
  Buffer.from('dfffffffff', 'hex'),
  Buffer.from('c6ffffffff00', 'hex'),
  Buffer.from('d47240', 'hex'),
];

function mutate(bytes) {
  const copy = Buffer.from(bytes);
  for (let i = random(4); i >= 0 && copy.length > 0; i--) copy[random(copy.length)] = random(256);
  switch (random(4)) {
    case 0:
      return copy.subarray(0, random(copy.length + 1));
    case 1:
      return Buffer.concat([copy, seeds[random(seeds.length)]]);
    case 2:
      return Buffer.concat([Buffer.from([0x91]), copy]);
    default:
      return copy;
  }
}

const client = new lever.Client({ echo: true });
let token = 0;
// The token that the client was made with is what its commands name.
{
  const objects = inner('events').objects;
  for (token = 1; objects.get(token) !== client;) token += 1;
}

// A call whose arguments are these bytes, whatever they are.
function callWith(bytes) {
  return new Promise((resolve, reject) => {
    const entry = {
      onDone(r, large) {
        if (shared.events[r + Event.STATUS] !== Status.OK) return reject(errorOf(r, large));
        return resolve(takePayload(r, large));
      },
    };
    encoder.resetScratch();
    const mine = begun.add(entry);
    shared.words.fill(0);
    shared.words[Command.OBJECT] = token;
    shared.words[Command.ADDRESS] = native.addressId('/echo/echo');
    shared.words[Command.KIND] = Kind.VALUE;
    shared.words[Command.TOKEN] = mine;
    shared.floats[native.COMMAND_TIMEOUT] = 0;
    const status = native.send(addon.callStart, bytes);
    if (status === Status.OK) return;
    begun.remove(mine);
    assert.strictEqual(status, Status.INVALID_ARGUMENT);
    resolve(undefined);
  });
}

test(`${ROUNDS} mutated inputs crash nothing (seed ${seed})`, async () => {
  global.gc();
  const before = process.memoryUsage().rss;
  let peak = before;
  let bytes = 0;
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const input = mutate(seeds[random(seeds.length)]);
    bytes += input.length;
    const valid = addon.valueCheck(input) === Status.OK;
    const answer = await callWith(input);
    if (answer === undefined) refused += 1;
    else assert.ok(valid && Array.isArray(answer), input.toString('hex'));
    if (valid) {
      const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
      const value = inner('decode').decode(input, view, 0, false);
      encoder.encode(value);
      const again = Buffer.from(encoder.scratch().subarray(0, encoder.scratchUsed()));
      assert.strictEqual(addon.valueCheck(again), Status.OK, input.toString('hex'));
    }
    if (round % 500 === 0) peak = Math.max(peak, process.memoryUsage().rss);
  }
  assert.ok(refused > ROUNDS / 10 && refused < ROUNDS, `${refused} of ${ROUNDS} refused`);
  const grown = Math.max(peak, process.memoryUsage().rss) - before;
  assert.ok(grown < 256 * bytes + 64 * 1024 * 1024, `${grown} bytes for ${bytes} bytes of input`);
});

test('truncation at each byte is refused or comes back', async () => {
  for (const input of seeds.filter((s) => s.length < 300)) {
    for (let end = 0; end < input.length; end++) {
      const answer = await callWith(Buffer.concat([Buffer.from([0x91]), input.subarray(0, end)]));
      assert.ok(answer === undefined || Array.isArray(answer));
    }
  }
});
