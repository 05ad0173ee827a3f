'use strict';
// Whether memory stays flat: calls and streams between a client and a service of this process, over a
// real connection, resources that are opened, called and closed, and what is said after each tenth of them.
//
//   LEVER_NODE_PACKAGE=build/release/runtime/node/node_modules/lever \
//     node --expose-gc tests/bindings/node/leak.js [CALLS [STREAMS [RESOURCES]]]
//                                                      by default 1,000,000, 100,000 and 50,000
//
// Ends with 1 if the last tenth is above the first three by more than what is said below: what was
// allocated at first is kept, and is no leak.

const { setTimeout: sleep } = require('node:timers/promises');
const { lever } = require('./lever');

const calls = Number(process.argv[2] ?? 1_000_000);
const streams = Number(process.argv[3] ?? 100_000);
const resources = Number(process.argv[4] ?? 50_000);
const TENTHS = 10;
const OUTSTANDING = 64;
const MESSAGES = 3;
const WARM_TENTHS = 3;
const MIB = 1024 * 1024;
const GROWTH_MAX = { rss: 32 * MIB, heapUsed: 2 * MIB, external: 4 * MIB };

const service = lever.serve({
  echo: (value) => value,
  fail(value) {
    throw Object.assign(new Error('on purpose'), { value });
  },
  async echoChan(stream, greeting) {
    await stream.write(greeting);
    for await (const message of stream) await stream.write(message);
  },
}, { name: 'leak', host: '127.0.0.1:1', listen: '127.0.0.1:0' });
const client = new lever.Client({ host: service.details.listening, onlyThroughHost: true });

let open = 0;

// Each is closed as soon as nobody calls it.
class Resource {
  static idleTimeoutMs = 1;

  #text;

  async open(name) {
    open += 1;
    if (name.endsWith('7')) {
      open -= 1;
      throw new Error('on purpose');
    }
    this.#text = name;
  }
  get() {
    return this.#text;
  }
  async watchChan(stream) {
    await stream.write(this.#text);
    for await (const message of stream) void message;
  }
  close() {
    open -= 1;
  }
}
const cycle = new lever.Service({ name: 'cycle', inProcess: true }).add({ Resource }).start();

// One in ten cannot be opened, one in four has a stream too.
async function resource(i) {
  const stream = i % 4 === 0 ? cycle.client.stream(`/cycle/r${i}/watchChan`) : null;
  const answer = await cycle.client.invoke(`/cycle/r${i}/get`).catch((error) => error.code);
  if (answer !== (i % 10 === 7 ? 'INTERNAL' : `r${i}`)) throw new Error(`r${i} answers ${answer}`);
  stream?.end();
  if (stream !== null) for await (const message of stream) if (message !== `r${i}`) throw new Error('text');
}

// One call in eight ends with an error, one is cancelled, one has metadata, one is of bytes.
async function call(i) {
  const text = 'x'.repeat(i % 200);
  switch (i % 8) {
    case 0:
      return client.invoke('/leak/fail', { i }).catch(() => {});
    case 1:
      return client.call('/leak/echo', [text], { metadata: { trace: text }, timeoutMs: 5000 });
    case 2:
      return client.invoke('/leak/echo', Buffer.alloc(i % 5000));
    case 3: {
      const controller = new AbortController();
      const answer = client.call('/leak/echo', [i], { signal: controller.signal }).catch(() => {});
      controller.abort();
      return answer;
    }
    default:
      return client.invoke('/leak/echo', { i, text, list: [i, text] });
  }
}

// One stream in four is left early, one is a Duplex.
async function stream(i) {
  const one = client.stream('/leak/echoChan', i);
  if (i % 4 === 0) {
    for await (const message of one) if (message === i) break;
    return;
  }
  const to = i % 4 === 1 ? one.toDuplex() : one;
  for (let n = 0; n < MESSAGES; n++) await to.write({ n });
  to.end();
  let count = 0;
  for await (const _ of to) count += 1;
  if (count !== MESSAGES + 1) throw new Error(`${count} messages instead of ${MESSAGES + 1}`);
}

async function many(count, one) {
  let next = 0;
  const worker = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: OUTSTANDING }, worker));
}

function memory() {
  global.gc();
  return process.memoryUsage();
}

const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;

async function main() {
  const seen = [];
  for (let tenth = 1; tenth <= TENTHS; tenth++) {
    await many(calls / TENTHS, call);
    await many(streams / TENTHS, stream);
    await many(resources / TENTHS, resource);
    while (open > 0) await sleep(1);
    const now = memory();
    seen.push(now);
    const { rss, heapUsed, external } = now;
    console.log(
      `${(calls / TENTHS) * tenth} calls, ${(streams / TENTHS) * tenth} streams, ` +
        `${(resources / TENTHS) * tenth} resources: ${mib(rss)} resident, ` +
        `${mib(heapUsed)} of objects, ${mib(external)} of buffers`
    );
  }
  await client.close();
  await service.close();
  await cycle.close();
  const grown = Object.keys(GROWTH_MAX).filter((kind) => {
    const warm = Math.max(...seen.slice(0, WARM_TENTHS).map((one) => one[kind]));
    return seen.at(-1)[kind] > warm + GROWTH_MAX[kind];
  });
  console.log(grown.length === 0 ? 'flat' : `it grows: ${grown}`);
  process.exitCode = grown.length === 0 ? 0 : 1;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
