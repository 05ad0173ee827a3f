'use strict';
// Interop server on grpc-js. Flags as grpc-go's: --port, --use_tls, --tls_cert_file,
// --tls_key_file.
//
// grpc-js servers cannot compress what they send (its server-interceptors.ts says so), so that
// server_compressed_unary and server_compressed_streaming cannot pass against this one. A client
// that asks for a compressed response is told, instead of being served an uncompressed one.
const {
  COMPRESSED, INITIAL_KEY, TRAILING_KEY, grpc, readFile, readFlags, testService, zeros,
} = require('./service.js');

const flags = readFlags({port: 0, use_tls: false, tls_cert_file: '', tls_key_file: ''});

function failure(code, details) {
  return Object.assign(new Error(details), {code, details});
}

function echoInitial(call) {
  const metadata = new grpc.Metadata();
  for (const value of call.metadata.get(INITIAL_KEY)) metadata.add(INITIAL_KEY, value);
  call.sendMetadata(metadata);
}

function echoTrailing(call) {
  const metadata = new grpc.Metadata();
  for (const value of call.metadata.get(TRAILING_KEY)) metadata.add(TRAILING_KEY, value);
  return metadata;
}

function check(request) {
  const expected = request.expect_compressed;
  if (expected && expected.value !== request[COMPRESSED]) {
    throw failure(grpc.status.INVALID_ARGUMENT,
      `expect_compressed is ${expected.value}, compressed is ${request[COMPRESSED]}`);
  }
  const parts = request.response_parameters ?? [];
  if (request.response_compressed?.value || parts.some(part => part.compressed?.value)) {
    throw failure(grpc.status.UNIMPLEMENTED, 'grpc-js servers cannot compress');
  }
  const status = request.response_status;
  if (status?.code) throw failure(status.code, status.message);
}

async function respond(call, request) {
  for (const wanted of request.response_parameters) {
    if (wanted.interval_us) await new Promise(done => setTimeout(done, wanted.interval_us / 1000));
    call.write({payload: zeros(wanted.size)});
  }
}

/** Handles the requests one by one. (`for await` would destroy the call after the last.) */
function forEachRequest(call, handle) {
  return new Promise((resolve, reject) => {
    let handled = Promise.resolve();
    call.on('data', request => {
      handled = handled.then(() => handle(request));
      handled.catch(reject);
    });
    call.on('end', () => handled.then(resolve, reject));
    call.on('cancelled', resolve);
  });
}

/** Runs a streaming method's body; what it throws is the call's status. */
function streaming(body) {
  return async call => {
    echoInitial(call);
    try {
      await body(call);
      if (!call.cancelled) call.end(echoTrailing(call));
    } catch (error) {
      if (!call.cancelled) call.emit('error', Object.assign(error, {metadata: echoTrailing(call)}));
    }
  };
}

const implementation = {
  EmptyCall(call, done) {
    done(null, {});
  },
  UnaryCall(call, done) {
    echoInitial(call);
    try {
      check(call.request);
      done(null, {payload: zeros(call.request.response_size)}, echoTrailing(call));
    } catch (error) {
      done(error, null, echoTrailing(call));
    }
  },
  async StreamingInputCall(call, done) {
    let total = 0;
    try {
      for await (const request of call) {
        check(request);
        total += request.payload?.body.length ?? 0;
      }
      done(null, {aggregated_payload_size: total});
    } catch (error) {
      if (!call.cancelled) done(error);
    }
  },
  StreamingOutputCall: streaming(async call => {
    check(call.request);
    await respond(call, call.request);
  }),
  FullDuplexCall: streaming(async call => {
    await forEachRequest(call, async request => {
      check(request);
      await respond(call, request);
    });
  }),
  HalfDuplexCall: streaming(async call => {
    const held = [];
    await forEachRequest(call, request => held.push(request));
    for (const request of held) await respond(call, request);
  }),
};

const credentials = flags.use_tls
  ? grpc.ServerCredentials.createSsl(null, [{
    private_key: readFile(flags.tls_key_file), cert_chain: readFile(flags.tls_cert_file),
  }], false)
  : grpc.ServerCredentials.createInsecure();
const server = new grpc.Server();
server.addService(testService, implementation);
server.bindAsync(`127.0.0.1:${flags.port}`, credentials, error => {
  if (error) {
    console.error(`cannot listen: ${error.message}`);
    process.exit(1);
  }
});
