// A web server, as there are many, that takes part in Lever without being deployed: it calls services,
// and is one itself, named `guestbook`, beside its own HTTP endpoints.
//
//   npm ci && node server.js [PORT]
//
// `lever` is found where it is installed (npm install lever), or where NODE_PATH says. LEVER_HOST is the
// address of the host, 127.0.0.1:8080 by default. The web server does not depend on it: while the host is
// away, guests are written down all the same, and when it is back the service attaches itself again.
//
//   curl -X POST localhost:3000/guests/Ann       greets by /hello/sayHello, if that answers
//   curl localhost:3000/guests
//   lever invoke /guestbook/guests
//   lever stream /guestbook/newGuestsChan        each guest as he comes
//   lever ps guestbook                           `attached`
'use strict';

const { EventEmitter, on } = require('node:events');
const express = require('express');
const lever = require('lever');

const GREETING_TIMEOUT_MS = 1000;
const GUESTS_MAX = 1000;

// What the web server and the service share.
const guests = [];
const comings = new EventEmitter();

function write(name) {
  guests.push(name);
  if (guests.length > GUESTS_MAX) guests.shift();
  comings.emit('guest', name);
}

// ---- The service: its functions are its methods ----

const service = lever.serve(
  {
    guests: () => guests,
    write(name) {
      if (typeof name !== 'string') throw new TypeError('the name must be a text');
      write(name);
      return guests.length;
    },
    async newGuestsChan(stream) {
      const { signal } = lever.context();
      try {
        for await (const [name] of on(comings, 'guest', { signal })) await stream.write(name);
      } catch (error) {
        if (error.name !== 'AbortError') throw error; // nobody listens any more
      }
    },
  },
  { name: 'guestbook' }
);
service.on('attached', () => console.log('attached to the host'));
service.on('detached', (error) => console.log(`detached, trying again: ${error.message}`));

// ---- The web server ----

const client = new lever.Client();
const app = express();

app.get('/guests', (request, response) => response.json(guests));

app.post('/guests/:name', async (request, response) => {
  const { name } = request.params;
  write(name);
  let greeting = null;
  try {
    greeting = await client.call('/hello/sayHello', [name], { timeoutMs: GREETING_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof lever.LeverError)) throw error;
    console.log(`no greeting: ${error.code}`);
  }
  response.status(201).json({ guests: guests.length, greeting });
});

const server = app.listen(Number(process.argv[2] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

// What runs is finished: the service's calls, and the web server's requests.
async function stop() {
  server.close();
  await service.drain();
  await service.close();
  await client.close();
}
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
