'use strict';
// Every function that this module exports is a method of the service: lever://dev.lever/{{name}}/sayHello.

exports.sayHello = async (name) => `Hello, ${name}!`;

// A streaming method: its name ends in Chan. Returning ends the stream, throwing sends the error.
exports.echoChan = async (stream, greeting) => {
  await stream.write(greeting); // waits while the reader is behind
  for await (const message of stream) await stream.write(message);
};
