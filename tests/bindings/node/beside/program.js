'use strict';
// program.js PACKAGE FOLDER NAME...: loads the named things in that order, then uses all of them at
// the same time. FOLDER has key.pem and cert.pem of localhost. Prints what came of it.

const fs = require('node:fs');
const path = require('node:path');

const [packageFolder, folder, ...order] = process.argv.slice(2);
const ROUNDS = 20;

const load = {
  lever: () => require(packageFolder),
  grpc: () => require('@grpc/grpc-js'),
  native: () => {
    const home = path.dirname(require.resolve('@couchbase/couchbase-linux-x64-napi/package.json'));
    return require(path.join(home, fs.readdirSync(home).find((name) => name.endsWith('.node'))));
  },
  node: () => ({
    crypto: require('node:crypto'),
    http2: require('node:http2'),
    https: require('node:https'),
    tls: require('node:tls'),
  }),
};
const loaded = {};
for (const name of order) loaded[name] = load[name]();
const { lever, grpc, native, node } = loaded;

const key = fs.readFileSync(path.join(folder, 'key.pem'));
const cert = fs.readFileSync(path.join(folder, 'cert.pem'));
const ca = path.join(folder, 'cert.pem');
const listening = (server) =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });

async function overLever() {
  const service = lever.serve({ sayHello: (name) => `Hello, ${name}!` }, {
    name: 'hello', host: '127.0.0.1:1', listen: '127.0.0.1:0',
  });
  const client = new lever.Client({ host: service.details.listening, onlyThroughHost: true });
  let answer;
  for (let i = 0; i < ROUNDS; i++) answer = await client.invoke('/hello/sayHello', 'Ann');
  await client.close();
  await service.close();
  return answer;
}

// A client of ours, which has an OpenSSL and an nghttp2 of its own, to a server with Node's.
async function overLeverTls() {
  const body = Buffer.from('over TLS');
  const message = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length + 2, 0x12, body.length]), body]);
  const server = node.http2.createSecureServer({ key, cert });
  server.on('sessionError', () => {});
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.resume();
    const ours = headers[':path'] === '/lever.v1.Lever/Invoke';
    const head = { ':status': 200, 'content-type': 'application/grpc' };
    if (!ours) return stream.respond({ ...head, 'grpc-status': '12' }, { endStream: true });
    stream.respond(head, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    return stream.end(message);
  });
  const port = await listening(server);
  const client = new lever.Client({
    host: `tls:127.0.0.1:${port}`, onlyThroughHost: true, tls: { ca, serverName: 'localhost' },
  });
  let answer;
  for (let i = 0; i < ROUNDS; i++) answer = await client.invoke('/any/method', i);
  await client.close();
  server.close();
  return answer.toString();
}

async function overGrpc() {
  const server = new grpc.Server();
  const method = {
    path: '/test.Echo/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: Buffer.from,
    requestDeserialize: String,
    responseSerialize: Buffer.from,
    responseDeserialize: String,
  };
  server.addService({ Echo: method }, { Echo: (call, done) => done(null, `grpc ${call.request}`) });
  const port = await new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createSsl(null, [{ private_key: key, cert_chain: cert }]);
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
      error ? reject(error) : resolve(bound)
    );
  });
  const client = new grpc.Client(`localhost:${port}`, grpc.credentials.createSsl(cert));
  const echo = () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(method.path, Buffer.from, String, 'over TLS', (error, answer) =>
        error ? reject(error) : resolve(answer)
      );
    });
  let answer;
  for (let i = 0; i < ROUNDS; i++) answer = await echo();
  client.close();
  server.forceShutdown();
  return answer;
}

async function overHttps() {
  const server = node.https.createServer({ key, cert }, (_, response) => response.end('https'));
  const port = await listening(server);
  const get = () =>
    new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, ca: cert, servername: 'localhost' };
      node.https.get(options, (response) => response.on('data', (data) => resolve(String(data))))
        .on('error', reject);
    });
  let answer;
  for (let i = 0; i < ROUNDS; i++) answer = await get();
  server.close();
  return answer;
}

// How many files of each are mapped into this process.
function libraries() {
  const maps = fs.readFileSync('/proc/self/maps', 'utf8').split('\n');
  const files = new Set(maps.map((line) => line.split(/\s+/).at(-1)));
  const count = (pattern) => [...files].filter((file) => pattern.test(file)).length;
  return { lever: count(/liblever\.so/), boringssl: count(/boringssl/) };
}

async function main() {
  if (Object.keys(native).length === 0) throw new Error('the native package offers nothing');
  const [overOurs, leverTls, grpcAnswer, https] = await Promise.all([
    overLever(), overLeverTls(), overGrpc(), overHttps(),
  ]);
  const digest = node.crypto.createHash('sha256').update('abc').digest('hex');
  console.log(
    JSON.stringify({
      lever: overOurs, leverTls, grpc: grpcAnswer, https, digest, libraries: libraries(),
    })
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
