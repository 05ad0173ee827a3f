'use strict';
// As much of a host as an instance needs to attach: it starts the launcher with an attach socket,
// welcomes it, and drains it. Calls need introductions, and are tested with a real host (tests/e2e).

const { spawn } = require('node:child_process');
const { EventEmitter } = require('node:events');
const http2 = require('node:http2');
const path = require('node:path');

const { folder } = require('./lever');

// ---- As much of protobuf as there is in the messages used here ----

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
function bytes(field, value) {
  const data = Buffer.from(value);
  return Buffer.concat([varint((field << 3) | 2), varint(data.length), data]);
}

// The fields of a message, as [number, value].
function fields(message) {
  const found = [];
  let at = 0;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < message.length) {
    const tag = read();
    const value = read();
    if ((tag & 7) !== 2) found.push([tag >> 3, value]);
    else {
      found.push([tag >> 3, message.subarray(at, at + value)]);
      at += value;
    }
  }
  return found;
}

const HELLO = 1;
const READY = 2;
const DRAINED = 5;
const HELLO_METHODS = 8;

// Events: 'ready' (with the names of the methods), 'drained', 'exit' (with {code, signal, out, err}).
class FakeHost extends EventEmitter {
  constructor(directory, entry, config = null) {
    super();
    this.config = config;
    this.methods = [];
    this.out = '';
    this.err = '';
    const { PATH } = process.env;
    this.child = spawn(process.execPath, [path.join(folder, 'launcher.js'), entry], {
      cwd: directory,
      env: { PATH, LEVER_FDS: '3,4' },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    this.child.stdout.on('data', (data) => {
      this.out += data;
    });
    this.child.stderr.on('data', (data) => {
      this.err += data;
    });
    for (const socket of this.child.stdio.slice(3)) socket.on('error', () => {});
    this.child.on('close', (code, signal) => {
      this.emit('exit', { code, signal, out: this.out, err: this.err });
    });
    const server = http2.createServer();
    server.on('stream', (stream, headers) => {
      if (headers[':path'] === '/lever.v1.Host/Attach') return this.#onAttach(stream);
      // Sessions of clients, and calls: there are no other services here.
      const code = headers[':path'].startsWith('/lever.v1.Lever/') ? '5' : '12';
      return stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': code },
        { endStream: true }
      );
    });
    server.on('sessionError', () => {});
    server.emit('connection', this.child.stdio[3]);
  }

  drain() {
    this.#send(bytes(2, Buffer.concat([number(1, 5_000_000_000), bytes(2, 'a test')])));
  }

  goAway() {
    this.child.stdio[3].destroy();
  }

  kill() {
    this.child.kill('SIGKILL');
  }

  #send(message) {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    this.attach.write(Buffer.concat([head, message]));
  }

  #onAttach(stream) {
    this.attach = stream;
    let input = Buffer.alloc(0);
    stream.on('error', () => {});
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true }
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.on('end', () => stream.end());
    stream.on('data', (data) => {
      input = Buffer.concat([input, data]);
      while (input.length >= 5 && input.length >= 5 + input.readUInt32BE(1)) {
        const end = 5 + input.readUInt32BE(1);
        this.#onMessage(input.subarray(5, end));
        input = input.subarray(end);
      }
    });
  }

  #onMessage(message) {
    const [[kind, body]] = fields(message);
    if (kind === HELLO) {
      this.methods = fields(body)
        .filter(([field]) => field === HELLO_METHODS)
        .map(([, name]) => name.toString())
        .sort();
      this.#send(
        bytes(
          1,
          Buffer.concat([
            number(1, 1),
            bytes(2, 'dev.lever'),
            bytes(3, 'hello'),
            number(4, 3),
            bytes(5, 'instance-1'),
            bytes(6, JSON.stringify(this.config)),
          ])
        )
      );
    } else if (kind === READY) {
      this.emit('ready', this.methods);
    } else if (kind === DRAINED) {
      this.emit('drained');
    }
  }
}

module.exports = { FakeHost };
