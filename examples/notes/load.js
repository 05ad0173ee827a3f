// Writes to and watches several notes, and says whether everybody saw every line once and in order:
//
//   lever deploy examples/notes
//   node examples/notes/load.js [SECONDS [NOTES [WATCHERS]]]     by default 10 s, 8 notes, 4 watchers each
//   lever deploy examples/notes                                  meanwhile, as often as you like
//
// An upgrade moves the notes to instances of the new version. Calls wait until it is over, and watchers'
// streams go on there. One that ends with UNAVAILABLE, as all do when the host is gone, is opened again
// here, and counted as such. Ctrl-C ends it earlier. The last line is what it
// came to, as JSON; the exit code is 1 if a line was lost or doubled, or a call failed.
//
// `lever` is found where it is installed (npm install lever), or where NODE_PATH says. LEVER_HOST is the
// host's address, 127.0.0.1:8080 by default; LEVER_ENV the environment, dev.lever by default.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const lever = require('lever');

const [seconds = 10, notes = 8, watchersEach = 4] = process.argv.slice(2).map(Number);
// A note takes so many lines: linesMax of its configuration.
const LINES_MAX = 1000;
const PAUSE_MS = Math.max(10, (seconds * 1000) / (LINES_MAX - 100));
const CATCH_UP_MS = 30_000;

const client = new lever.Client();
const seen = { lines: 0, watched: 0, reopened: 0, slowestMs: 0, problems: [] };

let until = Infinity; // when writing ends
process.once('SIGINT', () => {
  until = 0;
});

// Adds a line to those that were added. False: it could not.
async function write(name, added) {
  const line = `line ${added.length + 1} of ${name}`;
  const began = performance.now();
  try {
    const at = await client.invoke(`/notes/${name}/add`, line);
    added.push(line);
    if (at !== added.length) throw new Error(`line ${added.length} became line ${at}`);
  } catch (error) {
    seen.problems.push(`${name}: ${error.message}`);
    return false;
  }
  seen.lines += 1;
  seen.slowestMs = Math.max(seen.slowestMs, performance.now() - began);
  return true;
}

// Watches a note, however often its stream ends. `copy` is the note as it is known here.
class Watcher {
  copy = [];
  #over = false;
  #stream = null;
  #ended;

  constructor(name) {
    this.name = name;
    this.#ended = this.#watch();
  }

  async #watch() {
    for (let times = 0; !this.#over; times++) {
      if (times > 0) seen.reopened += 1;
      this.#stream = client.stream(`/notes/${this.name}/watchChan`);
      try {
        for await (const message of this.#stream) this.#take(message);
      } catch (error) {
        if (this.#over) return;
        if (error.code !== 'UNAVAILABLE') return seen.problems.push(`${this.name}: ${error.message}`);
      }
      await sleep(20);
    }
  }

  #take({ lines, at, line }) {
    if (lines !== undefined) {
      // What was known must be there still.
      const same = this.copy.every((known, i) => known === lines[i]);
      if (!same) seen.problems.push(`${this.name}: lines that were there are gone`);
      this.copy = lines;
    } else if (at === this.copy.length + 1) {
      this.copy.push(line);
    } else {
      seen.problems.push(`${this.name}: line ${at} came after ${this.copy.length}`);
    }
  }

  async end() {
    this.#over = true;
    this.#stream.cancel();
    await this.#ended;
  }
}

class Note {
  added = [];

  constructor(name) {
    this.name = name;
    this.watchers = Array.from({ length: watchersEach }, () => new Watcher(name));
  }

  // Resolves when the watchers know of every line, or should.
  async isSeen() {
    const limit = Date.now() + CATCH_UP_MS;
    const behind = (watcher) => watcher.copy.length < this.added.length;
    while (this.watchers.some(behind) && Date.now() < limit) await sleep(10);
  }

  async begin() {
    await write(this.name, this.added);
    await this.isSeen();
  }

  async fill() {
    while (Date.now() < until && this.added.length < LINES_MAX) {
      if (!(await write(this.name, this.added))) break;
      await sleep(PAUSE_MS);
    }
  }

  async check() {
    const { name, added } = this;
    const kept = await client.invoke(`/notes/${name}/lines`);
    if (JSON.stringify(kept) !== JSON.stringify(added)) {
      seen.problems.push(`${name}: ${added.length} lines were added, and ${kept.length} are there`);
    }
    await this.isSeen();
    for (const { copy } of this.watchers) {
      if (JSON.stringify(copy) === JSON.stringify(added)) seen.watched += 1;
      else seen.problems.push(`${name}: a watcher saw ${copy.length} of ${added.length} lines`);
    }
    await Promise.all(this.watchers.map((watcher) => watcher.end()));
  }
}

async function main() {
  const run = `${process.pid}-${Date.now()}`; // notes that nobody has written to
  const all = Array.from({ length: notes }, (_, i) => new Note(`load-${run}-${i}`));
  const each = (step) => Promise.all(all.map(step));
  await each((note) => note.begin());
  console.log(`${notes} notes are written to and watched`);
  until = Math.min(until, Date.now() + seconds * 1000);
  await each((note) => note.fill());
  await each((note) => note.check());
  await client.close();
  console.log(JSON.stringify({ ...seen, slowestMs: Math.round(seen.slowestMs) }));
  process.exitCode = seen.problems.length === 0 ? 0 : 1;
}

main();
