// Chat rooms: a streaming service as an ES module, with packages from npm, one of them native.
//
//   lever deploy examples/chat        (runs `npm ci` first: "build" in lever.json)
//   node examples/chat/client.cjs lobby Ann
//
// A member joins with a stream: what it writes is said in the room, what it reads is what others
// say. Its rooms are in one process ("maxInstances": 1), so that all members of a room meet there;
// examples/rooms has them as resources, over any number of instances.
import { xxh32 } from '@node-rs/xxhash';
import { context } from 'lever';
import { nanoid } from 'nanoid';

const COLOURS = ['red', 'green', 'yellow', 'blue', 'magenta', 'cyan'];
// Messages that a member may be behind: whoever reads more slowly is shown out, so that nobody else
// waits and memory stays bounded.
const BEHIND_MAX = 1000;

const rooms = new Map();

class Room {
  members = new Map(); // by id: {name, stream, behind}
  history = [];

  say(message) {
    this.history.push(message);
    if (this.history.length > context().config.historyMessages) this.history.shift();
    for (const member of this.members.values()) deliver(member, message);
  }
}

function deliver(member, message) {
  member.behind += 1;
  if (member.behind > BEHIND_MAX) return member.stream.cancel();
  // Resolves when there is room for it; that it fails, the member's own loop hears.
  return member.stream.write(message).then(
    () => {
      member.behind -= 1;
    },
    () => {}
  );
}

function checkName(what, name) {
  const { nameBytesMax } = context().config;
  if (typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= nameBytesMax) return;
  throw Object.assign(new TypeError(`${what}: a text of 1 to ${nameBytesMax} bytes is expected`), {
    what,
  });
}

// joinChan(room, name): a message in is a text, a message out is {from, colour, text, at} or
// {joined}, {left}.
export async function joinChan(stream, roomName, name) {
  checkName('room', roomName);
  checkName('name', name);
  const room = rooms.get(roomName) ?? new Room();
  rooms.set(roomName, room);
  const id = nanoid();
  const colour = COLOURS[xxh32(name) % COLOURS.length];
  // Not waited for: nothing may be said between the history and the joining.
  for (const message of room.history) stream.write(message);
  room.members.set(id, { name, stream, behind: 0 });
  room.say({ joined: name });
  try {
    for await (const text of stream)
      room.say({ from: name, colour, text: String(text), at: new Date() });
  } finally {
    room.members.delete(id);
    room.say({ left: name });
    if (room.members.size === 0) rooms.delete(roomName);
  }
}

// Who is where: {room: [name, ...]}.
export function who() {
  return Object.fromEntries(
    Array.from(rooms, ([name, room]) => [
      name,
      Array.from(room.members.values(), (m) => m.name).sort(),
    ])
  );
}
