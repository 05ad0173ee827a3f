// What JavaScript asks for: a block of memory that it fills before it calls one of the addon's
// functions without arguments. lib/native.js has the same offsets.
#ifndef BINDINGS_NODE_SRC_COMMAND_H_
#define BINDINGS_NODE_SRC_COMMAND_H_

#include <cstddef>
#include <cstdint>

namespace lever::node {

struct Command {
  uint32_t object;          // 0: token of the client; 0 for streams that came in; of a resource's service
  uint32_t address;         // 1: id from internAddress()
  uint32_t kind;            // 2: lever_kind
  uint32_t flags;           // 3
  uint32_t payload_bytes;   // 4: in the scratch memory, from its start, unless there is an argument
  uint32_t metadata_bytes;  // 5: in the scratch memory, behind the payload (metadata.h)
  uint32_t parent_low;      // 6
  uint32_t parent_high;     // 7
  uint32_t token;           // 8: comes back with the events of what begins
  uint32_t read_messages;   // 9: credit; of streamMoved() what lies unread
  uint32_t read_bytes;      // 10
  uint32_t id_low;          // 11: of what the command is about; of what it has begun
  uint32_t id_high;         // 12
  uint32_t status;          // 13: of a cancel or fail, or of what was opened or closed
  double timeout_ms;        // 14, 15: 0: the default; negative: none
  uint32_t token_bytes;     // 16: of a resume token, in the scratch memory behind the metadata
  uint32_t reserved;        // 17
  double resume_received;   // 18, 19: of a stream that is taken up again

  uint64_t id() const { return uint64_t{id_high} << 32 | id_low; }
  uint64_t parent() const { return uint64_t{parent_high} << 32 | parent_low; }
  void set_id(uint64_t id) {
    id_low = static_cast<uint32_t>(id);
    id_high = static_cast<uint32_t>(id >> 32);
  }
};
static_assert(sizeof(Command) == 80 && offsetof(Command, timeout_ms) == 56);

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_COMMAND_H_
