'use strict';
const assert = require('node:assert');
const { once } = require('node:events');
const { after, before, test } = require('node:test');
const { setImmediate: turn, setTimeout: sleep } = require('node:timers/promises');
const { lever, inner } = require('./lever');

// No host is there: the service is called straight at its own address, and keeps trying to attach.
const NO_HOST = '127.0.0.1:1';
const signals = new Map(); // what the methods below saw, by name

// A promise together with what settles it.
function gate() {
  const made = {};
  made.opened = new Promise((resolve) => {
    made.open = resolve;
  });
  return made;
}

const hanging = gate(); // methods that hang end when this opens

class Methods {
  #greeting = 'Hello';

  sayHello(name) {
    return `${this.#greeting}, ${name}!`;
  }
  async add(a, b) {
    await turn();
    return a + b;
  }
  echo(...args) {
    return args;
  }
  bytes(data) {
    return Buffer.concat([data, data]);
  }
  nothing() {}
  throws(what) {
    throw what;
  }
  throwsError() {
    throw Object.assign(new RangeError('too far'), {
      distance: 5n ** 25n,
      cause: 'hidden',
      f() {},
    });
  }
  throwsNoText() {
    throw { message: Object.create(null), f() {} };
  }
  throwsAtEveryTouch() {
    throw new Proxy(new Error('x'), {
      get() {
        throw null;
      },
    });
  }
  throwsWhatThrows() {
    throw {
      toJSON() {
        throw null;
      },
    };
  }
  async throwsWhatThrowsChan() {
    this.throwsWhatThrows();
  }
  thenFails() {
    return {
      then() {
        throw new Error('then');
      },
    };
  }
  async rejects() {
    await turn();
    throw Object.assign(new Error('later'), { code: 'E_LATER', at: [1, 2] });
  }
  returnsFunction() {
    return () => 1;
  }
  async seen() {
    await turn();
    const { deadline, metadata, caller, config, service } = lever.context();
    return { deadline, metadata: { ...metadata }, caller, config, service };
  }
  async hang(name) {
    const { signal } = lever.context();
    signals.set(name, signal);
    await hanging.opened;
    return 'ended';
  }
  // Calls a method that hangs, within this call.
  async inner(name, options) {
    signals.set(name, lever.context().signal);
    try {
      return await toSelf.call('/direct/hang', [`${name} inner`], options);
    } catch (error) {
      signals.set(`${name} error`, error);
      throw error;
    }
  }

  // Holds the whole process up.
  block(ms) {
    for (const end = Date.now() + ms; Date.now() < end;);
  }
  ran(name) {
    signals.set(name, true);
  }

  async echoChan(stream, greeting) {
    if (greeting !== undefined) await stream.write(greeting);
    for await (const message of stream) await stream.write(message);
  }
  async countChan(stream, n) {
    for (let i = 0; i < n; i++) await stream.write(i);
  }
  async sum_chan(stream) {
    let sum = 0;
    for await (const n of stream) sum += n;
    await stream.write(sum);
  }
  async failChan(stream) {
    for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(10000));
    throw Object.assign(new Error('broken off'), { after: 100 });
  }
  async watchChan(stream, name) {
    signals.set(name, lever.context().signal);
    try {
      for await (const message of stream) await stream.write(message);
    } catch (error) {
      signals.set(`${name} error`, error);
      throw error;
    }
  }
}

let service;
let client;
let toSelf;

before(() => {
  service = lever.serve(new Methods(), { name: 'direct', host: NO_HOST, listen: '127.0.0.1:0' });
  assert.match(service.details.listening, /^127\.0\.0\.1:\d+$/);
  client = new lever.Client({ host: service.details.listening, onlyThroughHost: true });
  toSelf = new lever.Client({ host: service.details.listening, onlyThroughHost: true });
});

after(async () => {
  hanging.open();
  await Promise.all([client.close(), toSelf.close(), service.close()]);
});

// Waits for a condition, up to a limit.
async function until(condition, what) {
  const end = Date.now() + 10000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`not within 10 s: ${what}`);
    await sleep(2);
  }
}

