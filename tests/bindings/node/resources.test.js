'use strict';
// Resources: objects that are opened, called and closed, in one process. Hand-overs between processes are
// tested with a real host (tests/e2e/test_node_resources.py).
const assert = require('node:assert');
const { EventEmitter, once } = require('node:events');
const path = require('node:path');
const { afterEach, test } = require('node:test');
const { setImmediate: turn, setTimeout: sleep } = require('node:timers/promises');
const { folder, lever } = require('./lever');

const testing = require(path.join(folder, 'testing.js'));

const MINUTE = 60_000;
const started = []; // by the test that runs, which may fail before it closes them

async function start(services, options) {
  const t = await testing.start(services, options);
  started.push(t);
  return t;
}

// A service in this process, which its own client calls.
function serve(Resource, resource) {
  const service = new lever.Service({ name: 'box', inProcess: true, resource });
  started.push(service);
  return service.add({ Resource }).start();
}

afterEach(() => Promise.all(started.splice(0).map((one) => one.close())));

// A class of counters, which tell `log` what happens to them.
function counters(log, extra = {}) {
  return Object.assign(
    class Counter {
      #name;
      count = 0;
      running = 0;
      most = 0;

      async open(name, { state, origin }) {
        await turn();
        this.#name = name;
        log.push(['open', name, origin, state]);
      }
      add(n) {
        this.count += n;
        return this.count;
      }
      // Until as many run at a time as should, and a while longer, in which more would show.
      async slow(together) {
        this.most = Math.max(this.most, ++this.running);
        while (this.most < together) await turn();
        for (let i = 0; i < 30; i++) await turn();
        this.running -= 1;
        return this.most;
      }
      who() {
        return this.#name;
      }
      async seen() {
        await turn();
        const { resource, generation } = lever.context();
        return [resource, generation];
      }
      async watchChan(stream, greeting) {
        await stream.write([greeting, this.#name, lever.context().resource]);
        try {
          for await (const message of stream) await stream.write(message + this.count);
        } finally {
          await turn();
          log.push(['watched', this.#name]);
        }
      }
      fail() {
        throw Object.assign(new RangeError('no'), { of: this.#name });
      }
      _inner() {}
      get doubled() {
        return this.count * 2;
      }
      async close(reason) {
        log.push(['close', this.#name, reason, lever.context().resource]);
        return this.count;
      }
    },
    extra
  );
}

// The warnings that come while `run` runs.
async function warningsOf(run) {
  const seen = [];
  const listener = (warning) => seen.push(`${warning.name}: ${warning.message}`);
  process.on('warning', listener);
  try {
    await run();
    await turn();
    await turn();
  } finally {
    process.off('warning', listener);
  }
  return seen;
}

test('each name is an object of its own, opened once before its first call', async () => {
  const log = [];
  const t = await start({ box: { pid: () => 7, Resource: counters(log) } });
  const added = ['a', 'b', 'a', 'a/b c?'].map((name) => {
    return t.client.invoke(`/box/${encodeURIComponent(name)}/add`, 2);
  });
  assert.deepStrictEqual(await Promise.all(added), [2, 2, 4, 2]);
  assert.strictEqual(await t.client.invoke('/box/a%2Fb%20c%3F/who'), 'a/b c?');
  assert.strictEqual(await t.client.invoke('/box/pid'), 7);
  assert.deepStrictEqual(log.map(String).sort(), ['open,a,new,', 'open,a/b c?,new,', 'open,b,new,']);
  await assert.rejects(t.client.invoke('/box/a/fail'), { name: 'MethodError', message: 'no', of: 'a' });
});

test('what is no method of a resource is not called', async () => {
  class Base extends EventEmitter {
    inherited() {
      return this.constructor.name;
    }
    hidden() {}
  }
  class Note extends Base {
    static helper() {}
    own() {
      return this.inherited();
    }
    hidden() {
      return 'of Note';
    }
    _private() {}
    open() {}
    close() {}
    get lazy() {
      throw new Error('a getter was called');
    }
  }
  const t = await start({ notes: { Resource: Note, top: () => 1 } });
  assert.strictEqual(await t.client.invoke('/notes/x/own'), 'Note');
  assert.strictEqual(await t.client.invoke('/notes/x/inherited'), 'Note');
  assert.strictEqual(await t.client.invoke('/notes/x/hidden'), 'of Note');
  const none = ['x/_private', 'x/open', 'x/close', 'x/constructor', 'x/helper', 'x/lazy', 'x/emit',
    'x/on', 'x/toString', 'x/top', 'own', 'Resource'];
  for (const address of none) {
    const refused = { code: 'NOT_FOUND', executed: 'no' };
    await assert.rejects(t.client.invoke(`/notes/${address}`), refused, address);
  }
});

test('a method sees its resource and the fencing token, others see none', async () => {
  const seen = [];
  class Resource {
    constructor() {
      seen.push(lever.context().resource);
    }
    open() {
      const { resource, generation, config, deadline, caller, client, metadata, signal } =
        lever.context();
      seen.push(resource, generation, config, deadline, caller, { ...metadata }, signal.aborted);
      this.greeting = client.invoke('/box/seen');
    }
    async seen() {
      const { resource, generation } = lever.context();
      return [resource, generation, await this.greeting];
    }
  }
  const box = {
    Resource,
    seen: () => [lever.context().resource, lever.context().generation],
  };
  const t = await start({ box }, { config: { box: { a: 1 } } });
  const [name, generation, outside] = await t.client.invoke('/box/name/seen');
  assert.strictEqual(name, 'name');
  assert.ok(Number.isSafeInteger(generation) && generation > 0, String(generation));
  assert.deepStrictEqual(outside, [null, null]);
  assert.deepStrictEqual(seen, ['name', 'name', generation, { a: 1 }, null, '', {}, false]);
});

test('streams of a resource run on its object, beside its calls', async () => {
  const log = [];
  const t = await start({ box: { Resource: counters(log, { serial: true }) } });
  const stream = t.client.stream('/box/a/watchChan', 'hi');
  assert.deepStrictEqual((await stream.next()).value, ['hi', 'a', 'a']);
  assert.strictEqual(await t.client.invoke('/box/a/add', 5), 5);
  await stream.write(10);
  assert.strictEqual((await stream.next()).value, 15);
  stream.end();
  assert.strictEqual((await stream.next()).done, true);
});

test('methods run at once by default, one at a time if serial, so many at a time as is said', async () => {
  const run = async (together, extra, resource) => {
    const service = serve(counters([], extra), resource);
    const calls = Array.from({ length: 12 }, () => {
      return service.client.call('/box/a/slow', [together], { timeoutMs: 20_000 });
    });
    assert.strictEqual(Math.max(...(await Promise.all(calls))), together);
    await service.close();
  };
  await run(12, {});
  await run(1, { serial: true });
  await run(3, { maxConcurrency: 3 });
  await run(1, { maxConcurrency: 3 }, { serial: true, maxConcurrency: 1 });
  await run(2, { maxConcurrency: 3 }, { maxConcurrency: 2 });
});

test('an idle one is closed and is new when it is called again', async () => {
  const log = [];
  const t = await start({ box: { Resource: counters(log) } }, { holdTime: true });
  const warnings = await warningsOf(async () => {
    assert.strictEqual(await t.client.invoke('/box/a/add', 5), 5);
    await t.advance(3 * MINUTE - 1);
    assert.strictEqual(log.length, 1);
    assert.strictEqual(await t.client.invoke('/box/a/add', 1), 6);
    await t.advance(3 * MINUTE);
    assert.deepStrictEqual(log.at(-1), ['close', 'a', 'idle', 'a']);
    assert.strictEqual(await t.client.invoke('/box/a/add', 1), 1);
    assert.deepStrictEqual(log.at(-1), ['open', 'a', 'new', undefined]);
    await t.advance(3 * MINUTE);
    assert.deepStrictEqual(log.at(-1), ['close', 'a', 'idle', 'a']);
  });
  assert.deepStrictEqual(warnings, [
    "LeverWarning: what close('idle') returns is dropped: an idle resource is new when it is opened again",
  ]);
});

test('idleTimeoutMs of the class is when; an open stream keeps it open', async () => {
  const log = [];
  const Resource = counters(log, { idleTimeoutMs: 1000 });
  const t = await start({ box: { Resource } }, { holdTime: true });
  const stream = t.client.stream('/box/a/watchChan', 'hi');
  await stream.next();
  await t.client.invoke('/box/b/add', 1);
  await t.advance(5000);
  assert.deepStrictEqual(log.filter(([what]) => what === 'close'), [['close', 'b', 'idle', 'b']]);
  stream.cancel();
  await t.advance(0);
  await t.advance(1000);
  // Its method has cleaned up before.
  assert.deepStrictEqual(log.slice(-2), [['watched', 'a'], ['close', 'a', 'idle', 'a']]);
});

test('a drain closes what is open, after what runs on it', async () => {
  const log = [];
  const service = serve(counters(log));
  await service.client.invoke('/box/idle/add', 1);
  const running = service.client.invoke('/box/busy/slow', 1).then((answer) => {
    log.push(['answered', answer]);
  });
  const stream = service.client.stream('/box/watched/watchChan', 'hi');
  await stream.next();
  while (!log.some(([what, name]) => what === 'open' && name === 'busy')) await turn();
  await service.drain();
  await running;
  await assert.rejects(stream.next(), { code: 'UNAVAILABLE' });
  const order = log.map(([what, name]) => `${what} ${name}`);
  const at = (text) => order.indexOf(text);
  assert.ok(at('watched watched') > 0 && at('watched watched') < at('close watched'), String(order));
  assert.ok(at('close busy') > 0 && at('close idle') > 0, String(order));
  assert.deepStrictEqual(
    log.filter(([what]) => what === 'close').map(([, , reason]) => reason),
    ['stopping', 'stopping', 'stopping']
  );
});

// A tape gives back what is sent, each with a token, and says how its methods end.
function tapes(log) {
  return class Tape {
    async echoChan(stream, ...args) {
      try {
        for await (const message of stream) {
          if (message === 'wait') {
            log.push('waits');
            await once(stream.moving, 'abort');
          }
          await stream.write(message, { token: `after ${message}` });
        }
        log.push('read to the end');
      } catch (error) {
        log.push([error.name, error === stream.moving.reason, stream.moving.aborted]);
        await stream.write('and this');
        throw error;
      }
    }
    async holdChan(stream) {
      log.push('holds');
      await once(stream.moving, 'abort');
      await assert.rejects(stream.next(), lever.Moved);
      stream.end();
    }
    async resume(stream, token, received) {
      log.push(['resume', String(token), received, stream.method, stream.args]);
      for await (const message of stream) await stream.write(message);
    }
  };
}

test('a stream that moves stops reading, and its end says from where it can go on', async () => {
  const log = [];
  const service = serve(tapes(log));
  const stream = service.client.stream('/box/a/echoChan');
  await stream.write('one');
  assert.strictEqual((await stream.next()).value, 'one');
  await stream.write('wait');
  await stream.write('not read any more');
  while (!log.includes('waits')) await turn();
  const drained = service.drain();
  assert.strictEqual((await stream.next()).value, 'wait', 'what was read is done');
  assert.strictEqual((await stream.next()).value, 'and this', 'what is written goes out');
  // There is no other instance, nor the service any more.
  const error = await stream.next().then(assert.fail, (thrown) => thrown);
  assert.strictEqual(error.code, 'NOT_FOUND');
  assert.strictEqual(error.executed, 'unknown');
  assert.deepStrictEqual(
    { ...error.resume, token: String(error.resume.token) },
    { token: 'after wait', received: 3 }
  );
  await drained;
  assert.deepStrictEqual(log, ['waits', ['Moved', true, true]]);
});

test('end() while a stream moves is its end', async () => {
  const log = [];
  const service = serve(tapes(log));
  const stream = service.client.stream('/box/a/holdChan');
  await stream.write('something');
  while (!log.includes('holds')) await turn();
  const drained = service.drain();
  assert.deepStrictEqual(await stream.next(), { value: undefined, done: true });
  await drained;
});

test('a stream is taken up again by resume(), from a point that its caller has', async () => {
  const log = [];
  const service = serve(tapes(log));
  const take = (resume) => service.client.openStream('/box/a/echoChan', ['x', 2], { resume });
  const stream = take({ token: Buffer.from('after 5'), received: 5 });
  await stream.write(6);
  assert.strictEqual((await stream.next()).value, 6);
  stream.end();
  assert.strictEqual((await stream.next()).done, true);
  const large = Buffer.alloc(3000);
  const bare = service.client.openStream('/box/a/echoChan', [large], {
    resume: {},
    metadata: { color: 'red' },
  });
  bare.end();
  assert.strictEqual((await bare.next()).done, true);
  assert.deepStrictEqual(log, [
    ['resume', 'after 5', 5, 'echoChan', ['x', 2]],
    ['resume', '', 0, 'echoChan', [large]],
  ]);
  const invalid = { code: 'INVALID_ARGUMENT', executed: 'no' };
  assert.throws(() => take({ token: Buffer.alloc(4097) }), invalid);
  assert.throws(() => take({ token: 5 }), invalid);
  assert.throws(() => take({ received: -1 }), invalid);
  assert.throws(() => take(null), invalid);
  assert.throws(() => service.client.openStream('/box/echoChan', [], { resume: {} }), invalid);
});

test('a token is bytes or a text of at most 4 KiB', async () => {
  const seen = [];
  const service = serve(
    class {
      async tellChan(stream) {
        for (const token of ['x'.repeat(4097), Buffer.alloc(4097), 5, null]) {
          await stream.write(1, { token }).catch((error) => seen.push(error.code));
        }
        await stream.write(2, { token: 'x'.repeat(4096) });
        await stream.write(Buffer.from('3'), { token: new Uint8Array(4096) });
        await stream.write(4);
      }
      resume() {}
    }
  );
  const read = [];
  for await (const message of service.client.stream('/box/a/tellChan')) read.push(String(message));
  assert.deepStrictEqual(read, ['2', '3', '4']);
  assert.deepStrictEqual(seen, Array(4).fill('INVALID_ARGUMENT'));
});

test('of a class without resume() a stream that moves ends', async () => {
  const service = serve(counters([]));
  const take = { resume: { token: 'x', received: 1 } };
  const again = service.client.openStream('/box/a/watchChan', ['hi'], take);
  await assert.rejects(again.next(), { code: 'UNIMPLEMENTED', executed: 'no' });
});

test('a method that goes on without its stream holds a closing up for a second at most', async () => {
  const log = [];
  class Resource {
    async holdChan(stream) {
      await stream.write('here');
      await sleep(60_000, undefined, { ref: false });
    }
    close() {
      log.push('closed');
    }
  }
  const t = await start({ box: { Resource } }, { holdTime: true });
  const stream = t.client.stream('/box/a/holdChan');
  await stream.next();
  stream.cancel();
  await t.advance(0);
  const began = Date.now();
  await t.advance(3 * MINUTE);
  assert.deepStrictEqual(log, []);
  while (log.length === 0 && Date.now() - began < 20_000) await sleep(10);
  assert.deepStrictEqual(log, ['closed']);
});

test('what open() throws is what those who call are told, unexecuted; the next call opens it again', async () => {
  let opened = 0;
  class Resource {
    async open(name) {
      opened += 1;
      await turn();
      if (name === 'text') throw 'just a text';
      if (name === 'nothing') throw undefined;
      if (name === 'odd') throw new Proxy({}, { get() { throw null; } });
      if (opened === 1) throw new Error('its store is away');
    }
    get() {
      return opened;
    }
  }
  class Broken {
    constructor() {
      throw new TypeError('not even made');
    }
    get() {}
  }
  const t = await start({ box: { Resource }, broken: { Resource: Broken } });
  const refused = (message) => ({
    name: 'LeverError', code: 'INTERNAL', executed: 'no',
    message: `the resource could not be opened: ${message}`,
  });
  const [one, two] = [t.client.invoke('/box/a/get'), t.client.invoke('/box/a/get')];
  await assert.rejects(one, refused('its store is away'));
  await assert.rejects(two, refused('its store is away'));
  assert.strictEqual(await t.client.invoke('/box/a/get'), 2);
  await assert.rejects(t.client.invoke('/box/text/get'), refused('just a text'));
  await assert.rejects(t.client.invoke('/box/nothing/get'), refused('no reason was given'));
  await assert.rejects(t.client.invoke('/box/odd/get'), refused('no reason was given'));
  await assert.rejects(t.client.invoke('/broken/a/get'), refused('not even made'));
});

test('open and close may be left out', async () => {
  class Resource {
    n = 0;
    add() {
      return ++this.n;
    }
  }
  const t = await start({ box: { Resource } }, { holdTime: true });
  assert.strictEqual(await t.client.invoke('/box/a/add'), 1);
  assert.strictEqual(await t.client.invoke('/box/a/add'), 2);
  await t.advance(3 * MINUTE);
  assert.strictEqual(await t.client.invoke('/box/a/add'), 1);
});

test('what close() throws, or returns and cannot be carried, is in the log', async () => {
  const bad = {
    throws() {
      throw new Error('disk full');
    },
    rejects: async () => {
      await turn();
      throw 'later';
    },
    function: () => () => 1,
    large: () => Buffer.alloc(1024 * 1024),
    deep() {
      let value = [];
      for (let i = 0; i < 200; i++) value = [value];
      return value;
    },
    fits: () => Buffer.alloc(1000 * 1000),
    nothing() {},
    null: () => null,
  };
  class Resource {
    open(name) {
      this.close = bad[name];
    }
    touch() {}
  }
  const service = serve(Resource);
  for (const name of Object.keys(bad)) await service.client.invoke(`/box/${name}/touch`);
  const warnings = await warningsOf(() => service.drain());
  await service.close();
  const text = warnings.sort().join('\n');
  const told = (name, why) =>
    `LeverWarning: close('stopping') of "${name}" failed: ${why}, and what the resource was is lost`;
  assert.ok(text.includes(told('throws', 'disk full')), text);
  assert.ok(text.includes(told('rejects', 'later')), text);
  assert.ok(text.includes(told('large', 'it returned 1048576 bytes, and at most 1048512 are carried')), text);
  for (const name of ['function', 'deep']) {
    assert.ok(text.includes(`close('stopping') of "${name}" failed: `), text);
  }
  assert.strictEqual(warnings.length, 5, text);
});

test('a class that cannot be one of resources is refused with the reason', async () => {
  const refused = (Resource, pattern, options = {}) => {
    const make = () => lever.serve({ Resource }, { name: 'box', host: '127.0.0.1:1', ...options });
    assert.throws(make, pattern);
  };
  class Good {
    get() {}
  }
  const INVALID = 'INVALID_ARGUMENT';
  const named = (message) => (error) => {
    return error.code === INVALID && error.message.includes(message);
  };
  class Resumes {
    get() {}
  }
  Resumes.prototype.resume = true;
  refused(Resumes, named('Resource.resume: a method is expected'));
  refused(class {}, named('the class has no methods'));
  refused(class { open() {} _get() {} }, named('the class has no methods'));
  refused(class { open = 5; get() {} static serial = 'yes'; }, named('Resource.serial'));
  refused(class { get() {} static maxConcurrency = -1; }, named('Resource.maxConcurrency'));
  refused(class { get() {} static serial = true; static maxConcurrency = 2; }, named('serial'));
  refused(class { get() {} static idleTimeoutMs = '1s'; }, named('Resource.idleTimeoutMs'));
  refused(class { get() {} static idleTimeout = 5; }, named('idleTimeoutMs, and is in milliseconds'));
  for (const value of [5, null, {}, () => {}, 'Note']) refused(value, named('a class is expected'));
  refused(Good, named('the options must be an object'), { resource: 5 });
  refused(undefined, named('has no class Resource'), { resource: { serial: true } });

  const service = new lever.Service({ name: 'box', host: '127.0.0.1:1' });
  service.add({ Resource: Good });
  assert.strictEqual(service.methodCount, 1);
  assert.throws(() => service.add({ Resource: Good }), { code: 'FAILED_PRECONDITION' });
});

test('a class as compilers write it for old JavaScript, and one of an ES module', async () => {
  function Old() {
    this.n = 41;
  }
  Old.prototype.next = function next() {
    return ++this.n;
  };
  const asModule = await import(
    'data:text/javascript,export class Resource { hi() { return "hi"; } }'
  );
  const asDefault = await import(
    'data:text/javascript,export default { Resource: class { hi() { return "oh"; } } }'
  );
  const t = await start({ old: { Resource: Old }, first: asModule, second: asDefault });
  assert.strictEqual(await t.client.invoke('/old/a/next'), 42);
  assert.strictEqual(await t.client.invoke('/first/a/hi'), 'hi');
  assert.strictEqual(await t.client.invoke('/second/a/hi'), 'oh');
});

test('a service that is closed while one is opened or closed forgets it', async () => {
  let letGo;
  const held = new Promise((resolve) => {
    letGo = resolve;
  });
  class Resource {
    async open(name) {
      opened += 1;
      if (name === 'opening') await held;
    }
    touch() {}
    async close() {
      await held;
      return 5;
    }
  }
  let opened = 0;
  const first = serve(Resource);
  await first.client.invoke('/box/closing/touch');
  const opening = first.client.invoke('/box/opening/touch');
  // It is ended, or sent again, and finds nobody then.
  const refused = assert.rejects(opening, ({ code }) => ['CANCELLED', 'NOT_FOUND'].includes(code));
  while (opened < 2) await turn();
  first.drain().catch(() => {});
  await once(first, 'draining');
  await first.close();
  await refused;
  // What the next one is called by is what the first was.
  const second = await start({ box: { Resource } });
  const warnings = await warningsOf(async () => {
    letGo();
    await second.client.invoke('/box/a/touch');
  });
  assert.deepStrictEqual(warnings, []);
});
