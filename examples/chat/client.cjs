// Talks in a room of the chat service:
//
//   node client.cjs [ROOM] [NAME]        lines from standard input are said, what others say is shown
//
// `lever` is found where it is installed (npm install lever), or where NODE_PATH says. LEVER_HOST
// is the host's address, 127.0.0.1:8080 by default; LEVER_ENV the environment, dev.lever by
// default.
'use strict';

const readline = require('node:readline');
const lever = require('lever');

const CODES = { red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 };

function show(message) {
  if (message.joined !== undefined) return `* ${message.joined} is here`;
  if (message.left !== undefined) return `* ${message.left} has left`;
  const name = process.stdout.isTTY
    ? `\x1b[${CODES[message.colour]}m${message.from}\x1b[0m`
    : message.from;
  return `${name}: ${message.text}`;
}

async function main(room, name) {
  const client = new lever.Client();
  const stream = client.stream('/chat/joinChan', room, name);

  const speaking = (async () => {
    for await (const line of readline.createInterface({ input: process.stdin }))
      await stream.write(line);
    stream.end();
  })();

  for await (const message of stream) console.log(show(message));
  await speaking;
}

main(process.argv[2] ?? 'lobby', process.argv[3] ?? `guest-${process.pid}`).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