test('methods answer, with `this` as it was given', async () => {
  assert.strictEqual(await client.invoke('/direct/sayHello', 'Ann'), 'Hello, Ann!');
  assert.strictEqual(await client.invoke('/direct/add', 2, 3), 5);
  assert.deepStrictEqual(await client.invoke('/direct/echo', 1, 'a', null, { b: [2] }), [
    1,
    'a',
    null,
    { b: [2] },
  ]);
  assert.strictEqual(await client.invoke('/direct/nothing'), null);
});

test('bytes come as they were sent', async () => {
  assert.deepStrictEqual(
    await client.invoke('/direct/bytes', Buffer.from('ab')),
    Buffer.from('abab')
  );
  const large = Buffer.alloc(1000000, 9);
  assert.ok((await client.invoke('/direct/bytes', large)).equals(Buffer.concat([large, large])));
});

test('a thousand calls at a time are answered, each with its own', async () => {
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => client.invoke('/direct/add', i, 1))
  );
  answers.forEach((answer, i) => assert.strictEqual(answer, i + 1));
});

test('what a method throws arrives as a MethodError with its value', async () => {
  const thrown = async (...args) =>
    client.invoke('/direct/throws', ...args).then(assert.fail, (error) => error);
  for (const value of ['text', 5, null, { a: 1 }, [1, 2], Buffer.from('bytes')]) {
    const error = await client.call('/direct/throws', [value, 0]).then(assert.fail, (e) => e);
    assert.ok(error instanceof lever.MethodError);
    assert.deepStrictEqual(error.value, value);
  }
  assert.strictEqual((await thrown('text')).message, 'text');
  const later = await client.invoke('/direct/rejects').then(assert.fail, (e) => e);
  assert.deepStrictEqual(
    [later.name, later.message, later.code, later.at],
    ['MethodError', 'later', 'E_LATER', [1, 2]]
  );
  assert.deepStrictEqual(later.value, {
    name: 'Error',
    message: 'later',
    code: 'E_LATER',
    at: [1, 2],
  });
});

test('what throws when it is looked at is an error of its method, and ends nothing else', async () => {
  for (const method of ['throwsAtEveryTouch', 'throwsWhatThrows']) {
    const error = await client.invoke(`/direct/${method}`).then(assert.fail, (e) => e);
    assert.deepStrictEqual(error.value, { name: 'Error', message: 'it cannot be sent' }, method);
  }
  const stream = client.stream('/direct/throwsWhatThrowsChan');
  await assert.rejects(stream.next(), { name: 'MethodError', message: 'it cannot be sent' });
});

test('a service with TLS at its address takes nobody without a token, and a private one is not plain', async () => {
  const options = { name: 'direct', host: NO_HOST, private: true };
  const secured = lever.serve({ echo: (value) => value }, { ...options, listen: 'tls:127.0.0.1:0' });
  assert.match(secured.details.listening, /^tls:127\.0\.0\.1:\d+$/);
  await secured.close();
  assert.throws(() => lever.serve({}, { ...options, listen: '127.0.0.1:0' }), { code: 'INVALID_ARGUMENT' });
});

test('a listener that throws takes no other event with it', async () => {
  const [loud, calm] = ['loud', 'calm'].map((name) =>
    new lever.Service({ name, inProcess: true }).add({ f() {} }));
  const thrown = new Error('of the listener');
  loud.on('attached', () => {
    throw thrown;
  });
  const told = [];
  // node:test has listeners of its own, which would fail the test.
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => told.push(error));
  try {
    loud.start();
    calm.start();
    await Promise.all([loud.attached(), calm.attached()]);
    await turn();
  } finally {
    process.removeAllListeners('uncaughtException');
    others.forEach((listener) => process.on('uncaughtException', listener));
  }
  assert.deepStrictEqual(told, [thrown]);
  await Promise.all([loud.close(), calm.close()]);
});

test('a service that was never started is drained, and ends', async () => {
  const unstarted = new lever.Service({ name: 'unstarted', inProcess: true });
  await unstarted.drain();
  await unstarted[Symbol.asyncDispose]();
  await assert.rejects(unstarted.drain(), { code: 'CANCELLED' });
});

// Clients and services that there are.
function objectsInUse() {
  const { objects } = inner('events');
  let count = 0;
  for (let token = 1; objects.get(token) !== undefined; token++) {
    if (objects.get(token) !== null) count += 1;
  }
  return count;
}

