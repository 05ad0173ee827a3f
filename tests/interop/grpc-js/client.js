'use strict';
// Interop client on grpc-js. Flags as grpc-go's; --test_case may be a list with commas.
//
// Prints `case NAME: ok` or `case NAME: FAILED why` a case; the exit code is 0 if all have passed.
const assert = require('node:assert/strict');
const {once} = require('node:events');
const {
  COMPRESSED, GZIP, INITIAL_KEY, TRAILING_KEY, grpc, readFile, readFlags, testService,
  unimplementedService, zeros,
} = require('./service.js');

const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const SPECIAL_MESSAGE = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
const NO_COMPRESS = 2;  // of grpc-js's write flags, which it does not export
const {status} = grpc;

const flags = readFlags({
  server_host: '127.0.0.1', server_port: 0, test_case: '', use_tls: false, use_test_ca: true,
  ca_file: '', server_host_override: '', soak_iterations: 10, soak_max_failures: 0,
  soak_per_iteration_max_acceptable_latency_ms: 1000, soak_overall_timeout_seconds: 10,
});

function connect(Client, options = {}) {
  const credentials = flags.use_tls
    ? grpc.credentials.createSsl(flags.ca_file ? readFile(flags.ca_file) : null)
    : grpc.credentials.createInsecure();
  if (flags.server_host_override) {
    options['grpc.ssl_target_name_override'] = flags.server_host_override;
    options['grpc.default_authority'] = flags.server_host_override;
  }
  return new Client(`${flags.server_host}:${flags.server_port}`, credentials, options);
}

const TestClient = grpc.makeGenericClientConstructor(testService, 'TestService');
const UnimplementedClient = grpc.makeGenericClientConstructor(unimplementedService, 'Nowhere');
const plain = connect(TestClient);

/**
 * Runs `body` with a client that compresses. A new one each time: grpc-js stops compressing on a
 * channel once the server has named its encodings with a space after the comma, as gRPC C++ and
 * grpcio do.
 */
async function withGzip(body) {
  const client = connect(TestClient, {'grpc.default_compression_algorithm': GZIP});
  try {
    return await body(client);
  } finally {
    client.close();
  }
}

function deadline() {
  return {deadline: Date.now() + 10000};
}

/** A unary call's {response, initial, trailing}; its status is thrown if it is not OK. */
function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const got = {};
    const call = client[method](request, metadata, deadline(), (error, response) => {
      got.response = response;
      if (error) reject(error);
    });
    call.on('metadata', initial => { got.initial = initial; });
    call.on('status', ({code, metadata: trailing}) => {
      got.trailing = trailing;
      if (code === status.OK) setImmediate(() => resolve(got));
    });
  });
}

/** A client-streaming call of these requests, each [message, write flags]. */
function sendAll(client, requests) {
  return new Promise((resolve, reject) => {
    let writeFlags = 0;
    const flagged = (options, next) => new FlaggedCall(next(options), () => writeFlags);
    const options = {...deadline(), interceptors: [flagged]};
    const call = client.StreamingInputCall(new grpc.Metadata(), options,
      (error, response) => (error ? reject(error) : resolve(response)));
    (async () => {
      for (const [request, wanted] of requests) {
        writeFlags = wanted;
        await new Promise(done => call.write(request, done));
      }
      call.end();
    })();
  });
}

/** grpc-js takes write flags as the stream's encoding, which Node refuses; below that they work. */
class FlaggedCall extends grpc.InterceptingCall {
  constructor(next, writeFlags) {
    super(next);
    this.writeFlags = writeFlags;
  }

  sendMessageWithContext(context, message) {
    super.sendMessageWithContext({...context, flags: this.writeFlags()}, message);
  }
}

/** Reads a call's responses one at a time, then its end. */
function reader(call) {
  const responses = call[Symbol.asyncIterator]();
  return {
    async next() {
      const {done, value} = await responses.next();
      assert.ok(!done, 'the responses ended too early');
      return value;
    },
    async end() {
      assert.ok((await responses.next()).done, 'a response came after the last');
    },
  };
}

