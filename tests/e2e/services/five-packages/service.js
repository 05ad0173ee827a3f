'use strict';
// Each method needs one of the packages.

const fs = require('node:fs');
const path = require('node:path');
const argon2 = require('@node-rs/argon2');
const dayjs = require('dayjs');
const lodash = require('lodash');
const semver = require('semver');
const { z } = require('zod');

const User = z.object({ name: z.string().min(1), age: z.number().int().positive() });

exports.hash = (password) => argon2.hash(password);
exports.verify = (hash, password) => argon2.verify(hash, password);
exports.nextDay = (day) => dayjs(day).add(1, 'day').format('YYYY-MM-DD');
exports.chunk = (values, size) => lodash.chunk(values, size);
exports.newest = (versions) => semver.rsort(versions)[0];
exports.register = (user) => User.parse(user);
exports.installed = () => fs.readdirSync(path.join(__dirname, 'node_modules')).filter((n) => n[0] !== '.');
