'use strict';
// Service and client in this process, without a host: `lever test`.

const assert = require('node:assert');
const { test } = require('node:test');
const testing = require('lever/testing');

test('says hello', async () => {
  const t = await testing.start({ '{{name}}': require('./service') });
  try {
    assert.strictEqual(await t.client.invoke('/{{name}}/sayHello', 'Ann'), 'Hello, Ann!');
  } finally {
    await t.close();
  }
});

test('echoes what it is sent, after the greeting', async () => {
  const t = await testing.start({ '{{name}}': require('./service') });
  try {
    const stream = t.client.stream('/{{name}}/echoChan', 'hi');
    await stream.write({ n: 1 });
    await stream.end();
    const received = [];
    for await (const message of stream) received.push(message);
    assert.deepStrictEqual(received, ['hi', { n: 1 }]);
  } finally {
    await t.close();
  }
});
