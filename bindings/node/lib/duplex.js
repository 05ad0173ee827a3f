'use strict';
// A stream of messages as one of Node's own streams, to be piped.
//
// Back-pressure goes both ways: what is written to it is taken at the pace of the other side, and of
// what comes only as much is fetched as somebody reads.

const { Duplex } = require('node:stream');
const { types } = require('node:util');
const { invalid } = require('./errors');

// In bytes a message's length means nothing: a longer chunk goes as several, so that one of any
// length can be written.
const CHUNK_BYTES = 256 * 1024;

class MessageDuplex extends Duplex {
  #stream;
  #bytes;
  #readDone = false; // the other side's last message was read
  #writeDone = false; // end() was passed on

  constructor(stream, { bytes = false, highWaterMark } = {}) {
    super({ objectMode: !bytes, highWaterMark });
    this.#stream = stream;
    this.#bytes = bytes;
  }

  _write(chunk, encoding, callback) {
    const sent =
      this.#bytes && chunk.length > CHUNK_BYTES ? this.#writeParts(chunk) : this.#stream.write(chunk);
    sent.then(
      () => callback(),
      // A method that has ended well has no need of what else there is.
      (error) => callback(this.#stream.endedWell ? null : error)
    );
  }

  async #writeParts(chunk) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
      await this.#stream.write(chunk.subarray(at, at + CHUNK_BYTES));
    }
  }

  _final(callback) {
    this.#writeDone = true;
    this.#stream.end();
    callback();
  }

  _read() {
    this.#stream.next().then(
      ({ value, done }) => {
        if (done) {
          this.#readDone = true;
          this.push(null);
        } else if (this.#bytes && types.isUint8Array(value) && value.length === 0) {
          this._read(); // for a reader of bytes it would be no chunk at all
        } else {
          const error = this.#whyNotPushed(value);
          if (error === undefined) this.push(value);
          else this.destroy(error);
        }
      },
      (error) => this.destroy(error)
    );
  }

  #whyNotPushed(value) {
    if (this.#bytes) {
      return types.isUint8Array(value)
        ? undefined
        : invalid('a message that is not bytes has come to a Duplex of bytes');
    }
    return value === null || value === undefined
      ? invalid("the message null has come, which Node's streams take for their end")
      : undefined;
  }

  _destroy(error, callback) {
    if (!this.#readDone || !this.#writeDone) this.#stream.onDestroyed(error);
    callback(error);
  }
}

module.exports = { MessageDuplex };
