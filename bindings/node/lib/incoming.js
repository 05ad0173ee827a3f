'use strict';
// What comes in, on its way to the functions of the program: the arguments are decoded, the library is
// asked whether it may begin, and what becomes of it is the answer.

const { Context, contexts } = require('./context');
const { Status } = require('./codes');
const { incoming } = require('./events');
const { addon, Command, send, shared } = require('./native');
const { putError, putMessage, takePayload, takeResumePoint } = require('./payload');
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

// Decodes the arguments and asks the library; undefined if the method must not run.
function begin(context, r, large) {
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

function beginStream(context, method, args, resumable) {
  const stream = new ServiceStream(context, method, args, resumable);
  stream.begun();
  return stream;
}

function runCall(self, run, context, args) {
  let result;
  let later;
  try {
    result = run.apply(self, args);
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

async function runStream(self, run, stream, args) {
  try {
    await run.call(self, stream, ...args);
    stream.returned();
  } catch (error) {
    await stream.threw(error);
  }
}

// A function of an object.
class Method {
  constructor(service, self, name, run) {
    this.service = service;
    this.self = self;
    this.name = name;
    this.run = run;
  }

  onCall(r, large) {
    const context = new Context(this.service, r, large);
    const args = begin(context, r, large);
    if (args !== undefined) contexts.run(context, runCall, this.self, this.run, context, args);
  }

  onStream(r, large) {
    const context = new Context(this.service, r, large);
    const args = begin(context, r, large);
    if (args === undefined) return;
    const stream = beginStream(context, this.name, args, false);
    contexts.run(context, runStream, this.self, this.run, stream, args);
  }
}

// A function of the objects of a ResourceType.
class ResourceMethod {
  constructor(service, type, name, run) {
    this.service = service;
    this.type = type;
    this.name = name;
    this.run = run;
  }

  // Nothing runs of one that was closed while the call was on its way.
  #begin(context, resource, r, large) {
    if (resource !== undefined) return begin(context, r, large);
    failWith(context, Status.UNAVAILABLE, 'the resource was closed');
    return undefined;
  }

  onCall(r, large) {
    const resource = this.type.find(r);
    const context = new Context(this.service, r, large, resource);
    const args = this.#begin(context, resource, r, large);
    if (args !== undefined) contexts.run(context, runCall, resource.object, this.run, context, args);
  }

  onStream(r, large) {
    const resource = this.type.find(r);
    const context = new Context(this.service, r, large, resource);
    const point = takeResumePoint(r, large);
    const args = this.#begin(context, resource, r, large);
    if (args === undefined) return;
    const stream = beginStream(context, this.name, args, this.type.resumes);
    resource.streamBegan();
    // One that has run elsewhere goes on.
    const run = point === null ? this.run : this.type.resume;
    const given = point === null ? args : [point.token, point.received];
    contexts
      .run(context, runStream, resource.object, run, stream, given)
      .finally(() => resource.streamReturned());
  }
}

module.exports = { Method, ResourceMethod };
