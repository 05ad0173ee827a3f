// Shared notes: each note is a resource, with those who watch it.
//
//   lever deploy examples/notes
//   lever invoke /notes/groceries/add '"milk"'
//   lever stream /notes/groceries/watchChan        shows the note, and each line that is added
//   node examples/notes/load.js                    many of both, and whether all of it arrives
//
// All who call /notes/groceries/... meet in one object, in one of the service's instances. When the
// service is deployed anew, or gets more instances, the note goes on elsewhere with the lines that
// close() returned, and so do the streams of those who watch it: resume() sends what they have not seen.
//
// This is no database: a note is gone when its process is killed, and when nobody has called it for
// three minutes. One that is to stay is written to a store, with context().generation as the token that
// keeps owners of before from writing over it.
'use strict';

const { context } = require('lever');

// Lines that a watcher may be behind: who reads more slowly is shown out, so that nobody else waits and
// memory stays bounded.
const BEHIND_MAX = 1000;

exports.Resource = class Note {
  #lines = [];
  #watchers = new Set(); // {stream, behind}

  open(name, { state, origin }) {
    if (origin === 'carried') this.#lines = state;
    if (origin === 'lost') console.error(`the note ${name} was lost: it begins anew`);
  }

  // Adds a line; how many there are then.
  add(line) {
    const { linesMax, lineBytesMax } = context().config;
    if (typeof line !== 'string' || Buffer.byteLength(line) > lineBytesMax) {
      throw new TypeError(`a line is a text of at most ${lineBytesMax} bytes`);
    }
    if (this.#lines.length === linesMax) throw new RangeError('the note is full');
    this.#lines.push(line);
    for (const watcher of this.#watchers) this.#tell(watcher, { at: this.#lines.length, line });
    return this.#lines.length;
  }

  lines() {
    return this.#lines;
  }

  // Sends the note as {lines}, then each line that is added as {at, line}, until the caller ends it.
  watchChan(stream) {
    const watcher = { stream, behind: 0 };
    this.#tell(watcher, { lines: this.#lines });
    return this.#watch(watcher);
  }

  // The same for a watcher whose stream goes on here: it has seen as many lines as the token says.
  resume(stream, token) {
    const watcher = { stream, behind: 0 };
    const seen = token.length === 0 ? Infinity : Number(token);
    if (seen > this.#lines.length) {
      this.#tell(watcher, { lines: this.#lines }); // it has seen nothing, or the note was lost
    } else {
      this.#lines.slice(seen).forEach((line, i) => this.#tell(watcher, { at: seen + i + 1, line }));
    }
    return this.#watch(watcher);
  }

  // Until the caller ends the stream, or the note goes elsewhere.
  async #watch(watcher) {
    this.#watchers.add(watcher);
    try {
      for await (const message of watcher.stream) void message;
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #tell(watcher, message) {
    watcher.behind += 1;
    if (watcher.behind > BEHIND_MAX) return watcher.stream.cancel();
    // Resolves when there is room for it; that it fails, the loop in #watch() hears.
    const token = String(message.at ?? this.#lines.length);
    return watcher.stream.write(message, { token }).then(
      () => {
        watcher.behind -= 1;
      },
      () => {}
    );
  }

  close() {
    return this.#lines.length > 0 ? this.#lines : undefined;
  }
};