test('a service that is closed leaves nothing behind, its client included', async () => {
  const before = objectsInUse();
  for (let i = 0; i < 3; i++) {
    const one = lever.serve({ f: () => 1 }, { name: 'short', inProcess: true });
    const own = one.client;
    await one.close();
    await assert.rejects(own.invoke('/short/f'), { code: 'CANCELLED' });
    await one.close();
  }
  const another = new lever.Service({ name: 'short', inProcess: true });
  await another.close();
  assert.throws(() => another.client, { code: 'CANCELLED' });
  assert.strictEqual(objectsInUse(), before);
});

test('serve() that fails leaves nothing behind', async () => {
  const first = lever.serve({ f: () => 1 }, { name: 'taken', inProcess: true });
  await first.attached();
  const before = objectsInUse();
  assert.throws(() => lever.serve({ f: () => 2 }, { name: 'taken', inProcess: true }),
    { code: 'ALREADY_EXISTS' });
  await until(() => objectsInUse() === before, 'the end of the service that was refused');
  await first.close();
});

test('options of another type are errors', () => {
  for (const [field, value] of [
    ['name', 5], ['env', 5], ['host', 8080], ['listen', 9000],
    ['maxConcurrency', -1], ['maxConcurrency', 1.5], ['maxConcurrency', '4'],
    ['drainTimeoutMs', '5s'], ['drainTimeoutMs', Infinity], ['drainTimeoutMs', -1],
  ]) {
    const told = { name: 'LeverError', code: 'INVALID_ARGUMENT', message: new RegExp(`^${field}: `) };
    assert.throws(() => new lever.Service({ name: 'x', [field]: value }), told, field);
  }
  assert.throws(() => new lever.Service(null), { code: 'INVALID_ARGUMENT' });
});

test('an error with fields that cannot be sent arrives with its name and message', async () => {
  const error = await client.invoke('/direct/throwsError').then(assert.fail, (e) => e);
  assert.deepStrictEqual(error.value, { name: 'RangeError', message: 'too far' });
});

test('whatever a method throws or gives is an answer, and the process goes on', async () => {
  const error = await client.invoke('/direct/throwsNoText').then(assert.fail, (e) => e);
  assert.deepStrictEqual(error.value, { name: 'Error', message: 'a function cannot be sent' });
  await assert.rejects(client.invoke('/direct/thenFails'), { name: 'MethodError', message: 'then' });
});

test("an answer that cannot be sent is the method's error", async () => {
  await assert.rejects(
    client.invoke('/direct/returnsFunction'),
    (error) => error instanceof lever.MethodError && /function/.test(error.message)
  );
});

test('a method that is not there, and the wrong kind of call', async () => {
  const no = { name: 'LeverError', executed: 'no' };
  await assert.rejects(client.invoke('/direct/constructor'), { ...no, code: 'NOT_FOUND' });
  await assert.rejects(client.invoke('/direct/nope'), { ...no, code: 'NOT_FOUND' });
  await assert.rejects(client.invoke('/other/sayHello'), no);
  await assert.rejects(client.invoke('/direct/echoChan'), { ...no, code: 'UNIMPLEMENTED' });
  await assert.rejects(client.stream('/direct/sayHello').next(), { ...no, code: 'UNIMPLEMENTED' });
  await assert.rejects(client.invoke('/direct/resource/sayHello'), { ...no, code: 'NOT_FOUND' });
});

test("the context has the caller's metadata and deadline, after an await too", async () => {
  const before_ms = Date.now();
  const seen = await client.call('/direct/seen', [], {
    timeoutMs: 20000,
    metadata: {
      'x-name': 'Ann',
      'x-list': ['1', '2'],
      'x-raw-bin': Buffer.from([0, 1, 255]),
      'lever-x': 'no',
    },
  });
  assert.ok(
    seen.deadline >= before_ms + 15000 && seen.deadline <= Date.now() + 20001,
    `${seen.deadline}`
  );
  assert.strictEqual(seen.metadata['x-name'], 'Ann');
  assert.deepStrictEqual(seen.metadata['x-list'], ['1', '2']);
  assert.deepStrictEqual(seen.metadata['x-raw-bin'], Buffer.from([0, 1, 255]));
  assert.ok(!('lever-x' in seen.metadata));
  assert.strictEqual(seen.caller, '');
  assert.strictEqual(seen.config, null);
  assert.strictEqual(seen.service.name, 'direct');
  assert.strictEqual(lever.context(), undefined);
});

