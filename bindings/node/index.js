'use strict';

const { Client } = require('./lib/client');
const { context } = require('./lib/context');
const { LeverError, MethodError, Moved } = require('./lib/errors');
const { addon } = require('./lib/native');
const { Service, serve } = require('./lib/service');
const { Ext, Timestamp } = require('./lib/values');

module.exports = {
  Client,
  Service,
  serve,
  context,
  LeverError,
  MethodError,
  Moved,
  Timestamp,
  Ext,
  version: addon.version,
};
