// Calls the service of this directory, from any Node program:
//
//   node client.js [NAME]
//
// `lever` is found where it is installed (npm install lever), or where NODE_PATH says. LEVER_HOST
// is the host's address, 127.0.0.1:8080 by default; LEVER_ENV the environment, dev.lever by
// default.
'use strict';

const lever = require('lever');

async function main(name) {
  const client = new lever.Client();

  console.log(await client.invoke('/hello/sayHello', name));

  const stream = client.stream('/hello/echoChan', `hi, ${name}`);
  await stream.write('one');
  await stream.write({ two: 2 });
  stream.end();
  for await (const message of stream) console.log('echo:', message);

  try {
    await client.call('/hello/divide', [1, 0], { timeoutMs: 5000 });
  } catch (error) {
    if (!(error instanceof lever.MethodError)) throw error;
    console.log(`divide: ${error.message}, dividend ${error.dividend}`);
  }
}

main(process.argv[2] ?? 'Ann').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
