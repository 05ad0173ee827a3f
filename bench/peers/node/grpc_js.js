'use strict';
// grpc-js:  node grpc_js.js server | node grpc_js.js client ADDRESS
//
// The messages are the bytes themselves, without a codec, which is the fastest that grpc-js has.
const grpc = require('@grpc/grpc-js');
const { drive, exitWithInput } = require('./load.js');

const same = (bytes) => bytes;
const definition = {
  unary: {
    path: '/bench.Echo/Unary',
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  },
};

function serve() {
  const server = new grpc.Server();
  server.addService(definition, { unary: (call, answer) => answer(null, call.request) });
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(`listening 127.0.0.1:${port}`);
  });
  exitWithInput();
}

function load(address) {
  const Client = grpc.makeGenericClientConstructor(definition, 'Echo');
  const client = new Client(address, grpc.credentials.createInsecure());
  const payload = Buffer.alloc(32);
  client.waitForReady(Date.now() + 10_000, (error) => {
    if (error) throw error;
    drive(
      () =>
        new Promise((resolve, reject) => {
          client.unary(payload, (failure, reply) => (failure ? reject(failure) : resolve(reply)));
        })
    );
  });
}

if (process.argv[2] === 'server') serve();
else load(process.argv[3]);