test('a deadline ends the call, and the method learns of it', async () => {
  await assert.rejects(client.call('/direct/hang', ['deadline'], { timeoutMs: 60 }), {
    name: 'LeverError',
    code: 'DEADLINE_EXCEEDED',
    executed: 'unknown',
  });
  await until(() => signals.get('deadline').aborted, 'the method learns of the deadline');
});

test('a signal ends the call, and the method learns of it', async () => {
  const controller = new AbortController();
  const call = client.call('/direct/hang', ['cancel'], { signal: controller.signal });
  await until(() => signals.has('cancel'), 'the method runs');
  assert.strictEqual(signals.get('cancel').aborted, false);
  controller.abort(new Error('enough'));
  await assert.rejects(
    call,
    (error) => error.code === 'CANCELLED' && error.cause.message === 'enough'
  );
  await until(() => signals.get('cancel').aborted, 'the method learns of it');
});

test('the deadline of a call bounds those that its method makes', async () => {
  const call = client.call('/direct/inner', ['bounded', { timeoutMs: 60000 }], { timeoutMs: 150 });
  await assert.rejects(call, { code: 'DEADLINE_EXCEEDED' });
  await until(() => signals.has('bounded error'), 'the inner call ends');
  assert.strictEqual(signals.get('bounded error').name, 'LeverError');
  await until(() => signals.get('bounded inner').aborted, 'the inner method learns of it');
});

test('cancelling a call cancels those that its method makes', async () => {
  const controller = new AbortController();
  const call = client.call('/direct/inner', ['tree'], { signal: controller.signal });
  await until(() => signals.has('tree inner'), 'the inner method runs');
  controller.abort();
  await assert.rejects(call, { code: 'CANCELLED' });
  await until(() => signals.get('tree inner').aborted, 'the inner method learns of it');
  assert.strictEqual(signals.get('tree error').code, 'CANCELLED');
});

test('a method whose deadline has passed before it could begin does not run', async () => {
  await client.invoke('/direct/nothing');
  // Both arrive together; the second waits for the first.
  const blocks = client.invoke('/direct/block', 200);
  await assert.rejects(client.call('/direct/ran', ['too late'], { timeoutMs: 50 }), {
    code: 'DEADLINE_EXCEEDED',
  });
  await blocks;
  await client.invoke('/direct/ran', 'in time');
  assert.deepStrictEqual([signals.has('too late'), signals.has('in time')], [false, true]);
});

test('streams in both directions', async () => {
  const stream = client.stream('/direct/echoChan', 'hi');
  assert.deepStrictEqual(await stream.next(), { value: 'hi', done: false });
  for (const message of ['a', { b: 1 }, Buffer.from('c')]) {
    await stream.write(message);
    assert.deepStrictEqual((await stream.next()).value, message);
  }
  stream.end();
  assert.strictEqual((await stream.next()).done, true);

  const sum = client.stream('/direct/sum_chan');
  for (let i = 1; i <= 100; i++) await sum.write(i);
  sum.end();
  assert.strictEqual((await sum.next()).value, 5050);
  assert.strictEqual((await sum.next()).done, true);

  let next = 0;
  for await (const i of client.stream('/direct/countChan', 5000)) assert.strictEqual(i, next++);
  assert.strictEqual(next, 5000);
});

test('a fast writer and a slow reader: 30 MB arrive, and the writer is held', async () => {
  const chunk = Buffer.alloc(30000, 3);
  const stream = client.stream('/direct/echoChan');
  let written = 0;
  const writing = (async () => {
    for (; written < 1000; written++) await stream.write(chunk);
    stream.end();
  })();
  let got = 0;
  let ahead = 0;
  for await (const message of stream) {
    assert.strictEqual(message.length, chunk.length);
    got += 1;
    ahead = Math.max(ahead, written - got);
    if (got % 50 === 0) await sleep(1);
  }
  await writing;
  assert.strictEqual(got, 1000);
  // Both windows, both queues, both sides' credit: some hundreds of KiB each.
  assert.ok(ahead * chunk.length < 4 * 1024 * 1024, `${ahead} messages ahead`);
});

