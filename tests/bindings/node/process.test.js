'use strict';
// What the binding does to the life of its process and of its threads.
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { folder, lever } = require('./lever');

const PRELUDE = `
  const lever = require(${JSON.stringify(folder)});
  const echo = () => new lever.Client({ echo: true });
  const away = (listen) => lever.serve(
    { hang: () => new Promise(() => {}), hi: () => 'hi', die: () => process.exit(7) },
    { name: 'away', host: '127.0.0.1:1', listen: '127.0.0.1:0' });
  const to = (service) => new lever.Client({ host: service.details.listening, onlyThroughHost: true });
`;

// Runs a program with the package; its exit code and output.
function run(program, { env = {}, limitMs = 20000 } = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', PRELUDE + program], {
      env: { ...process.env, NODE_TEST_CONTEXT: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      err += data;
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      resolve({ code, signal, out: out.trim(), err });
    });
  });
}

async function check(program, expected) {
  const { code, signal, out, err } = await run(program);
  assert.deepStrictEqual({ code, signal, out }, { code: 0, signal: null, ...expected }, err);
  assert.strictEqual(err, '');
}

test('an idle client lets the process end', async () => {
  await check(
    `
    const client = echo();
    client.invoke('/e/e', 1).then(([n]) => console.log('answer', n));
  `,
    { out: 'answer 1' }
  );
  await check('echo(); new lever.Client({ host: "127.0.0.1:1" });', { out: '' });
});

test('an idle client with an open connection lets the process end', async () => {
  await check(
    `
    const service = away();
    const client = to(service);
    client.invoke('/away/hi').then((answer) => {
      console.log(answer);
      return service.close();
    });
  `,
    { out: 'hi' }
  );
});

test('a call in flight keeps the process alive until it is answered', async () => {
  // Nobody is at that port: the call ends by its deadline, and not before.
  await check(
    `
    const began = Date.now();
    new lever.Client({ host: '127.0.0.1:1' }).call('/a/b', [], { timeoutMs: 300 }).catch((error) => {
      console.log(error.code === 'DEADLINE_EXCEEDED' || error.code === 'UNAVAILABLE');
    });
  `,
    { out: 'true' }
  );
});

test('many calls may share a signal, without a warning, and end with it', async () => {
  await check(
    `
    const service = away();
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const hanging = Array.from({ length: 50 }, () => to(service).call('/away/hang', [], options));
    (async () => {
      for (let i = 0; i < 3; i++) await echo().call('/e/e', [], options);
      controller.abort();
      const ends = await Promise.allSettled(hanging);
      console.log(ends.filter((end) => end.reason?.code === 'CANCELLED').length);
      await service.close();
    })();
  `,
    { out: '50' }
  );
});

test('an open stream keeps the process alive', async () => {
  await check(
    `
    const stream = echo().stream('/e/eChan');
    setTimeout(() => stream.end(), 100).unref();
    setTimeout(() => {}, 150);
    (async () => { for await (const m of stream); console.log('ended'); })();
  `,
    { out: 'ended' }
  );
});

test('a service keeps the process alive until it is drained', async () => {
  await check(
    `
    const service = away();
    to(service).invoke('/away/hi').then((answer) => {
      console.log(answer);
      service.drain().then(() => console.log('drained'));
    });
  `,
    { out: 'hi\ndrained' }
  );
});

test('process.exit in the middle of calls and of a method is clean', async () => {
  await check(
    `
    const client = echo();
    for (let i = 0; i < 1000; i++) client.invoke('/e/e', i);
    client.stream('/e/eChan').write(1);
    process.exit(0);
  `,
    { out: '' }
  );
  await check(
    `
    const service = away();
    const client = to(service);
    client.invoke('/away/hang').catch(() => {});
    client.stream('/away/hang').next().catch(() => {});
    client.invoke('/away/die').catch(() => {});
  `,
    { code: 7, out: '' }
  );
});

test('what a program throws within a callback ends it as it would without us', async () => {
  const { code, err } = await run(`
    echo().invoke('/e/e').then(() => { setImmediate(() => { throw new Error('mine'); }); });
  `);
  assert.strictEqual(code, 1);
  assert.match(err, /Error: mine/);
  const rejected = await run("echo().invoke('nonsense');");
  assert.strictEqual(rejected.code, 1);
  assert.match(rejected.err, /LeverError/);
});

