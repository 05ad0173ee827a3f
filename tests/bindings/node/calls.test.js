'use strict';
const assert = require('node:assert');
const path = require('node:path');
const { test } = require('node:test');
const { lever, inner, source } = require('./lever');

const client = new lever.Client({ echo: true });
const address = '/echo/echo';

test('a call answers with its arguments', async () => {
  assert.deepStrictEqual(await client.invoke(address, 'Ann', 5, { a: [1] }), [
    'Ann',
    5,
    { a: [1] },
  ]);
  assert.deepStrictEqual(await client.invoke(address), []);
  assert.deepStrictEqual(await client.call(address, ['Ann']), ['Ann']);
  assert.deepStrictEqual(await client.call(address), []);
});

test('one argument of bytes goes as it is, and comes back as bytes', async () => {
  for (const size of [0, 1, 100, 16384, 16385, 300000, 3000000]) {
    const bytes = Buffer.alloc(size, size % 251);
    const back = await client.invoke(address, bytes);
    assert.ok(Buffer.isBuffer(back));
    assert.ok(back.equals(bytes), `${size} bytes`);
  }
  assert.ok(
    (await client.invoke(address, new Uint8Array([1, 2, 3]).subarray(1))).equals(
      Buffer.from([2, 3])
    )
  );
});

test('bytes that were received stay as they were', async () => {
  const first = await client.invoke(address, Buffer.from('first'));
  await client.invoke(address, Buffer.from('other'));
  assert.strictEqual(first.toString(), 'first');
});

test('large and small answers in one turn do not disturb each other', async () => {
  const sizes = Array.from({ length: 300 }, (_, i) => (i * 7919) % 40000);
  const answers = await Promise.all(
    sizes.map((n) => client.invoke(address, n, Buffer.alloc(n, n % 256)))
  );
  answers.forEach(([n, bytes], i) => {
    assert.strictEqual(n, sizes[i]);
    assert.ok(bytes.equals(Buffer.alloc(n, n % 256)));
  });
});

test('thousands of calls of one tick are answered, each with its own', async () => {
  const answers = await Promise.all(
    Array.from({ length: 5000 }, (_, i) => client.invoke(address, i))
  );
  answers.forEach(([n], i) => assert.strictEqual(n, i));
});

test('more calls than may be in flight are refused, unexecuted, and the others answered', async () => {
  const asked = Array.from({ length: 70000 }, (_, i) => client.invoke(address, i));
  const ends = await Promise.allSettled(asked);
  const refused = ends.filter((end) => end.status === 'rejected');
  assert.strictEqual(refused.length, 70000 - 65536);
  for (const { reason } of refused) {
    assert.strictEqual(reason.code, 'RESOURCE_EXHAUSTED');
    assert.strictEqual(reason.executed, 'no');
  }
  assert.deepStrictEqual(await client.invoke(address, 'again'), ['again']);
});

test('more addresses than are kept are all called right', async () => {
  for (let round = 0; round < 2; round++) {
    const calls = Array.from({ length: 2500 }, (_, i) => client.invoke(`/echo/m${i}`, i));
    (await Promise.all(calls)).forEach(([n], i) => assert.strictEqual(n, i));
  }
});

test('arguments that are wrong reject the promise', async () => {
  const invalid = { name: 'LeverError', code: 'INVALID_ARGUMENT', executed: 'no' };
  await assert.rejects(client.invoke('no address'), invalid);
  await assert.rejects(client.invoke(5), invalid);
  await assert.rejects(client.call(address, 'text'), invalid);
  await assert.rejects(client.call(address, [], { timeoutMs: 0 }), invalid);
  await assert.rejects(client.call(address, [], { timeoutMs: 'soon' }), invalid);
  await assert.rejects(client.call(address, [], { metadata: { 'b c': 'x' } }), invalid);
  await assert.rejects(client.call(address, [], { metadata: { name: 5 } }), invalid);
  await assert.rejects(client.call(address, [], { metadata: { 'name-bin': 'text' } }), invalid);
  await assert.rejects(client.call(address, [], { signal: 5 }), invalid);
  assert.throws(() => new lever.Client({ host: 'not an endpoint' }), invalid);
  assert.throws(() => new lever.Client({ env: 'No Environment', echo: true }), invalid);
});

test('addresses are taken and refused as the vectors say', async () => {
  const vectors = require(path.join(source, 'tests', 'vectors', 'addresses.json'));
  for (const { text, resource, method, streaming } of vectors.valid) {
    if (streaming || resource !== null) continue;
    assert.deepStrictEqual(await client.invoke(text, method), [method], text);
  }
  for (const { text } of vectors.invalid) {
    await assert.rejects(client.invoke(text), { code: 'INVALID_ARGUMENT', executed: 'no' }, text);
  }
  assert.ok(vectors.valid.length > 10 && vectors.invalid.length > 10);
});

