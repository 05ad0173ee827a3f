'use strict';
// `await using` (TypeScript, and newer JavaScript) ends clients, streams and services by this name.

// Node has it since 20.5.
module.exports = { asyncDispose: Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose') };
