'use strict';
// CPU time a call of the Node binding, for an echo of 32 bytes with 1 and with 64 calls
// outstanding: without a network (the echo mode), and straight to a Node program that listens.
//
//   LEVER_NODE_PACKAGE=<build>/runtime/node/node_modules/lever node bench/node/echo.js [SECONDS]
//
// One line of JSON for each case: calls a second, and microseconds of CPU a call of client and
// service.

const { fork } = require('node:child_process');

const lever = require(process.env.LEVER_NODE_PACKAGE);

const PAYLOAD = 'x'.repeat(32);
const WARM_UP_S = 1;

const cpuUs = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

function serve() {
  const service = lever.serve(
    { echo: (value) => value, echoBytes: (value) => value },
    { name: 'bench', host: '127.0.0.1:1', listen: '127.0.0.1:0' }
  );
  process.on('message', () => process.send({ us: cpuUs() }));
  process.send({ listening: service.details.listening });
}

// Calls for so long; how many were answered.
async function load(client, method, argument, outstanding, seconds) {
  const end = performance.now() + seconds * 1000;
  let calls = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await client.invoke(method, argument);
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: outstanding }, caller));
  return calls;
}

async function measure(name, client, method, argument, outstanding, seconds, serviceUs) {
  await load(client, method, argument, outstanding, WARM_UP_S);
  const [us, service, began] = [cpuUs(), await serviceUs(), performance.now()];
  const calls = await load(client, method, argument, outstanding, seconds);
  const took = (performance.now() - began) / 1000;
  const round = (x) => Math.round(x * 100) / 100;
  console.log(
    JSON.stringify({
      name,
      outstanding,
      calls_per_s: Math.round(calls / took),
      client_us: round((cpuUs() - us) / calls),
      service_us: round(((await serviceUs()) - service) / calls),
    })
  );
}

async function main(seconds) {
  const echo = new lever.Client({ echo: true });
  const none = async () => 0;
  for (const outstanding of [1, 64]) {
    await measure('echo mode, value', echo, '/bench/echo', PAYLOAD, outstanding, seconds, none);
  }
  const child = fork(__filename, ['serve'], { serialization: 'json' });
  const answer = () =>
    new Promise((resolve) => {
      child.once('message', resolve);
    });
  const { listening } = await answer();
  const serviceUs = async () => {
    const next = answer();
    child.send({});
    return (await next).us;
  };
  const client = new lever.Client({ host: listening, onlyThroughHost: true });
  const bytes = Buffer.from(PAYLOAD);
  for (const outstanding of [1, 64]) {
    await measure('direct, value', client, '/bench/echo', PAYLOAD, outstanding, seconds, serviceUs);
    await measure(
      'direct, bytes',
      client,
      '/bench/echoBytes',
      bytes,
      outstanding,
      seconds,
      serviceUs
    );
  }
  child.kill();
}

if (process.argv[2] === 'serve') serve();
else main(Number(process.argv[2] ?? 3));
