// The service that is measured: answers with its own bytes.
'use strict';
exports.echo = async (bytes) => bytes;
