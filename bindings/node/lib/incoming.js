'use strict';
// What comes in, on its way to the functions of the program: the arguments are decoded, the library is
// asked whether it may begin, and what becomes of it is the answer.

const { Context, contexts } = require('./context');
const { Status } = require('./codes');
const { incoming } = require('./events');
const { addon, Command, send, shared } = require('./native');
const { putError, putMessage, takePayload } = require('./payload');
const { ServiceStream } = require('./stream');

function name(context) {
  shared.words[Command.ID_LOW] = context.idLow;
  shared.words[Command.ID_HIGH] = context.idHigh;
}

function failWith(context, status, text) {
  context.ended();
  name(context);
  shared.words[Command.STATUS] = status;
  addon.incomingFail(text);
}

// Answers a unary call with what `put` puts into the command.
function answer(context, put, value) {
  const aside = put(value);
  context.ended();
  name(context);
  return send(addon.incomingReply, aside);
}

function reply(context, value) {
  let status;
  try {
    status = answer(context, putMessage, value);
  } catch (error) {
    return replyError(context, error);
  }
  if (status !== Status.OK) failWith(context, status, 'the answer of the method cannot be sent');
}

function replyError(context, thrown) {
  const status = answer(context, putError, thrown);
  if (status !== Status.OK) {
    failWith(context, status, 'the error of the method cannot be sent');
  }
}

const isThenable = (value) =>
  value !== null && typeof value === 'object' && typeof value.then === 'function';

class Method {
  constructor(service, self, run) {
    this.service = service;
    this.self = self;
    this.run = run;
  }

  // Decodes the arguments and asks the library; undefined if the method must not run.
  #begin(context, r, large) {
    let args;
    try {
      args = takePayload(r, large);
    } catch (error) {
      failWith(context, Status.INVALID_ARGUMENT, error.message);
      return undefined;
    }
    name(context);
    if (addon.incomingBegin() !== Status.OK) return undefined;
    incoming.add(context);
    // Bytes are the one argument.
    return Array.isArray(args) ? args : [args];
  }

  onCall(r, large) {
    const context = new Context(this.service, r, large);
    const args = this.#begin(context, r, large);
    if (args !== undefined) contexts.run(context, runCall, this, context, args);
  }

  onStream(r, large) {
    const context = new Context(this.service, r, large);
    const args = this.#begin(context, r, large);
    if (args === undefined) return;
    const stream = new ServiceStream(context);
    stream.begun();
    contexts.run(context, runStream, this, stream, args);
  }
}

function runCall(method, context, args) {
  let result;
  let later;
  try {
    result = method.run.apply(method.self, args);
    later = isThenable(result);
  } catch (error) {
    return replyError(context, error);
  }
  if (!later) return reply(context, result);
  Promise.resolve(result).then(
    (value) => reply(context, value),
    (error) => replyError(context, error)
  );
}

async function runStream(method, stream, args) {
  try {
    await method.run.call(method.self, stream, ...args);
    stream.end();
  } catch (error) {
    await stream.flushed().catch(() => {});
    stream.fail(error);
  }
}

module.exports = { Method };
