'use strict';
// The addon, and the memory that it shares with this side (src/command.h, src/event_buffer.h).
//
// The queue is made when the first client or service is; it is this environment's own: the main
// thread and each worker thread have one.

const encoder = require('./encode');
const { addonFile, explain, whyNoPrebuilt } = require('./platform');

const addon = load();

// Who installed without scripts (`npm install --ignore-scripts`) meets a wrong machine here.
function load() {
  try {
    return require(addonFile());
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_DLOPEN_FAILED') throw error;
    throw new Error(explain(whyNoPrebuilt() ?? error.message), { cause: error });
  }
}

// Indices of 32-bit words in a command.
const Command = {
  OBJECT: 0,
  ADDRESS: 1,
  KIND: 2,
  FLAGS: 3,
  PAYLOAD_BYTES: 4,
  METADATA_BYTES: 5,
  PARENT_LOW: 6,
  PARENT_HIGH: 7,
  TOKEN: 8,
  READ_MESSAGES: 9,
  READ_BYTES: 10,
  ID_LOW: 11,
  ID_HIGH: 12,
  STATUS: 13,
  TOKEN_BYTES: 16,
};
// Indices of 64-bit floats in it.
const COMMAND_TIMEOUT = 7;
const COMMAND_RECEIVED = 9;

// Indices of 32-bit words in an event's record.
const Event = {
  TYPE: 0,
  STATUS: 1,
  TOKEN: 2,
  ID_LOW: 3,
  ID_HIGH: 4,
  KIND: 5,
  EXECUTED: 6,
  STATE: 7,
  LARGE: 8,
  PAYLOAD: 9,
  PAYLOAD_BYTES: 10,
  MESSAGE: 11,
  MESSAGE_BYTES: 12,
  CALLER: 13,
  CALLER_BYTES: 14,
  METADATA: 15,
  METADATA_BYTES: 16,
  DEADLINE: 18,
  RESOURCE_LOW: 20,
  RESOURCE_HIGH: 21,
  GENERATION_LOW: 22,
  GENERATION_HIGH: 23,
  RECEIVED_LOW: 24,
  RECEIVED_HIGH: 25,
  RESUME_TOKEN: 26,
  TOKEN_BYTES: 27,
  WORDS: 28,
};

const EventType = {
  CALL_DONE: 1,
  STREAM_MESSAGE: 2,
  STREAM_HALF_CLOSED: 3,
  WRITABLE: 4,
  STREAM_END: 5,
  INCOMING_CALL: 6,
  INCOMING_STREAM: 7,
  INCOMING_CANCELLED: 8,
  SERVICE_STATE: 9,
  CLOSED: 10,
  RESOURCE_OPEN: 11,
  RESOURCE_CLOSE: 12,
  STREAM_MOVING: 13,
};

const Kind = { NONE: 0, VALUE: 1, RAW: 2, ERROR_VALUE: 3, ERROR_RAW: 4 };

const ADDRESSES_MAX = 1024; // as in src/binding.h: both sides forget at the same moment

const options = { capacity: undefined, eventsPerTurn: undefined, dataBytes: undefined };
const shared = {
  words: null,
  floats: null,
  events: null,
  eventFloats: null,
  bytes: null,
  view: null,
};
const addresses = new Map();
let registered = null; // the scratch memory that the addon knows
let dispatcher = null;

// For tests: how much comes with one crossing. Before anything is opened.
function configure(values) {
  Object.assign(options, values);
}

function setDispatcher(dispatch) {
  dispatcher = dispatch;
}

function open() {
  if (shared.words !== null) return;
  const { commands, events } = addon.open(dispatcher, options);
  shared.words = new Uint32Array(commands);
  shared.floats = new Float64Array(commands);
  shared.events = new Uint32Array(events, 0, Math.floor(events.byteLength / 4));
  shared.eventFloats = new Float64Array(events, 0, Math.floor(events.byteLength / 8));
  shared.bytes = Buffer.from(events);
  shared.view = new DataView(events);
}

function addressId(address) {
  const known = addresses.get(address);
  if (known !== undefined) return known;
  if (addresses.size === ADDRESSES_MAX) addresses.clear();
  const id = addon.internAddress(address);
  addresses.set(address, id);
  return id;
}

// Calls one of the addon's functions whose payload is `aside`, or, where that is null, what was
// encoded into the scratch memory.
function send(call, aside) {
  const scratch = encoder.scratch();
  if (scratch !== registered) {
    addon.setScratch(scratch);
    registered = scratch;
  }
  if (aside === null) return call();
  shared.words[Command.PAYLOAD_BYTES] = 0;
  return call(aside);
}

module.exports = {
  addon,
  Command,
  COMMAND_TIMEOUT,
  COMMAND_RECEIVED,
  Event,
  EventType,
  Kind,
  shared,
  configure,
  setDispatcher,
  open,
  addressId,
  send,
};