async function rejects(promise, code, details) {
  const error = await promise.then(() => assert.fail('the call succeeded'), reason => reason);
  assert.equal(error.code, code, `status ${error.code} (${error.details ?? error}), not ${code}`);
  if (details !== undefined) assert.equal(error.details, details);
}

function large(more) {
  return {response_size: LARGE_RESPONSE, payload: zeros(LARGE_REQUEST), ...more};
}

async function exchangeLarge(client, more) {
  const {response} = await unary(client, 'UnaryCall', large(more));
  assert.equal(response.payload.body.length, LARGE_RESPONSE);
  return response;
}

function ping(size, answer) {
  return {response_parameters: [{size: answer}], payload: zeros(size)};
}

async function streamOut(parameters) {
  const got = [];
  const call = plain.StreamingOutputCall({response_parameters: parameters}, deadline());
  for await (const response of call) got.push([response.payload.body.length, response[COMPRESSED]]);
  return got;
}

const cases = {
  async empty_unary() {
    assert.ok((await unary(plain, 'EmptyCall', {})).response);
  },
  async large_unary() {
    await exchangeLarge(plain);
  },
  async client_streaming() {
    const response = await sendAll(plain, REQUEST_SIZES.map(size => [{payload: zeros(size)}, 0]));
    assert.equal(response.aggregated_payload_size, 74922);
  },
  async server_streaming() {
    const got = await streamOut(RESPONSE_SIZES.map(size => ({size})));
    assert.deepEqual(got.map(([size]) => size), RESPONSE_SIZES);
  },
  async ping_pong() {
    const call = plain.FullDuplexCall(deadline());
    const responses = reader(call);
    for (const [at, size] of REQUEST_SIZES.entries()) {
      call.write(ping(size, RESPONSE_SIZES[at]));
      assert.equal((await responses.next()).payload.body.length, RESPONSE_SIZES[at]);
    }
    call.end();
    await responses.end();
  },
  async empty_stream() {
    const call = plain.FullDuplexCall(deadline());
    call.end();
    await reader(call).end();
  },
  async client_compressed_unary() {
    const expecting = {expect_compressed: {value: true}};
    await rejects(exchangeLarge(plain, expecting), status.INVALID_ARGUMENT);
    await withGzip(client => exchangeLarge(client, expecting));
    await exchangeLarge(plain, {expect_compressed: {value: false}});
  },
  async client_compressed_streaming() {
    const first = {expect_compressed: {value: true}, payload: zeros(27182)};
    const second = {expect_compressed: {value: false}, payload: zeros(45904)};
    const probe = withGzip(client => sendAll(client, [[first, NO_COMPRESS]]));
    await rejects(probe, status.INVALID_ARGUMENT);
    const response = await withGzip(client => sendAll(client, [[first, 0], [second, NO_COMPRESS]]));
    assert.equal(response.aggregated_payload_size, 73086);
  },
  async server_compressed_unary() {
    for (const value of [true, false]) {
      const response = await exchangeLarge(plain, {response_compressed: {value}});
      assert.equal(response[COMPRESSED], value, `asked for ${value}, compressed is ${!value}`);
    }
  },
  async server_compressed_streaming() {
    const got = await streamOut([{size: 31415, compressed: {value: true}},
      {size: 92653, compressed: {value: false}}]);
    assert.deepEqual(got, [[31415, true], [92653, false]]);
  },
  async custom_metadata() {
    const sent = new grpc.Metadata();
    sent.set(INITIAL_KEY, 'test_initial_metadata_value');
    sent.set(TRAILING_KEY, Buffer.from([0xab, 0xab, 0xab]));
    const got = await unary(plain, 'UnaryCall', large(), sent);
    assert.equal(got.response.payload.body.length, LARGE_RESPONSE);
    checkEcho(got.initial, got.trailing);
    const call = plain.FullDuplexCall(sent, deadline());
    const seen = Promise.all([once(call, 'metadata'), once(call, 'status')]);
    call.write(ping(LARGE_REQUEST, LARGE_RESPONSE));
    call.end();
    const responses = reader(call);
    assert.equal((await responses.next()).payload.body.length, LARGE_RESPONSE);
    await responses.end();
    const [[initial], [{metadata: trailing}]] = await seen;
    checkEcho(initial, trailing);
  },
  async status_code_and_message() {
    const message = 'test status message';
    const response_status = {code: 2, message};
    await rejects(unary(plain, 'UnaryCall', {response_status}), status.UNKNOWN, message);
    const call = plain.FullDuplexCall(deadline());
    call.write({response_status});
    call.end();
    await rejects(reader(call).next(), status.UNKNOWN, message);
  },
  async special_status_message() {
    const response_status = {code: 2, message: SPECIAL_MESSAGE};
    await rejects(unary(plain, 'UnaryCall', {response_status}), status.UNKNOWN, SPECIAL_MESSAGE);
  },
  async unimplemented_method() {
    await rejects(unary(plain, 'UnimplementedCall', {}), status.UNIMPLEMENTED);
  },
  async unimplemented_service() {
    const client = connect(UnimplementedClient);
    try {
      await rejects(unary(client, 'UnimplementedCall', {}), status.UNIMPLEMENTED);
    } finally {
      client.close();
    }
  },
  async cancel_after_begin() {
    await rejects(new Promise((resolve, reject) => {
      const call = plain.StreamingInputCall(new grpc.Metadata(), deadline(),
        (error, response) => (error ? reject(error) : resolve(response)));
      call.cancel();
    }), status.CANCELLED);
  },
  async cancel_after_first_response() {
    const call = plain.FullDuplexCall(deadline());
    const responses = reader(call);
    call.write(ping(27182, 31415));
    assert.equal((await responses.next()).payload.body.length, 31415);
    call.cancel();
    await rejects(responses.next(), status.CANCELLED);
  },
  async timeout_on_sleeping_server() {
    const call = plain.FullDuplexCall({deadline: Date.now() + 1});
    call.write({payload: zeros(27182)});
    await rejects(reader(call).next(), status.DEADLINE_EXCEEDED);
  },
  async rpc_soak() {
    const started = performance.now();
    const failures = [];
    for (let done = 0; done < flags.soak_iterations; done++) {
      const before = performance.now();
      assert.ok(before - started < flags.soak_overall_timeout_seconds * 1000,
        `only ${done} of ${flags.soak_iterations} calls were made in time`);
      try {
        await exchangeLarge(plain);
        const took = performance.now() - before;
        const bound = flags.soak_per_iteration_max_acceptable_latency_ms;
        assert.ok(took <= bound, `a call took ${took} ms`);
      } catch (error) {
        failures.push(error.message);
      }
    }
    const text = `${failures.length} failed: ${failures[0]}`;
    assert.ok(failures.length <= flags.soak_max_failures, text);
  },
};

function checkEcho(initial, trailing) {
  assert.deepEqual(initial.get(INITIAL_KEY), ['test_initial_metadata_value']);
  assert.deepEqual(trailing.get(TRAILING_KEY), [Buffer.from([0xab, 0xab, 0xab])]);
}

async function run(name) {
  try {
    assert.ok(Object.hasOwn(cases, name), 'there is no such case');
    await cases[name]();
    console.log(`case ${name}: ok`);
    return true;
  } catch (error) {
    const why = String(error.message).replace(/\s+/g, ' ');
    console.log(`case ${name}: FAILED ${why}`);
    console.error(`${name}: ${why}`);
    return false;
  }
}

(async () => {
  let passed = true;
  for (const name of flags.test_case.split(',')) passed = await run(name) && passed;
  // grpc-js keeps the timer of a call's deadline when the call is cancelled before it is sent.
  process.exit(passed ? 0 : 1);
})();