test("a streaming method's error comes after what it wrote", async () => {
  let got = 0;
  await assert.rejects(
    async () => {
      for await (const message of client.stream('/direct/failChan')) got += message.length;
    },
    (error) =>
      error instanceof lever.MethodError && error.message === 'broken off' && error.after === 100
  );
  assert.strictEqual(got, 100 * 10000);
});

test("cancelling a stream ends its method's reading, and aborts its signal", async () => {
  const stream = client.stream('/direct/watchChan', 'watch');
  await stream.write(1);
  assert.strictEqual((await stream.next()).value, 1);
  stream.cancel();
  await assert.rejects(stream.next(), { code: 'CANCELLED' });
  await until(() => signals.has('watch error'), 'the method ends');
  assert.strictEqual(signals.get('watch error').code, 'CANCELLED');
  assert.strictEqual(signals.get('watch').aborted, true);
});

test('an argument is checked: names twice, names that are none', async () => {
  const second = new lever.Service({ name: 'second', host: NO_HOST });
  second.add({ one() {}, 'not a name': () => 1, Klass: class {}, value: 5 });
  assert.strictEqual(second.methodCount, 1);
  assert.throws(() => second.add({ one() {} }), { code: 'ALREADY_EXISTS' });
  await second.close();
  assert.throws(() => new lever.Service({ name: 'No Name', host: NO_HOST }), {
    code: 'INVALID_ARGUMENT',
  });
});

test('without a host the service says so, and goes on', async () => {
  const lonely = lever.serve({ hi: () => 'hi' }, { name: 'lonely', host: NO_HOST });
  const [error] = await once(lonely, 'detached');
  assert.strictEqual(error.name, 'LeverError');
  await lonely.close();
  await assert.rejects(lonely.attached(), { code: 'CANCELLED' });
});

test('draining: what runs is finished, what comes later is refused as not run', async () => {
  const held = gate();
  let began = 0;
  const draining = lever.serve(
    {
      async slow() {
        began += 1;
        await held.opened;
        return 'finished';
      },
      async slowChan(stream) {
        for await (const m of stream) await stream.write(m);
      },
    },
    { name: 'draining', host: NO_HOST, listen: '127.0.0.1:0' }
  );
  const caller = new lever.Client({ host: draining.details.listening, onlyThroughHost: true });
  const slow = caller.invoke('/draining/slow');
  const stream = caller.stream('/draining/slowChan');
  await stream.write('before');
  assert.strictEqual((await stream.next()).value, 'before');
  await until(() => began === 1, 'the method runs');

  let drained = false;
  const draining_ended = draining.drain().then(() => {
    drained = true;
  });
  // Calls are still taken for a moment; from then on they are refused.
  let refused;
  await until(() => {
    caller.call('/draining/slow', [], { timeoutMs: 3000 }).catch((error) => {
      refused ??= error;
    });
    return refused !== undefined;
  }, 'a call is refused');
  assert.strictEqual(refused.executed, 'no');
  assert.strictEqual(drained, false);
  await stream.write('during');
  assert.strictEqual((await stream.next()).value, 'during');
  stream.end();
  held.open();
  assert.strictEqual(await slow, 'finished');
  await draining_ended;
  await Promise.all([caller.close(), draining.close()]);
});

test('closing cancels what runs, and callers learn of it', async () => {
  let began = 0;
  const hang = () => {
    began += 1;
    return hanging.opened;
  };
  const closing = lever.serve(
    { hang, hangChan: hang },
    { name: 'closing', host: NO_HOST, listen: '127.0.0.1:0' }
  );
  const caller = new lever.Client({ host: closing.details.listening, onlyThroughHost: true });
  const call = caller.invoke('/closing/hang');
  const stream = caller.stream('/closing/hangChan');
  const read = stream.next();
  call.catch(() => {});
  read.catch(() => {});
  await until(() => began === 2, 'the methods run');
  await closing.close();
  await assert.rejects(call, { name: 'LeverError' });
  await assert.rejects(read, { name: 'LeverError' });
  await caller.close();
});
