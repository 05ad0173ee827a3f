'use strict';
const assert = require('node:assert');
const { test } = require('node:test');
const { setImmediate: turn } = require('node:timers/promises');
const { lever } = require('./lever');

const client = new lever.Client({ echo: true });
const open = () => client.stream('/echo/echoChan');

// Whether a promise has settled after the loop has turned often enough for it to.
async function settles(promise) {
  let settled = false;
  promise.then(
    () => {
      settled = true;
    },
    () => {
      settled = true;
    }
  );
  for (let i = 0; i < 200 && !settled; i++) await turn();
  return settled;
}

test('messages come back in order, and the end after the last', async () => {
  const stream = open();
  for (let i = 0; i < 100; i++) await stream.write({ i });
  stream.end();
  const got = [];
  for await (const message of stream) got.push(message.i);
  assert.deepStrictEqual(
    got,
    Array.from({ length: 100 }, (_, i) => i)
  );
  assert.deepStrictEqual(await stream.next(), { value: undefined, done: true });
});

test('bytes, empty bytes and values keep their boundaries', async () => {
  const stream = open();
  const sent = [Buffer.alloc(0), Buffer.from('a'), null, 'text', Buffer.alloc(100000, 1), [], {}];
  for (const message of sent) stream.write(message);
  stream.end();
  const got = [];
  for await (const message of stream) got.push(message);
  assert.deepStrictEqual(got, sent);
});

test('reading and writing at the same time moves more than all limits together', async () => {
  const stream = open();
  const chunk = Buffer.alloc(50000, 5);
  const count = 200;
  const writing = (async () => {
    for (let i = 0; i < count; i++) await stream.write(chunk);
    stream.end();
  })();
  let bytes = 0;
  for await (const message of stream) bytes += message.length;
  await writing;
  assert.strictEqual(bytes, count * chunk.length);
});

test('a writer without a reader is held, and goes on when somebody reads', async () => {
  const stream = open();
  const chunk = Buffer.alloc(8192, 1);
  let taken = 0;
  const writing = (async () => {
    for (let i = 0; i < 1000; i++) {
      await stream.write(chunk);
      taken += 1;
    }
    stream.end();
  })();
  assert.strictEqual(await settles(writing), false);
  // The credit of 256 KiB, and the 256 KiB that a stream queues, and one message beyond each.
  assert.ok(taken >= 32 && taken <= 70, `${taken} messages`);
  let got = 0;
  for await (const message of stream) got += message.length;
  await writing;
  assert.strictEqual(got, 1000 * 8192);
});

test('writes that nobody waits for are kept in order', async () => {
  const stream = open();
  const message = 'x'.repeat(10000);
  const writes = Array.from({ length: 200 }, (_, i) => stream.write([i, message]));
  stream.end();
  const got = [];
  for await (const [i] of stream) got.push(i);
  assert.deepStrictEqual(
    got,
    Array.from({ length: 200 }, (_, i) => i)
  );
  await Promise.all(writes);
});

test('what lies unread is bounded in messages too', async () => {
  const stream = open();
  let delivered = 0;
  const deliver = stream.onMessage;
  stream.onMessage = (...event) => {
    delivered += 1;
    return deliver.apply(stream, event);
  };
  for (let i = 0; i < 1000; i++) await stream.write(i);
  await settles(new Promise(() => {}));
  assert.strictEqual(delivered, 64);
  await stream.next();
  await settles(new Promise(() => {}));
  assert.strictEqual(delivered, 64); // granted again in halves
  stream.end();
  let got = 1;
  while (!(await stream.next()).done) got += 1;
  assert.strictEqual(got, 1000);
});

test('after end() nothing more can be written', async () => {
  const stream = open();
  stream.end();
  stream.end();
  await assert.rejects(stream.write(1), { code: 'FAILED_PRECONDITION', executed: 'no' });
  assert.strictEqual((await stream.next()).done, true);
  await assert.rejects(stream.write(1), { code: 'FAILED_PRECONDITION' });
});

test('a message that cannot be sent is refused, and the stream goes on', async () => {
  const stream = open();
  await assert.rejects(
    stream.write(() => 1),
    { code: 'INVALID_ARGUMENT', executed: 'no' }
  );
  await stream.write('good');
  assert.deepStrictEqual(await stream.next(), { value: 'good', done: false });
  stream.cancel();
});

test('cancel() ends it for readers and writers', async () => {
  const stream = open();
  const read = stream.next();
  stream.cancel();
  stream.cancel();
  await assert.rejects(read, { name: 'LeverError', code: 'CANCELLED' });
  assert.strictEqual((await stream.next()).done, true);
  await assert.rejects(stream.write(1), { code: 'CANCELLED' });
});

test('cancel() frees writers that wait for room', async () => {
  const stream = open();
  const writes = Array.from({ length: 100 }, () => stream.write(Buffer.alloc(10000)));
  stream.cancel();
  const ends = await Promise.allSettled(writes);
  assert.ok(ends.some((end) => end.status === 'rejected' && end.reason.code === 'CANCELLED'));
});

test('leaving the iteration cancels the stream', async () => {
  const stream = open();
  await stream.write(1);
  await stream.write(2);
  for await (const message of stream) {
    assert.strictEqual(message, 1);
    break;
  }
  for (let i = 0; i < 200 && !(await stream.next().catch(() => ({ done: true }))).done; i++)
    await turn();
  await assert.rejects(stream.write(3), { code: 'CANCELLED' });
});

test('a signal cancels a stream, and says why', async () => {
  const controller = new AbortController();
  const stream = client.openStream('/echo/echoChan', [], { signal: controller.signal });
  const read = stream.next();
  const reason = new Error('enough');
  controller.abort(reason);
  await assert.rejects(read, (error) => error.code === 'CANCELLED' && error.cause === reason);
});

test('a stream to what is no address is refused', () => {
  assert.throws(() => client.stream('nowhere'), { code: 'INVALID_ARGUMENT', executed: 'no' });
  assert.throws(() => client.openStream('/echo/echoChan', [], { timeoutMs: -1 }), {
    code: 'INVALID_ARGUMENT',
  });
});

test('many streams at a time do not mix', async () => {
  await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const stream = open();
      for (let i = 0; i < 20; i++) await stream.write([n, i]);
      stream.end();
      let next = 0;
      for await (const [from, i] of stream) {
        assert.deepStrictEqual([from, i], [n, next]);
        next += 1;
      }
      assert.strictEqual(next, 20);
    })
  );
});
