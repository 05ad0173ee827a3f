#!/usr/bin/env node
'use strict';
// Prints lib/codes.js, made from the one list of status codes, include/lever/status.h:
//   node tools/make-codes.js > lib/codes.js
// A test compares the two.

const fs = require('node:fs');
const path = require('node:path');

const header = path.join(__dirname, '..', '..', '..', 'include', 'lever', 'status.h');
const text = fs.readFileSync(header, 'utf8');
const list = text.slice(text.indexOf('#define LEVER_STATUS_MAP'), text.indexOf('typedef enum'));
const entries = [...list.matchAll(/X\((\w+), (\d+), \d+, \d+, \d+, "([^"]*)"\)/g)];

const lines = entries.map(([, name, number, sentence]) => `  ${name}: [${number}, '${sentence}'],`);
process.stdout.write(`'use strict';
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
`);
