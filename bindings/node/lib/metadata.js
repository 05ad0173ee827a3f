'use strict';
// Metadata as it crosses the border (src/metadata.h). To programs it is an object: names in lower
// case, values texts, Buffers where the name ends in '-bin', an array of them where a name comes
// repeatedly.

const { invalid } = require('./errors');

const NAME = /^[a-z0-9_.-]+$/;

function field(name, value) {
  const lower = name.toLowerCase();
  if (!NAME.test(lower)) throw invalid(`metadata: '${name}' is no name`);
  let data;
  if (lower.endsWith('-bin')) {
    if (!ArrayBuffer.isView(value)) throw invalid(`metadata: the value of '${name}' must be bytes`);
    data = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  } else {
    if (typeof value !== 'string') throw invalid(`metadata: the value of '${name}' must be a text`);
    data = Buffer.from(value, 'utf8');
  }
  const head = Buffer.alloc(2 + lower.length + 4);
  head.writeUInt16LE(lower.length, 0);
  head.latin1Write(lower, 2);
  head.writeUInt32LE(data.length, 2 + lower.length);
  return [head, data];
}

function writeMetadata(metadata) {
  const parts = [];
  for (const [name, value] of Object.entries(metadata)) {
    for (const item of Array.isArray(value) ? value : [value]) parts.push(...field(name, item));
  }
  return Buffer.concat(parts);
}

function readMetadata(bytes) {
  const metadata = Object.create(null);
  for (let at = 0; at < bytes.length;) {
    const nameEnd = at + 2 + bytes.readUInt16LE(at);
    const name = bytes.latin1Slice(at + 2, nameEnd);
    at = nameEnd + 4 + bytes.readUInt32LE(nameEnd);
    const data = bytes.subarray(nameEnd + 4, at);
    const value = name.endsWith('-bin') ? data : data.utf8Slice(0, data.length);
    if (name in metadata) metadata[name] = [].concat(metadata[name], [value]);
    else metadata[name] = value;
  }
  return metadata;
}

module.exports = { writeMetadata, readMetadata };
