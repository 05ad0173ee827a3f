// A service is a module that exports functions. Deploy this directory and call it:
//
//   lever deploy examples/hello
//   lever invoke /hello/sayHello '"Ann"'
//   node examples/hello/client.js Ann
'use strict';

exports.sayHello = async (name) => `Hello, ${name}!`;

// A method whose name ends in Chan is a streaming method.
exports.echoChan = async (stream, greeting) => {
  await stream.write(greeting); // waits while the reader is behind
  for await (const message of stream) await stream.write(message);
}; // returning ends the stream, throwing sends the error

// What a method throws arrives at the caller with its message and its fields.
exports.divide = (a, b) => {
  if (b === 0) throw Object.assign(new RangeError('division by zero'), { dividend: a });
  return a / b;
};

// Bytes come and go as they are: a Buffer in, a Buffer out.
exports.reverse = (bytes) => Buffer.from(bytes).reverse();
