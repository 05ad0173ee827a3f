'use strict';
// The service in Node: answers with its argument. Deployed, or as a program that listens:
//   node service.js attach HOST
exports.echo = (value) => value;

if (process.argv[2] === 'attach') {
  const lever = require('lever');
  const options = { name: 'bench-node', host: process.argv[3], listen: '127.0.0.1:0' };
  const service = lever.serve(exports, options);
  console.log(`listening ${service.details.listening}`);
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}
