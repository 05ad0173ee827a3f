// Opens many streams of resources of one service, writes to them all the time, and checks that what comes
// back is complete, once each, and in order. Until a line comes on standard input; then one line of JSON.
//
//   node resumed.js SERVICE STREAMS MESSAGES_PER_SECOND direct|host
'use strict';

const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const lever = require('lever');

const [service, streams, rate, way] = process.argv.slice(2);
const client = new lever.Client({ onlyThroughHost: way === 'host' });
const seen = { written: 0, read: 0, slowestMs: 0, wrong: [], ends: {} };
let over = false;

async function readAll(stream, name, written) {
  let expected = 0;
  try {
    for await (const { n, serial } of stream) {
      expected += 1;
      if (n !== expected || serial !== expected) {
        seen.wrong.push(`${name}: ${n}, the ${serial}th, came in the place of ${expected}`);
      }
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - written[expected - 1]);
      seen.read += 1;
    }
    seen.ends.OK = (seen.ends.OK ?? 0) + 1;
  } catch (error) {
    const how = error.code ?? error.name;
    seen.ends[how] = (seen.ends[how] ?? 0) + 1;
    seen.wrong.push(`${name}: ${error.message}`);
  }
  if (expected !== written.length) seen.wrong.push(`${name}: ${expected} of ${written.length} came`);
}

async function runOne(i) {
  const name = `tape-${i}`;
  const written = [];
  const stream = client.stream(`/${service}/${name}/echoChan`, name);
  const reading = readAll(stream, name, written);
  await sleep(Math.random() * 100);
  try {
    while (!over) {
      written.push(performance.now());
      await stream.write(written.length);
      seen.written += 1;
      await sleep((streams / rate) * 1000);
    }
    stream.end();
  } catch {
    // Its end says why.
  }
  await reading;
}

async function main() {
  process.stdin.resume();
  void once(process.stdin, 'end').then(() => {
    over = true;
  });
  await Promise.all(Array.from({ length: Number(streams) }, (_, i) => runOne(i)));
  await client.close();
  seen.slowestMs = Math.round(seen.slowestMs);
  seen.wrong.splice(20);
  console.log(JSON.stringify(seen));
}

main();
