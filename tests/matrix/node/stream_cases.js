'use strict';
// The matrix's cases of streams. Each throws unless it holds.

const assert = require('node:assert');
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const lever = require('lever');
const { rejection, seenCancelled, within } = require('./call_cases');

const MANY = 1000;
const LARGE = Buffer.alloc(65_536);
const LARGE_COUNT = 256;
const HELD_MAX = 200; // of LARGE_COUNT, that credit, windows and queues may hold
const PAUSE_MS = 300;
const AT_ONCE_MS = 2000;

async function all(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

const numbers = (n) => Array.from({ length: n }, (_, i) => i);

const cases = {
  async 'cancel.stream'(context) {
    const token = randomUUID();
    const controller = new AbortController();
    const stream = context.openStream('waitCancelChan', [token], { signal: controller.signal });
    assert.strictEqual((await stream.next()).value, 'waiting');
    controller.abort();
    assert.strictEqual((await within(AT_ONCE_MS, rejection(stream.next()))).code, 'CANCELLED');
    await seenCancelled(context, token);
  },

  async 'stream.echo'({ stream }) {
    const echo = stream('echoChan', 'hi');
    const writing = (async () => {
      for (const i of numbers(100)) await echo.write(i);
      echo.end();
    })();
    assert.deepStrictEqual(await all(echo), ['hi', ...numbers(100), ['end', 100]]);
    await writing;
  },

  async 'stream.down'({ stream }) {
    assert.deepStrictEqual(await all(stream('countChan', MANY)), numbers(MANY));
  },

  async 'stream.up'({ stream }) {
    const sum = stream('sumChan');
    for (const i of numbers(MANY)) await sum.write(i);
    sum.end();
    assert.deepStrictEqual(await all(sum), [(MANY * (MANY - 1)) / 2]);
  },

  async 'stream.error'({ stream }) {
    const failing = stream('failChan', 3, { at: 3 });
    const messages = [];
    const error = await rejection(
      (async () => {
        for await (const message of failing) messages.push(message);
      })()
    );
    assert.deepStrictEqual(messages, [0, 1, 2]);
    assert.ok(error instanceof lever.MethodError, String(error));
    assert.deepStrictEqual(error.value, { at: 3 });
  },

  async 'stream.both_ends'(context) {
    const token = randomUUID();
    for await (const message of context.stream('waitCancelChan', token)) {
      assert.strictEqual(message, 'waiting');
      break;
    }
    await seenCancelled(context, token);
  },

  async 'pressure.down'({ stream, invoke }) {
    const token = randomUUID();
    const flood = stream('floodChan', token, LARGE.length, LARGE_COUNT);
    await sleep(PAUSE_MS);
    const taken = await invoke('flooded', token);
    assert.ok(taken < HELD_MAX, `${taken} messages were taken of a stream that nobody reads`);
    const sizes = (await all(flood)).map((message) => message.length);
    assert.deepStrictEqual(sizes, Array(LARGE_COUNT).fill(LARGE.length));
  },

  async 'pressure.up'({ stream, invoke }) {
    const token = randomUUID();
    const slow = stream('slowChan', token);
    let written = 0;
    const writing = (async () => {
      for (; written < LARGE_COUNT; written++) await slow.write(LARGE);
      slow.end();
    })();
    await sleep(PAUSE_MS);
    assert.ok(written < HELD_MAX, `${written} messages were taken by a stream that nobody reads`);
    await invoke('release', token);
    await writing;
    assert.deepStrictEqual(await all(slow), [LARGE_COUNT]);
  },
};

module.exports = { cases };
