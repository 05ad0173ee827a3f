'use strict';
// What the client and the server on grpc-js share: the service's definition, flags and TLS files.
//
// The packages (@grpc/grpc-js, @grpc/proto-loader) contain no interop programs: these exist in
// grpc-node's repository only. Hence these, written from the published case descriptions.
//
// grpc-js shows no program whether a message came compressed. The two places that take a message
// out of its frame are wrapped, inside the pinned version: what they return is remembered with the
// frame's flag, and the deserializer puts it on the message. A version without these places is
// refused at the start.
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const {CompressionFilter} = require('@grpc/grpc-js/build/src/compression-filter');
const {BaseServerInterceptingCall} = require('@grpc/grpc-js/build/src/server-interceptors');

const INITIAL_KEY = 'x-grpc-test-echo-initial';
const TRAILING_KEY = 'x-grpc-test-echo-trailing-bin';
const COMPRESSED = Symbol('came compressed');
const GZIP = 2;

const flagOf = new WeakMap();  // a message's bytes, out of its frame: was it compressed?

function wrap(prototype, name, wrapper) {
  const original = prototype[name];
  if (typeof original !== 'function') throw new Error(`grpc-js has no ${name}: see service.js`);
  prototype[name] = wrapper(original);
}

wrap(CompressionFilter.prototype, 'receiveMessage', original => async function(message) {
  const frame = await message;
  const bytes = await original.call(this, frame);
  flagOf.set(bytes, frame.readUInt8(0) === 1);
  return bytes;
});
wrap(BaseServerInterceptingCall.prototype, 'decompressMessage', original =>
  async function(frame, encoding) {
    const bytes = await original.call(this, frame, encoding);
    flagOf.set(bytes, frame.readUInt8(0) === 1);
    return bytes;
  });

function seeing(deserialize) {
  return bytes => {
    const message = deserialize(bytes);
    if (!flagOf.has(bytes)) throw new Error('a message came by another way than those wrapped');
    message[COMPRESSED] = flagOf.get(bytes);
    return message;
  };
}

function load() {
  const definition = loader.loadSync('test.proto', {
    includeDirs: [path.join(__dirname, '..', 'proto')], keepCase: true, defaults: true,
  });
  const services = ['grpc.testing.TestService', 'grpc.testing.UnimplementedService'];
  for (const method of services.flatMap(name => Object.values(definition[name]))) {
    method.requestDeserialize = seeing(method.requestDeserialize);
    method.responseDeserialize = seeing(method.responseDeserialize);
  }
  return services.map(name => definition[name]);
}
const [testService, unimplementedService] = load();

function zeros(size) {
  return {body: Buffer.alloc(size)};
}

/** Flags as Go spells them: `--name=value`, and a bare `--name` is true. */
function readFlags(known) {
  const flags = {...known};
  for (const word of process.argv.slice(2)) {
    const [, name, value = 'true'] = /^--?([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (!(name in known)) {
      console.error(`unknown flag ${word}`);
      process.exit(2);
    }
    flags[name] = typeof known[name] === 'number' ? Number(value)
      : typeof known[name] === 'boolean' ? value === 'true' : value;
  }
  return flags;
}

module.exports = {
  COMPRESSED, GZIP, INITIAL_KEY, TRAILING_KEY, grpc, readFile: fs.readFileSync, readFlags,
  testService, unimplementedService, zeros,
};
