// How a stream of a resource goes on where the resource has moved to: what both sides say of it.
//
// A stream that can be resumed numbers its messages from 1, in each direction; the arguments have no
// number. The method's side attaches tokens of its own to messages, and says which messages of the
// caller it has read. On a move it ends with `moved`; the caller opens the stream again at the new
// owner, with the same arguments, its last token and what it has received, and sends again what was
// not read. docs/wire.md tells the rest.
//
// Values and functions without state; any thread.
#ifndef LIBLEVER_ROUTE_RESUMPTION_H_
#define LIBLEVER_ROUTE_RESUMPTION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/policy/shard.h"

namespace lever::route {

// The largest token of a program's.
inline constexpr size_t kResumeTokenBytesMax = 4096;
// INVALID_ARGUMENT: it is larger.
Status CheckResumeToken(std::string_view token);

// The point at which a stream is resumed.
struct ResumePoint {
  std::string token;      // the last that has come; empty without
  uint64_t received = 0;  // messages of the method's that the caller has
  uint64_t consumed = 0;  // messages of the caller's that methods have read before
};

// What a message of a resumable stream says beside its payload.
struct StreamMarks {
  std::optional<std::string_view> resume{};
  uint64_t consumed = 0;
  uint64_t received = 0;
};
// Fields of a lever.v1.Message, to be put behind those of WriteEnvelope(), or a message of their own,
// without a body.
Slice WriteMarks(const StreamMarks& marks);

// The arm `moved`: the last message of a stream that goes on elsewhere.
struct Moved {
  std::string owner;  // the instance's id; empty if it is not known
  policy::ShardGeneration shard;
  uint64_t consumed = 0;
};
// A whole lever.v1.Message.
SliceList WriteMoved(const Moved& moved);
// The payload of an envelope that is `moved`. INVALID_ARGUMENT.
StatusOr<Moved> ParseMoved(const SliceList& payload);

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_RESUMPTION_H_
