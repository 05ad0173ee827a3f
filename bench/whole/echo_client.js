// The same as echo_client.cc, in Node.
'use strict';
const lever = require('lever');

const [service, outstanding, seconds, way] = process.argv.slice(2);
const client = new lever.Client({onlyThroughHost: way === 'host'});
const payload = Buffer.alloc(32);
const address = `/${service}/echo`;

async function run(durationS, latencies) {
  const end = performance.now() + durationS * 1000;
  let calls = 0;
  async function caller() {
    do {
      const began = performance.now();
      await client.invoke(address, payload);
      latencies.push(performance.now() - began);
      ++calls;
    } while (performance.now() < end);
  }
  await Promise.all(Array.from({length: Number(outstanding)}, caller));
  return calls;
}

(async () => {
  await run(1, []);
  console.log('warm');
  await new Promise((done) => process.stdin.once('data', done));
  process.stdin.unref();
  const latencies = [];
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  const calls = await run(Number(seconds), latencies);
  const elapsed = (performance.now() - began) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  latencies.sort((a, b) => a - b);
  const at = (quantile) => latencies[Math.floor(quantile * (latencies.length - 1))] * 1000;
  console.log(JSON.stringify({calls, errors: 0, seconds: elapsed,
    cpu_us: (cpu.user + cpu.system) / calls, p50_us: at(0.5), p99_us: at(0.99)}));
  process.exit(0);
})();
