'use strict';
// The matrix's cases of unary calls. Each throws unless it holds.

const assert = require('node:assert');
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const lever = require('lever');
const { describe } = require('./describe');
const { values } = require('./values');

const LARGEST_BYTES = 4_194_299; // whose message, with its envelope, has exactly 4 MiB
const AT_ONCE_MS = 2000;
const SEEN_MS = 5000;

async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'no error came' });
}

async function within(ms, promise) {
  const began = performance.now();
  const result = await promise;
  assert.ok(performance.now() - began < ms, `took ${performance.now() - began} ms`);
  return result;
}

async function seenCancelled({ invoke }, token) {
  const limit = performance.now() + SEEN_MS;
  while (!(await invoke('wasCancelled', token))) {
    assert.ok(performance.now() < limit, 'the service did not see its caller go');
    await sleep(20);
  }
}

function valueCase(name, expected) {
  return async ({ invoke, serviceLanguage }) => {
    const wanted =
      typeof expected === 'string' ? expected : (expected.node ?? expected[serviceLanguage] ?? expected.any);
    const value = values[name];
    assert.strictEqual(describe(value), wanted, 'described here');
    assert.strictEqual(await invoke('describe', value), wanted, 'described by the service');
    assert.strictEqual(describe(await invoke('echo', value)), wanted, 'what came back, described here');
  };
}

const cases = {
  async 'error.value'({ invoke }) {
    const error = await rejection(invoke('fail', { code: 7, why: 'because' }));
    assert.ok(error instanceof lever.MethodError, String(error));
    assert.deepStrictEqual(error.value, { code: 7, why: 'because' });
  },

  async 'error.bytes'({ invoke }) {
    const bytes = Buffer.from([0x00, 0xff, 0x10]);
    const error = await rejection(invoke('failBytes', bytes));
    assert.ok(error instanceof lever.MethodError, String(error));
    assert.deepStrictEqual(error.value, bytes);
  },

  async 'error.thrown'({ invoke }) {
    const error = await rejection(invoke('throwObject', 'out of cheese'));
    assert.ok(error instanceof lever.MethodError, String(error));
    assert.match(error.message, /out of cheese/);
  },

  async 'deadline.context'({ call }) {
    const left = await call('remaining', [], { timeoutMs: 5000 });
    assert.ok(left > 0 && left <= 5000, `${left} ms of 5 s`);
    const usual = await call('remaining', [], {});
    assert.ok(usual > 5000 && usual <= 60_000, `${usual} ms without a timeout`);
  },

  async 'deadline.exceeded'({ call }) {
    const error = await within(AT_ONCE_MS, rejection(call('sleep', [10_000], { timeoutMs: 200 })));
    assert.strictEqual(error.code, 'DEADLINE_EXCEEDED');
  },

  async 'cancel.call'(context) {
    const token = randomUUID();
    const controller = new AbortController();
    const call = rejection(context.call('waitCancel', [token], { signal: controller.signal }));
    await sleep(100);
    controller.abort();
    assert.strictEqual((await within(AT_ONCE_MS, call)).code, 'CANCELLED');
    await seenCancelled(context, token);
  },

  async metadata({ call }) {
    const bytes = Buffer.from([0, 255, 16]);
    const metadata = { 'x-text': 'a text', 'x-bytes-bin': bytes };
    assert.strictEqual(await call('metadata', ['x-text'], { metadata }), 'a text');
    assert.deepStrictEqual(await call('metadata', ['x-bytes-bin'], { metadata }), bytes);
    assert.strictEqual(await call('metadata', ['x-none'], { metadata }), null);
  },

  async bytes({ invoke }) {
    const bytes = Buffer.alloc(100_000, Buffer.from([0xff, 0xfe, 0x00, 0x80]));
    assert.deepStrictEqual(await invoke('echo', bytes), bytes);
  },

  async 'limit.request'({ invoke }) {
    assert.strictEqual(await invoke('size', Buffer.alloc(LARGEST_BYTES)), LARGEST_BYTES);
    const error = await rejection(invoke('size', Buffer.alloc(LARGEST_BYTES + 1)));
    assert.strictEqual(error.code, 'RESOURCE_EXHAUSTED');
  },

  async 'limit.reply'({ invoke }) {
    assert.strictEqual((await invoke('produce', LARGEST_BYTES)).length, LARGEST_BYTES);
    const error = await rejection(invoke('produce', LARGEST_BYTES + 1));
    assert.strictEqual(error.code, 'RESOURCE_EXHAUSTED');
  },

  async 'unknown.method'({ invoke }) {
    const { code, executed } = await rejection(invoke('noSuchMethod'));
    assert.deepStrictEqual({ code, executed }, { code: 'NOT_FOUND', executed: 'no' });
  },

  async 'unknown.service'({ client }) {
    const { code, executed } = await rejection(client.invoke('/no-such-service/echo', 1));
    assert.deepStrictEqual({ code, executed }, { code: 'NOT_FOUND', executed: 'no' });
  },

  async 'close.in_flight'({ openClient, address }) {
    const client = openClient();
    const call = rejection(client.invoke(address('sleep'), 10_000));
    const stream = client.stream(address('echoChan'), 'hi');
    assert.strictEqual((await stream.next()).value, 'hi');
    const read = rejection(stream.next());
    await within(AT_ONCE_MS, client.close());
    assert.strictEqual((await call).code, 'CANCELLED');
    assert.strictEqual((await read).code, 'CANCELLED');
  },
};

module.exports = { cases, rejection, seenCancelled, valueCase, within };