test('options that are right are taken', async () => {
  const options = {
    timeoutMs: 5000,
    idempotent: true,
    compress: true,
    signal: new AbortController().signal,
    metadata: { Name: 'value', list: ['a', 'b'], 'raw-bin': Buffer.from([0, 255]) },
  };
  assert.deepStrictEqual(await client.call(address, [1], options), [1]);
  assert.deepStrictEqual(await client.call(address, [1], { timeoutMs: Infinity }), [1]);
  assert.deepStrictEqual(await client.call(address, [Buffer.from('x')], options), Buffer.from('x'));
});

test('a signal that is aborted already sends nothing', async () => {
  const reason = new Error('changed my mind');
  await assert.rejects(
    client.call(address, [], { signal: AbortSignal.abort(reason) }),
    (error) => error.code === 'CANCELLED' && error.executed === 'no' && error.cause === reason
  );
});

test('closing ends what is in flight with CANCELLED, and later calls at once', async () => {
  const other = new lever.Client({ echo: true });
  const call = other.invoke(address, 1);
  const stream = other.stream('/echo/echoChan');
  const closed = other.close();
  await assert.rejects(call, { code: 'CANCELLED' });
  await assert.rejects(stream.next(), { code: 'CANCELLED' });
  await closed;
  await assert.rejects(other.invoke(address), { name: 'LeverError', executed: 'no' });
  assert.strictEqual(other.close(), other.close());
});

test('a method error has the message and the fields of what was thrown', () => {
  const error = new lever.MethodError({
    name: 'RangeError',
    message: 'too far',
    distance: 5,
    stack: 'theirs',
  });
  assert.strictEqual(error.name, 'MethodError');
  assert.strictEqual(error.message, 'too far');
  assert.strictEqual(error.distance, 5);
  assert.strictEqual(error.value.name, 'RangeError');
  assert.notStrictEqual(error.stack, 'theirs');
  assert.strictEqual(new lever.MethodError('bare').message, 'bare');
  assert.strictEqual(new lever.MethodError(5).value, 5);
});

test('every status is a LeverError with its name', () => {
  const { Status } = inner('codes');
  const { errorFor } = inner('errors');
  assert.ok(Object.keys(Status).length >= 22);
  for (const [name, number] of Object.entries(Status)) {
    const error = errorFor(number, '', 0);
    assert.ok(error instanceof lever.LeverError && error instanceof Error);
    assert.deepStrictEqual(
      [error.code, error.executed, error.message],
      [name, 'unknown', inner('codes').textOf[number]]
    );
    assert.strictEqual(errorFor(number, 'why', 1).executed, 'no');
  }
});

test('stats count', () => {
  const stats = client.stats();
  assert.deepStrictEqual(Object.keys(stats), [
    'callsDirect',
    'callsThroughHost',
    'retries',
    'directConnections',
  ]);
});

test('a closed client does not go another way: its token is not that of the next client', async () => {
  const closed = new lever.Client({ echo: true });
  await closed.close();
  const next = new lever.Client({ echo: true });
  await assert.rejects(closed.invoke('/e/e', 1), { code: 'CANCELLED', executed: 'no' });
  assert.throws(() => closed.stream('/e/eChan'), { code: 'CANCELLED' });
  assert.deepStrictEqual(Object.keys(closed.stats()).length, 4);
  await closed.close();
  assert.deepStrictEqual(await next.invoke('/e/e', 1), [1]);
  await next.close();
});

test('options and arguments of another type are errors', async () => {
  for (const [field, value] of [
    ['host', 8080], ['env', 5], ['messageBytesMax', '4'], ['messageBytesMax', NaN], ['tls', true],
  ]) {
    const told = { name: 'LeverError', code: 'INVALID_ARGUMENT', message: new RegExp(`^${field}: `) };
    assert.throws(() => new lever.Client({ [field]: value }), told, field);
  }
  assert.throws(() => new lever.Client({ host: 'tls:h:1', tls: { ca: 5 } }), { message: /^ca: / });
  const told = { name: 'LeverError', code: 'INVALID_ARGUMENT', executed: 'no' };
  assert.throws(() => new lever.Client(null), told);
  for (const args of [null, 'text', 5]) await assert.rejects(client.call(address, args), told);
  for (const options of [null, 5]) await assert.rejects(client.call(address, [], options), told);
  assert.throws(() => client.openStream('/echo/echoChan', [], null), told);
  const throwsNull = {
    toJSON() {
      throw null;
    },
  };
  await assert.rejects(client.invoke(address, throwsNull), told);
});
