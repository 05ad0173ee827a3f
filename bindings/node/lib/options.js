'use strict';
// What programs give as options, looked at before the addon sees it: what is of another type is an
// error, and not as if it were not there.

const { invalid } = require('./errors');

const COUNT_MAX = 0xffffffff;
const MS_MAX = 9e12; // in nanoseconds they fit into 64 bits

// A text, or null where there is none.
function textOf(value, name) {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw invalid(`${name}: a text is expected`);
  return value;
}

// What textOf() gives of each of the names.
function textsOf(options, names) {
  return Object.fromEntries(names.map((name) => [name, textOf(options[name], name)]));
}

// A count, 0 where there is none.
function countOf(value, name) {
  if (value === undefined || value === null) return 0;
  if (!Number.isInteger(value) || value < 0 || value > COUNT_MAX) {
    throw invalid(`${name}: an integer from 0 to ${COUNT_MAX} is expected`);
  }
  return value;
}

// Milliseconds, 0 where nothing is said.
function millisecondsOf(value, name) {
  if (value === undefined || value === null) return 0;
  if (typeof value !== 'number' || !(value >= 0 && value <= MS_MAX)) {
    throw invalid(`${name}: milliseconds from 0 to ${MS_MAX} are expected`);
  }
  return value;
}

// Options as a whole, before anything of them is read.
function checkOptions(options) {
  if (options === null || typeof options !== 'object') {
    throw invalid('the options must be an object');
  }
}

module.exports = { MS_MAX, textOf, textsOf, countOf, millisecondsOf, checkOptions };
