#!/usr/bin/env node
'use strict';
// Prints lib/codes.js and lib/codes.d.ts, made from the one list of status codes,
// include/lever/status.h:
//   node tools/make-codes.js > lib/codes.js
//   node tools/make-codes.js --types > lib/codes.d.ts
// A test compares them.

const fs = require('node:fs');
const path = require('node:path');

const header = path.join(__dirname, '..', '..', '..', 'include', 'lever', 'status.h');
const text = fs.readFileSync(header, 'utf8');
const list = text.slice(text.indexOf('#define LEVER_STATUS_MAP'), text.indexOf('typedef enum'));
const entries = [...list.matchAll(/X\((\w+), (\d+), \d+, \d+, \d+, "([^"]*)"\)/g)];

// The codes that a LeverError can have: success and the method's own error are no trouble of the
// platform.
function types() {
  const codes = entries.filter(([, name]) => name !== 'OK' && name !== 'METHOD_ERROR');
  return `// Made by tools/make-codes.js from include/lever/status.h. Not to be edited.

/** Names of include/lever/status.h. */
export type StatusCode =
${codes.map(([, name, , sentence]) => `  /** ${sentence} */\n  | '${name}'`).join('\n')};
`;
}

const lines = entries.map(([, name, number, sentence]) => `  ${name}: [${number}, '${sentence}'],`);
const code = `'use strict';
// Made by tools/make-codes.js from include/lever/status.h. Not to be edited.

// Name, number, text.
const STATUS = {
${lines.join('\n')}
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
`;

process.stdout.write(process.argv[2] === '--types' ? types() : code);
