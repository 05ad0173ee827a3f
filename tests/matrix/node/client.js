'use strict';
// The matrix's client in Node: tests/matrix/README.md says what it does.
//
//   node client.js SERVICE --values FILE [--only CASE,...] [--introduced | --through-host | --tcp]

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const lever = require('lever');
const calls = require('./call_cases');
const streams = require('./stream_cases');

const INTRODUCED_MS = 5000;

// What the cases are given.
function makeContext(service, flags) {
  const openClient = () => new lever.Client({ onlyThroughHost: flags['through-host'] === true });
  const client = openClient();
  const address = (method) => `/${service}/${method}`;
  return {
    client,
    openClient,
    address,
    serviceLanguage: process.env.SERVICE_LANGUAGE,
    invoke: (method, ...args) => client.invoke(address(method), ...args),
    call: (method, args, options) => client.call(address(method), args, options),
    stream: (method, ...args) => client.stream(address(method), ...args),
    openStream: (method, args, options) => client.openStream(address(method), args, options),
  };
}

// Until calls go straight to the instance.
async function awaitIntroduction({ client, invoke }) {
  const limit = performance.now() + INTRODUCED_MS;
  while (client.stats().callsDirect === 0) {
    if (performance.now() > limit) throw new Error('no call went straight to the instance');
    await invoke('echo', null);
    await sleep(10);
  }
}

async function run(name, test, context) {
  try {
    await test(context);
    console.log(JSON.stringify({ case: name, ok: true }));
    return true;
  } catch (error) {
    console.log(JSON.stringify({ case: name, ok: false, detail: `${error.message} ${error.stack}` }));
    return false;
  }
}

async function main() {
  const { values: flags, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      values: { type: 'string' },
      only: { type: 'string' },
      introduced: { type: 'boolean' },
      'through-host': { type: 'boolean' },
      tcp: { type: 'boolean' },
    },
  });
  const expected = JSON.parse(fs.readFileSync(flags.values, 'utf8'));
  const cases = { ...calls.cases, ...streams.cases };
  if (flags.tcp) delete cases['unknown.service'];
  for (const [name, text] of Object.entries(expected)) {
    cases[`value.${name}`] = calls.valueCase(name, text);
  }
  const only = flags.only?.split(',') ?? Object.keys(cases);

  const context = makeContext(positionals[0], flags);
  if (flags.introduced) await awaitIntroduction(context);
  // All at once but for those that fill connections, whose neighbours would have to wait.
  const heavy = only.filter((name) => /^(limit|pressure)\./.test(name));
  const light = only.filter((name) => !heavy.includes(name));
  const results = await Promise.all(light.map((name) => run(name, cases[name], context)));
  for (const name of heavy) results.push(await run(name, cases[name], context));
  await context.client.close();
  process.exitCode = results.every((ok) => ok) ? 0 : 1;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
