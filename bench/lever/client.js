'use strict';
// Lever's client in Node, for rows that compare Node programs:  node client.js ADDRESS SERVICE
const lever = require('lever');
const { drive } = require('../peers/node/load.js');

const [host, service] = process.argv.slice(2);
const client = new lever.Client({ host, onlyThroughHost: true });
const address = `/${service}/echo`;
const value = 'x'.repeat(32);
drive(() => client.invoke(address, value));
