'use strict';
// What the Node programs of the bench have in common; bench/common/load.h tells how they are driven.
const readline = require('node:readline');

// Answers the commands: `call()` is one call, and resolves when it is done.
function drive(call) {
  async function unary(seconds, outstanding) {
    const latencies = [];
    let errors = 0;
    const began = performance.now();
    const end = began + seconds * 1000;
    const caller = async () => {
      for (let started = performance.now(); ;) {
        try {
          await call();
        } catch (error) {
          if (errors++ === 0) console.error(error);
        }
        const done = performance.now();
        latencies.push(done - started);
        if (done >= end) return;
        started = done;
      }
    };
    await Promise.all(Array.from({ length: outstanding }, caller));
    const elapsed = (performance.now() - began) / 1000;
    latencies.sort((a, b) => a - b);
    const at = (quantile) => latencies[Math.floor(quantile * (latencies.length - 1))] * 1000;
    return {
      calls: latencies.length,
      errors,
      seconds: elapsed,
      p50_us: at(0.5),
      p99_us: at(0.99),
    };
  }
  const commands = readline.createInterface({ input: process.stdin });
  commands.on('line', async (line) => {
    const [verb, seconds, count] = line.split(' ');
    if (verb !== 'unary') throw new Error(`unknown command: ${verb}`);
    console.log(JSON.stringify(await unary(Number(seconds), Number(count))));
  });
  commands.on('close', () => process.exit(0));
  console.log('ready');
}

function exitWithInput() {
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}

module.exports = { drive, exitWithInput };
