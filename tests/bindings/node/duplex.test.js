'use strict';
// Streams as Node's own: pipes, back-pressure, half-close, errors, and their end by `await using`.
const assert = require('node:assert');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Transform, Writable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { after, before, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { lever } = require('./lever');

const LARGE_BYTES = 24 * 1024 * 1024;
const log = []; // what methods have seen
let folder;
let service;
let client;

const methods = {
  async echoChan(stream) {
    for await (const message of stream) await stream.write(message);
  },
  // The same by pipes, on the method's side.
  async shoutChan(stream) {
    const duplex = stream.toDuplex();
    await pipeline(
      duplex,
      new Transform({
        objectMode: true,
        transform: (text, _, done) => done(null, text.toUpperCase()),
      }),
      duplex
    );
  },
  async hashChan(stream) {
    const hash = createHash('sha256');
    await pipeline(stream.toDuplex({ bytes: true }), hash, { end: true });
    await stream.write(hash.digest('hex'));
  },
  async headChan(stream, count) {
    const { value } = await stream.next();
    await stream.write(value.subarray(0, count));
  },
  async failChan(stream) {
    await stream.next();
    throw Object.assign(new RangeError('enough'), { limit: 1 });
  },
  async breakChan(stream) {
    const duplex = stream.toDuplex();
    duplex.on('error', () => {});
    duplex.write('first');
    duplex.destroy(new TypeError('broken pipe of mine'));
    await sleep(1);
  },
  async waitChan(stream) {
    await stream.write('waiting');
    const { signal } = lever.context();
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    log.push('cancelled');
  },
  async floodChan(stream, message, count) {
    for (let i = 0; i < count; i++) {
      await stream.write(message);
      log.push(i);
    }
  },
  async slowChan(stream) {
    await sleep(300);
    let count = 0;
    for await (const _ of stream) count += 1;
    await stream.write(count);
  },
};

async function eventually(condition) {
  const limit = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < limit, 'the condition did not come true');
    await sleep(2);
  }
}

