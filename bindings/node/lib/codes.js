'use strict';
// Made by tools/make-codes.js from include/lever/status.h. Not to be edited.

// Name, number, text.
const STATUS = {
  OK: [0, 'ok'],
  CANCELLED: [1, 'cancelled by the caller'],
  UNKNOWN: [2, 'unknown error'],
  INVALID_ARGUMENT: [3, 'invalid argument'],
  DEADLINE_EXCEEDED: [4, 'deadline exceeded'],
  NOT_FOUND: [5, 'not found'],
  ALREADY_EXISTS: [6, 'already exists'],
  PERMISSION_DENIED: [7, 'permission denied'],
  RESOURCE_EXHAUSTED: [8, 'a limit was reached'],
  FAILED_PRECONDITION: [9, 'failed precondition'],
  ABORTED: [10, 'aborted'],
  OUT_OF_RANGE: [11, 'out of range'],
  UNIMPLEMENTED: [12, 'not implemented'],
  INTERNAL: [13, 'internal error'],
  UNAVAILABLE: [14, 'unavailable'],
  DATA_LOSS: [15, 'data loss'],
  UNAUTHENTICATED: [16, 'unauthenticated'],
  METHOD_ERROR: [32, 'the method answered with an error'],
  BUSY: [33, 'busy'],
  WOULD_BLOCK: [34, 'would block'],
  FORKED: [35, 'the process was forked after this object was made'],
  REFUSED: [36, 'refused before it began'],
};

const nameOf = [];
const textOf = [];
const Status = {};
for (const [name, [number, text]] of Object.entries(STATUS)) {
  nameOf[number] = name;
  textOf[number] = text;
  Status[name] = number;
}

module.exports = { Status, nameOf, textOf };