test('an idle queue does not turn: a silent connection, a paused stream, a writer that waits', async () => {
  // A descriptor that is readable without a reason would keep one processor busy.
  await check(
    `
    const service = lever.serve({
      async floodChan(stream) { for (;;) await stream.write(Buffer.alloc(50000)); },
    }, { name: 'away', host: '127.0.0.1:1', listen: '127.0.0.1:0' });
    const stream = to(service).stream('/away/floodChan');
    stream.next().then(() => setTimeout(() => {
      const before = process.cpuUsage();
      setTimeout(() => {
        const { user, system } = process.cpuUsage(before);
        console.log(user + system < 250000 ? 'idle' : user + system);
        process.exit();
      }, 500);
    }, 300));
  `,
    { out: 'idle' }
  );
});

function inWorker(program) {
  return new Promise((resolve, reject) => {
    const messages = [];
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads'); ${PRELUDE} ${program}`,
      { eval: true }
    );
    worker.on('message', (message) => messages.push(message));
    worker.on('error', reject);
    worker.on('exit', (code) => resolve({ code, messages }));
  });
}

test('worker threads have clients and services of their own, and end', async () => {
  const workers = Array.from({ length: 4 }, (_, n) =>
    inWorker(`
    const service = away();
    (async () => {
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => echo().invoke('/e/e', ${n}, i)));
      parentPort.postMessage(answers.every(([n, i], at) => n === ${n} && i === at));
      parentPort.postMessage(await to(service).invoke('/away/hi'));
      await service.close();
    })();
  `)
  );
  for (const { code, messages } of await Promise.all(workers)) {
    assert.strictEqual(code, 0);
    assert.deepStrictEqual(messages, [true, 'hi']);
  }
});

test('worker threads that are terminated in the middle of calls are gone', async () => {
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(
      `${PRELUDE}
      const service = away();
      const client = echo();
      const other = to(service);
      (async () => { for (;;) await Promise.all([client.invoke('/e/e', 1), other.invoke('/away/hi')]); })();
      other.invoke('/away/hang').catch(() => {});
      require('node:worker_threads').parentPort.postMessage('runs');
    `,
      { eval: true }
    );
    await new Promise((resolve) => {
      worker.once('message', resolve);
    });
    assert.strictEqual(await worker.terminate(), 1);
  }
});

test('an answer goes out before what its method has put off', async () => {
  // The immediate blocks the thread of the service until the caller has its answer.
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { parentPort, workerData: answered } = require('node:worker_threads');
    ${PRELUDE}
    const service = lever.serve({
      answer() {
        setImmediate(() => parentPort.postMessage(Atomics.wait(answered, 0, 0, 10_000)));
        return 'at once';
      },
    }, { name: 'away', host: '127.0.0.1:1', listen: '127.0.0.1:0' });
    parentPort.postMessage(service.details.listening);
  `,
    { eval: true, workerData: answered }
  );
  const [host] = await once(worker, 'message');
  const client = new lever.Client({ host, onlyThroughHost: true });
  const waited = once(worker, 'message');
  const answer = await client.invoke('/away/answer');
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
  const [how] = await waited;
  await client.close();
  await worker.terminate();
  assert.strictEqual(answer, 'at once');
  assert.notStrictEqual(how, 'timed-out');
});

test('memory does not grow with calls and streams', async () => {
  await check(
    `
    (async () => {
      const client = echo();
      const round = async () => {
        await Promise.all(Array.from({ length: 500 }, (_, i) => client.invoke('/e/e', { i, text: 'x'.repeat(100) })));
        for (let i = 0; i < 20; i++) {
          const stream = client.stream('/e/eChan');
          await stream.write('m');
          stream.end();
          for await (const m of stream);
        }
      };
      for (let i = 0; i < 20; i++) await round();
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 100; i++) await round();
      const grown = process.memoryUsage().rss - before;
      console.log(grown < 32 * 1024 * 1024 ? 'bounded' : grown);
    })();
  `,
    { out: 'bounded' }
  );
});
