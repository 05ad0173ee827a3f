#include "liblever/route/envelope.h"

#include <array>
#include <string>
#include <utility>

namespace lever::route {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t kFieldNumberMax = (1u << 29) - 1;

// The arms `value` to `error_raw` are fields 1 to 4, in the order of Kind.
static_assert(static_cast<uint32_t>(Kind::kValue) == kFieldValue);
static_assert(static_cast<uint32_t>(Kind::kErrorRaw) == kFieldErrorRaw);

// Reads forward through the pieces of a message.
class Cursor {
 public:
  explicit Cursor(const SliceList& pieces) : pieces_(pieces), left_(TotalSize(pieces)) {
    SkipEmpty();
  }

  size_t left() const { return left_; }

  bool ReadByte(uint8_t* out) {
    if (left_ == 0) return false;
    *out = pieces_[piece_].data()[offset_];
    Advance(1);
    return true;
  }

  // At most ten bytes; bits beyond 64 are dropped, as protobuf parsers do.
  bool ReadVarint(uint64_t* out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      uint8_t byte = 0;
      if (!ReadByte(&byte)) return false;
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        *out = value;
        return true;
      }
    }
    return false;
  }

  bool Skip(uint64_t size) {
    if (size > left_) return false;
    while (size > 0) {
      const size_t step = StepOf(size);
      Advance(step);
      size -= step;
    }
    return true;
  }

  // Shares the next `size` bytes.
  bool Take(uint64_t size, SliceList* out) {
    if (size > left_) return false;
    while (size > 0) {
      const size_t step = StepOf(size);
      out->push_back(pieces_[piece_].Sub(offset_, step));
      Advance(step);
      size -= step;
    }
    return true;
  }

 private:
  size_t StepOf(uint64_t size) const {
    const size_t here = pieces_[piece_].size() - offset_;
    return size < here ? static_cast<size_t>(size) : here;
  }
  void Advance(size_t size) {
    offset_ += size;
    left_ -= size;
    SkipEmpty();
  }
  void SkipEmpty() {
    while (piece_ < pieces_.size() && offset_ == pieces_[piece_].size()) {
      ++piece_;
      offset_ = 0;
    }
  }

  const SliceList& pieces_;
  size_t piece_ = 0;
  size_t offset_ = 0;
  size_t left_;
};

Status Broken(const char* what) {
  return InvalidArgument(std::string("not a lever.v1.Message: ") + what);
}

bool SkipField(Cursor& cursor, uint32_t wire_type) {
  uint64_t number = 0;
  switch (wire_type) {
    case kVarint: return cursor.ReadVarint(&number);
    case kFixed64: return cursor.Skip(8);
    case kBytes: return cursor.ReadVarint(&number) && cursor.Skip(number);
    case kFixed32: return cursor.Skip(4);
    default: return false;  // groups are not part of proto3, and nothing of ours ever wrote one
  }
}

bool TakeBytes(Cursor& cursor, SliceList* out) {
  uint64_t size = 0;
  out->clear();
  return cursor.ReadVarint(&size) && cursor.Take(size, out);
}

// One known field of the wire type that it should have; false if it is cut short.
bool TakeField(Cursor& cursor, uint32_t field, Envelope* envelope) {
  switch (field) {
    case kFieldResume: {
      SliceList token;
      if (!TakeBytes(cursor, &token)) return false;
      envelope->resume = Flatten(token);
      envelope->has_resume = true;
      return true;
    }
    case kFieldConsumed: return cursor.ReadVarint(&envelope->consumed);
    case kFieldReceived: return cursor.ReadVarint(&envelope->received);
    default:
      envelope->moved = field == kFieldMoved;
      envelope->kind = envelope->moved ? Kind::kNone : static_cast<Kind>(field);
      return TakeBytes(cursor, &envelope->payload);
  }
}

bool IsKnown(uint32_t field, uint32_t wire_type) {
  if (field >= kFieldValue && field <= kFieldResume) return wire_type == kBytes;
  return (field == kFieldConsumed || field == kFieldReceived) && wire_type == kVarint;
}

size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

constexpr char TagOf(Kind kind) {
  return static_cast<char>((static_cast<uint32_t>(kind) << 3) | kBytes);
}

// Tag and length of payloads whose length is one byte, so that a small message needs no allocation.
constexpr size_t kShortPayloadMax = 127;
using ShortPrefixes = std::array<std::array<char, 2>, 4 * (kShortPayloadMax + 1)>;
constexpr ShortPrefixes MakeShortPrefixes() {
  ShortPrefixes prefixes{};
  for (size_t arm = 0; arm < 4; ++arm) {
    for (size_t size = 0; size <= kShortPayloadMax; ++size) {
      prefixes[arm * (kShortPayloadMax + 1) + size] = {TagOf(static_cast<Kind>(arm + 1)),
                                                       static_cast<char>(size)};
    }
  }
  return prefixes;
}
constexpr ShortPrefixes kShortPrefixes = MakeShortPrefixes();

Slice Prefix(Kind kind, size_t size) {
  if (size <= kShortPayloadMax) {
    const size_t arm = static_cast<size_t>(kind) - 1;
    const auto& prefix = kShortPrefixes[arm * (kShortPayloadMax + 1) + size];
    return Slice::Static({prefix.data(), prefix.size()});
  }
  std::array<char, 11> bytes;
  size_t count = 0;
  bytes[count++] = TagOf(kind);
  uint64_t rest = size;
  for (; rest >= 0x80; rest >>= 7) bytes[count++] = static_cast<char>(rest | 0x80);
  bytes[count++] = static_cast<char>(rest);
  return Slice::Copy(std::string_view(bytes.data(), count));
}

}  // namespace

StatusOr<Envelope> ParseEnvelope(SliceList message) {
  Envelope envelope;
  Cursor cursor(message);
  for (size_t fields = 0; cursor.left() > 0; ++fields) {
    if (fields == kEnvelopeFieldsMax) return Broken("too many fields");
    uint64_t tag = 0;
    if (!cursor.ReadVarint(&tag)) return Broken("a tag is cut short");
    const uint64_t field = tag >> 3;
    const auto wire_type = static_cast<uint32_t>(tag & 7);
    if (field == 0 || field > kFieldNumberMax) return Broken("a field number is out of range");
    const auto number = static_cast<uint32_t>(field);
    const bool taken = IsKnown(number, wire_type) ? TakeField(cursor, number, &envelope)
                                                  : SkipField(cursor, wire_type);
    if (!taken) return Broken("a field is cut short or of an unknown type");
  }
  return envelope;
}

SliceList WriteEnvelope(Kind kind, SliceList payload) {
  const size_t size = TotalSize(payload);
  SliceList message;
  message.reserve(payload.size() + 1);
  message.push_back(Prefix(kind, size));
  for (Slice& piece : payload) {
    if (!piece.empty()) message.push_back(std::move(piece));
  }
  return message;
}

size_t EnvelopePrefixBytes(size_t payload_bytes) { return 1 + VarintBytes(payload_bytes); }

}  // namespace lever::route
