// The envelope: lever.v1.Message, in and out, without copying the payload.
//
// A message is a few bytes of protobuf round a payload that is MessagePack or plain bytes. Writing puts
// one small slice before the payload's own slices; parsing gives the payload as slices of the buffers
// that it came in. Functions without state; any thread.
//
// Invariants
//  1. ParseEnvelope() accepts what a protobuf parser accepts of this message (the last arm of the
//     oneof wins, unknown fields are skipped), except groups, which proto3 does not have, tags of more
//     than 32 bits, of which some parsers drop the upper ones, and more than kEnvelopeFieldsMax fields.
//     The rest is refused with INVALID_ARGUMENT.
//  2. It looks only at tags and lengths, never inside the payload: its time is bounded by the number
//     of fields, which is limited.
//  3. A payload is made of at most as many slices as the message was.
#ifndef LIBLEVER_ROUTE_ENVELOPE_H_
#define LIBLEVER_ROUTE_ENVELOPE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"

namespace lever::route {

// What a payload is; the numbers are those of lever_kind.
enum class Kind : uint8_t {
  kNone = 0,
  kValue = 1,       // one MessagePack value
  kRaw = 2,         // bytes
  kErrorValue = 3,  // a method's own error, a MessagePack value
  kErrorRaw = 4,    // a method's own error, bytes
};
inline bool IsError(Kind kind) { return kind == Kind::kErrorValue || kind == Kind::kErrorRaw; }

// Fields in one message. An honest message has at most four; unknown ones of a later version fit, too.
inline constexpr size_t kEnvelopeFieldsMax = 64;

// Field numbers of lever.v1.Message. The arms from `value` to `error_raw` are those of Kind.
enum MessageField : uint32_t {
  kFieldValue = 1,
  kFieldErrorRaw = 4,
  kFieldMoved = 5,
  kFieldResume = 6,
  kFieldConsumed = 7,
  kFieldReceived = 8,
};

struct Envelope {
  Kind kind = Kind::kNone;  // kNone: bookkeeping, or `moved`
  SliceList payload;
  bool moved = false;    // the `moved` arm; its bytes are the payload
  bool has_resume = false;
  Slice resume;  // the token; empty without
  uint64_t consumed = 0;
  uint64_t received = 0;

  // A message without a body is neither numbered nor delivered.
  bool bookkeeping() const { return kind == Kind::kNone && !moved; }
};

StatusOr<Envelope> ParseEnvelope(SliceList message);

// The message with that payload. `kind` is not kNone.
SliceList WriteEnvelope(Kind kind, SliceList payload);
// Bytes that WriteEnvelope() puts before a payload of that size.
size_t EnvelopePrefixBytes(size_t payload_bytes);

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_ENVELOPE_H_
