'use strict';
// The package under test: LEVER_NODE_PACKAGE is the folder that the build assembles. With
// LEVER_TEST_EVENTS=1 the queue gives one event a turn, and one crosses the border at a time.

const path = require('node:path');

const folder = process.env.LEVER_NODE_PACKAGE;
if (folder === undefined) throw new Error('LEVER_NODE_PACKAGE: the assembled package is not named');

const inner = (name) => require(path.join(folder, 'lib', name));
const events = Number(process.env.LEVER_TEST_EVENTS ?? 0);
if (events > 0) inner('native').configure({ capacity: events, eventsPerTurn: events });

module.exports = {
  lever: require(folder),
  inner,
  folder,
  source: path.join(__dirname, '..', '..', '..'),
};
