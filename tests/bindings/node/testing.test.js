'use strict';
// lever/testing: services without a host, and time that is moved by hand.
const assert = require('node:assert');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { folder, lever } = require('./lever');

const testing = require(path.join(folder, 'testing.js'));

const hello = {
  secret: (name) => lever.context().secrets[name] ?? null,
  isSealed: () => Object.isFrozen(lever.context().secrets),
  sayHello: (name) => `${lever.context().config?.greeting ?? 'Hello'}, ${name}!`,
  hang: () => new Promise(() => {}),
  left() {
    const { deadline } = lever.context();
    return deadline === null ? null : deadline.getTime() - Date.now();
  },
  async watch() {
    const { signal } = lever.context();
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    hello.watched = true;
  },
  async echoChan(stream, greeting) {
    await stream.write(greeting);
    for await (const message of stream) await stream.write(message);
  },
  fail() {
    throw Object.assign(new RangeError('no'), { field: 7 });
  },
};
const greeter = {
  greetAll: (names) => {
    const { client } = lever.context();
    return Promise.all(names.map((name) => client.invoke('/hello/sayHello', name)));
  },
  where: () => [lever.context().service.name, lever.context().caller],
};

test('services are called by name, and call each other, without a host', async () => {
  const t = await testing.start({ hello, greeter }, {
    config: { hello: { greeting: 'Hi' } }, secrets: { hello: { token: 'hunter2' } },
  });
  assert.strictEqual(await t.client.invoke('/hello/sayHello', 'Ann'), 'Hi, Ann!');
  assert.deepStrictEqual(await t.client.invoke('/greeter/greetAll', ['Ann', 'Bob']), [
    'Hi, Ann!', 'Hi, Bob!',
  ]);
  assert.strictEqual(await t.client.invoke('/hello/secret', 'token'), 'hunter2');
  assert.strictEqual(await t.client.invoke('/hello/secret', 'other'), null);
  assert.strictEqual(await t.client.invoke('/hello/isSealed'), true);
  assert.strictEqual((await t.client.invoke('/greeter/where'))[0], 'greeter');
  await assert.rejects(t.client.invoke('/hello/fail'), { name: 'MethodError', message: 'no', field: 7 });
  await assert.rejects(t.client.invoke('/hello/nope'), { code: 'NOT_FOUND', executed: 'no' });
  await assert.rejects(t.client.invoke('/other/sayHello'), { code: 'NOT_FOUND', executed: 'no' });

  const stream = t.client.stream('/hello/echoChan', 'hi');
  await stream.write(1);
  stream.end();
  const got = [];
  for await (const message of stream) got.push(message);
  assert.deepStrictEqual(got, ['hi', 1]);
  await t.close();
  await t.close();
  await assert.rejects(t.client.invoke('/hello/sayHello', 'Ann'), { code: 'CANCELLED' });
});

test('modules of both kinds are services as they are when deployed', async () => {
  const asModule = await import('data:text/javascript,export const hi = (n) => "hi " + n');
  const asDefault = await import('data:text/javascript,export default { hi: (n) => "oh " + n }');
  const t = await testing.start({ first: asModule, second: asDefault });
  assert.strictEqual(await t.client.invoke('/first/hi', 1), 'hi 1');
  assert.strictEqual(await t.client.invoke('/second/hi', 2), 'oh 2');
  await t.close();
});

test('time stands still until it is moved: a timeout comes then, and not before', async () => {
  const t = await testing.start({ hello }, { holdTime: true });
  const began = Date.now();
  let ended;
  const call = t.client.call('/hello/hang', [], { timeoutMs: 60_000 }).catch((error) => {
    ended = error;
  });
  const watched = t.client.call('/hello/watch', [], { timeoutMs: 30_000 }).catch(() => {});
  await t.advance(0);
  assert.strictEqual(await t.client.call('/hello/left', [], { timeoutMs: 5000 }), 5000);
  await t.advance(29_999);
  assert.strictEqual(hello.watched, undefined);
  await t.advance(1);
  assert.strictEqual(hello.watched, true);
  await watched;
  await t.advance(29_999);
  assert.strictEqual(ended, undefined);
  await t.advance(1);
  assert.strictEqual(ended.code, 'DEADLINE_EXCEEDED');
  await call;
  assert.ok(Date.now() - began < 10_000, 'it took its time after all');
  await t.close();
});

test('after a test that held it, time goes on', async () => {
  const first = await testing.start({ hello }, { holdTime: true });
  const second = await testing.start({ greeter }, { holdTime: true });
  await first.close();
  const call = second.client.call('/nobody/there', [], { timeoutMs: 1000 });
  await assert.rejects(call, { code: 'NOT_FOUND' });
  await second.close();
  const third = await testing.start({ hello });
  await assert.rejects(third.client.call('/hello/hang', [], { timeoutMs: 30 }), {
    code: 'DEADLINE_EXCEEDED',
  });
  await third.close();
});

test('a wrong use says what is wrong, and leaves nothing behind', async () => {
  await assert.rejects(testing.start({ hello }, { config: { helo: {} } }), /there is no service helo/);
  await assert.rejects(testing.start({ hello }, { secrets: { helo: {} } }), /secrets: there is no service helo/);
  await assert.rejects(testing.start({ hello }, { secrets: { hello: { token: 5 } } }), /token of hello is not a string/);
  await assert.rejects(testing.start({ 'no name': hello }), { code: 'INVALID_ARGUMENT' });
  const t = await testing.start({ hello });
  await assert.rejects(testing.start({ greeter, hello }), { code: 'ALREADY_EXISTS' });
  await assert.rejects(t.advance(1), { code: 'FAILED_PRECONDITION' });
  await t.close();
  const again = await testing.start({ greeter, hello }, { holdTime: true });
  for (const ms of [-1, NaN, '1']) {
    await assert.rejects(again.advance(ms), { code: 'INVALID_ARGUMENT' });
  }
  await again[Symbol.asyncDispose]();
});

test('closing ends calls and streams that are in flight, on both sides', async () => {
  const t = await testing.start({ hello });
  delete hello.watched;
  const call = t.client.invoke('/hello/watch');
  const stream = t.client.stream('/hello/echoChan', 'hi');
  assert.strictEqual((await stream.next()).value, 'hi');
  await Promise.all([assert.rejects(call, { code: 'CANCELLED' }), t.close()]);
  await assert.rejects(stream.next(), { code: 'CANCELLED' });
  const limit = Date.now() + 5000;
  while (!hello.watched && Date.now() < limit) await sleep(1);
  assert.strictEqual(hello.watched, true);
});
