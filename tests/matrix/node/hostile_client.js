'use strict';
// Calls addresses whose answers are no values: tests/matrix/README.md, "The hostile client".
//
//   node hostile_client.js ADDRESS...

const lever = require('lever');

async function outcome(client, address) {
  try {
    if (address.endsWith('Chan')) for await (const _ of client.stream(address));
    else await client.invoke(address);
    return 'OK';
  } catch (error) {
    if (error instanceof lever.MethodError) return 'METHOD_ERROR';
    if (error instanceof lever.LeverError) return error.code;
    throw error;
  }
}

async function main(addresses) {
  const client = new lever.Client();
  for (const address of addresses) {
    console.log(JSON.stringify([address, await outcome(client, address)]));
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