function collect() {
  const chunks = [];
  const sink = new Writable({
    objectMode: true,
    write(chunk, _, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { chunks, sink };
}

before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-duplex-'));
  // Every 4 bytes differ, so that what is lost or doubled shows.
  const data = Buffer.alloc(LARGE_BYTES);
  for (let i = 0; i < LARGE_BYTES; i += 4) data.writeUInt32LE(i, i);
  fs.writeFileSync(path.join(folder, 'large'), data);
  service = lever.serve(methods, { name: 'pipes', host: '127.0.0.1:1', listen: '127.0.0.1:0' });
  client = new lever.Client({ host: service.details.listening, onlyThroughHost: true });
});

after(async () => {
  await client.close();
  await service.close();
  fs.rmSync(folder, { recursive: true });
});

test('a file pipes through a stream of bytes into a file', async () => {
  await pipeline(
    fs.createReadStream(path.join(folder, 'large')),
    client.stream('/pipes/echoChan').toDuplex({ bytes: true }),
    fs.createWriteStream(path.join(folder, 'copy'))
  );
  const read = (name) => fs.readFileSync(path.join(folder, name));
  assert.ok(read('large').equals(read('copy')));
});

test('a method pipes what comes: half-close, then its answer', async () => {
  const stream = client.stream('/pipes/hashChan');
  const duplex = stream.toDuplex();
  await pipeline(fs.createReadStream(path.join(folder, 'large')), duplex, async function* (from) {
    for await (const digest of from) {
      const data = fs.readFileSync(path.join(folder, 'large'));
      assert.strictEqual(digest, createHash('sha256').update(data).digest('hex'));
      yield digest;
    }
  }, collect().sink);
  assert.ok(stream.endedWell);
});

test('objects pass one by one, on both sides', async () => {
  const { chunks, sink } = collect();
  await pipeline(['a', 'b', 'c'], client.stream('/pipes/shoutChan').toDuplex(), sink);
  assert.deepStrictEqual(chunks, ['A', 'B', 'C']);
});

test('one chunk of bytes may be longer than a message can be', async () => {
  const { chunks, sink } = collect();
  const data = fs.readFileSync(path.join(folder, 'large'));
  const duplex = client.stream('/pipes/echoChan').toDuplex({ bytes: true });
  const done = pipeline(duplex, sink);
  duplex.end(data);
  await done;
  assert.ok(Buffer.concat(chunks).equals(data));
});

test('empty messages are no end of a stream of bytes, and messages that are no bytes an error', async () => {
  const stream = client.stream('/pipes/echoChan');
  for (const message of [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(0), Buffer.from('b')]) {
    stream.write(message);
  }
  stream.end();
  const { chunks, sink } = collect();
  await pipeline(stream.toDuplex({ bytes: true }), sink);
  assert.strictEqual(Buffer.concat(chunks).toString(), 'ab');

  for (const [message, options] of [['text', { bytes: true }], [null, {}]]) {
    const other = client.stream('/pipes/echoChan');
    other.write(message);
    await assert.rejects(pipeline(other.toDuplex(options), collect().sink), {
      name: 'LeverError',
      code: 'INVALID_ARGUMENT',
    });
  }
});

test('a method that ends well before all was written gives its answer', async () => {
  const { chunks, sink } = collect();
  await pipeline(
    fs.createReadStream(path.join(folder, 'large')),
    client.stream('/pipes/headChan', 8).toDuplex({ bytes: true }),
    sink
  );
  assert.strictEqual(Buffer.concat(chunks).toString('hex'), '0000000004000000');
});

test("a method's error is the pipeline's", async () => {
  await assert.rejects(
    pipeline(
      fs.createReadStream(path.join(folder, 'large')),
      client.stream('/pipes/failChan').toDuplex(),
      collect().sink
    ),
    { name: 'MethodError', message: 'enough', limit: 1 }
  );
});

test('a method that destroys its side tells the caller why', async () => {
  const stream = client.stream('/pipes/breakChan');
  await assert.rejects(
    async () => {
      for await (const message of stream) assert.strictEqual(message, 'first');
    },
    { name: 'MethodError', message: 'broken pipe of mine' }
  );
});

test('destroying it, aborting it and leaving it by `await using` cancel the stream', async () => {
  const waiting = async () => {
    const stream = client.stream('/pipes/waitChan');
    assert.strictEqual((await stream.next()).value, 'waiting');
    log.length = 0;
    return stream;
  };
  const seen = () => eventually(() => log.length === 1);

  const destroyed = (await waiting()).toDuplex();
  destroyed.destroy();
  await seen();

  const aborted = (await waiting()).toDuplex();
  const controller = new AbortController();
  const piped = pipeline(aborted, collect().sink, { signal: controller.signal });
  controller.abort();
  await assert.rejects(piped, { name: 'AbortError' });
  await seen();

  const left = await waiting();
  await left[Symbol.asyncDispose]();
  assert.ok(!left.endedWell);
  await seen();

  const failed = (await waiting()).toDuplex();
  failed.once('error', () => {});
  failed.destroy(new Error('mine'));
  await seen();
});

test('who does not read holds up the method; who does not take holds up the writer', async () => {
  log.length = 0;
  const duplex = client.stream('/pipes/floodChan', Buffer.alloc(65536), 1000).toDuplex();
  await new Promise((resolve) => {
    duplex.once('readable', resolve);
  });
  let before = -1;
  await eventually(() => before === (before = log.length));
  await sleep(100);
  assert.ok(log.length < 200, `${log.length} of 1000 messages were taken from a method nobody reads`);
  let count = 0;
  for await (const _ of duplex) count += 1;
  assert.strictEqual(count, 1000);

  const slow = client.stream('/pipes/slowChan').toDuplex();
  let written = 0;
  const source = (function* () {
    for (; written < 500; written++) yield Buffer.alloc(65536);
  })();
  const { chunks, sink } = collect();
  const done = pipeline(source, slow, sink);
  await sleep(150);
  assert.ok(written < 200, `${written} of 500 messages were taken for a method that does not read`);
  await done;
  assert.deepStrictEqual(chunks, [500]);
});

test('clients and services end by `await using`', async () => {
  const own = lever.serve({ late: () => sleep(50, 'done') }, {
    name: 'own', host: '127.0.0.1:1', listen: '127.0.0.1:0',
  });
  const user = new lever.Client({ host: own.details.listening, onlyThroughHost: true });
  const answer = user.invoke('/own/late');
  await user.invoke('/own/late');
  const running = user.invoke('/own/late');
  await sleep(10);
  await own[Symbol.asyncDispose](); // what runs is finished
  await own[Symbol.asyncDispose]();
  assert.deepStrictEqual(await Promise.all([answer, running]), ['done', 'done']);
  await user[Symbol.asyncDispose]();
  await assert.rejects(user.invoke('/own/late'), { code: 'CANCELLED' });
});
