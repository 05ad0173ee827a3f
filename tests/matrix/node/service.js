'use strict';
// The matrix's service in Node: tests/matrix/README.md says what it does.
//
//   node service.js NAME

const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const lever = require('lever');
const { describe } = require('./describe');

const CANCEL_LIMIT_MS = 30_000;

const cancelled = new Map(); // by token: whether the caller was seen to go
const taken = new Map(); // by token: messages of floodChan
const releases = new Map(); // by token: what lets slowChan read

function released(token) {
  if (!releases.has(token)) {
    const gate = {};
    gate.open = new Promise((resolve) => {
      gate.release = resolve;
    });
    releases.set(token, gate);
  }
  return releases.get(token);
}

async function untilCancelled(token) {
  const { signal } = lever.context();
  const timeout = AbortSignal.timeout(CANCEL_LIMIT_MS);
  cancelled.set(token, false);
  if (!signal.aborted) {
    await Promise.race([once(signal, 'abort'), once(timeout, 'abort')]);
  }
  cancelled.set(token, signal.aborted);
}

const methods = {
  echo: (value) => value,
  describe,
  size: (bytes) => bytes.length,
  produce: (n) => Buffer.alloc(n),
  fail(value) {
    throw value;
  },
  failBytes(bytes) {
    throw bytes;
  },
  throwObject(message) {
    throw new Error(message);
  },
  remaining() {
    const { deadline } = lever.context();
    return deadline === null ? null : Math.trunc(deadline.getTime() - Date.now());
  },
  async sleep(ms) {
    await sleep(ms);
  },
  waitCancel: untilCancelled,
  wasCancelled: (token) => cancelled.get(token) === true,
  metadata: (name) => lever.context().metadata[name] ?? null,

  async echoChan(stream, greeting) {
    await stream.write(greeting);
    let count = 0;
    for await (const message of stream) {
      await stream.write(message);
      count += 1;
    }
    await stream.write(['end', count]);
  },
  async countChan(stream, n) {
    for (let i = 0; i < n; i++) await stream.write(i);
  },
  async sumChan(stream) {
    let sum = 0;
    for await (const number of stream) sum += number;
    await stream.write(sum);
  },
  async failChan(stream, k, value) {
    for (let i = 0; i < k; i++) await stream.write(i);
    throw value;
  },
  async floodChan(stream, token, size, count) {
    for (let i = 0; i < count; i++) {
      await stream.write(Buffer.alloc(size));
      taken.set(token, i + 1);
    }
  },
  flooded: (token) => taken.get(token) ?? 0,
  async slowChan(stream, token) {
    await released(token).open;
    let count = 0;
    for await (const _ of stream) count += 1;
    await stream.write(count);
  },
  release(token) {
    released(token).release();
  },
  async waitCancelChan(stream, token) {
    await stream.write('waiting');
    await untilCancelled(token);
  },
};

async function main(name) {
  const service = lever.serve(methods, { name, listen: '127.0.0.1:0' });
  await service.attached();
  console.log(`ready ${service.details.listening}`);
  process.stdin.resume();
  await Promise.race([once(process.stdin, 'end'), once(process, 'SIGTERM')]);
  process.stdin.destroy();
  await service.drain();
  await service.close();
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
