#include "liblever/value/check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "lever/lever.h"
#include "liblever/base/slice.h"
#include "liblever/value/limits.h"
#include "liblever/value/utf8.h"

namespace lever::value {
namespace {

enum class Shape : uint8_t {
  kBytes,    // `size` bytes that nobody looks at: numbers, binaries, extensions
  kText,     // `size` bytes of UTF-8
  kArray,    // `size` values
  kMap,      // 2 x `size` values
  kInvalid,  // 0xc1
};

// What a value's first byte says.
struct Lead {
  Shape shape = Shape::kInvalid;
  uint8_t length_bytes = 0;  // width of the length that follows, 0: there is none
  uint8_t size = 0;          // the size, to which a length is added (1 for an extension's type)
};

constexpr std::array<Lead, 256> MakeLeads() {
  std::array<Lead, 256> leads{};
  for (int byte = 0x00; byte <= 0x7f; ++byte) leads[byte] = {Shape::kBytes, 0, 0};
  for (int byte = 0xe0; byte <= 0xff; ++byte) leads[byte] = {Shape::kBytes, 0, 0};
  for (int byte = 0; byte < 16; ++byte) {
    leads[0x80 + byte] = {Shape::kMap, 0, static_cast<uint8_t>(byte)};
    leads[0x90 + byte] = {Shape::kArray, 0, static_cast<uint8_t>(byte)};
  }
  for (int byte = 0; byte < 32; ++byte) {
    leads[0xa0 + byte] = {Shape::kText, 0, static_cast<uint8_t>(byte)};
  }
  leads[0xc0] = leads[0xc2] = leads[0xc3] = {Shape::kBytes, 0, 0};  // nil, false, true
  for (int width = 0; width < 3; ++width) {
    const uint8_t length_bytes = static_cast<uint8_t>(1 << width);
    leads[0xc4 + width] = {Shape::kBytes, length_bytes, 0};  // bin
    leads[0xc7 + width] = {Shape::kBytes, length_bytes, 1};  // ext, with its type
    leads[0xd9 + width] = {Shape::kText, length_bytes, 0};   // str
  }
  leads[0xca] = {Shape::kBytes, 0, 4};  // float32
  leads[0xcb] = {Shape::kBytes, 0, 8};  // float64
  for (int width = 0; width < 4; ++width) {
    const uint8_t number_bytes = static_cast<uint8_t>(1 << width);
    leads[0xcc + width] = {Shape::kBytes, 0, number_bytes};  // uint
    leads[0xd0 + width] = {Shape::kBytes, 0, number_bytes};  // int
  }
  for (int width = 0; width < 5; ++width) {  // fixext, with its type
    leads[0xd4 + width] = {Shape::kBytes, 0, static_cast<uint8_t>((1 << width) + 1)};
  }
  leads[0xdc] = {Shape::kArray, 2, 0};
  leads[0xdd] = {Shape::kArray, 4, 0};
  leads[0xde] = {Shape::kMap, 2, 0};
  leads[0xdf] = {Shape::kMap, 4, 0};
  return leads;
}
constexpr std::array<Lead, 256> kLeads = MakeLeads();

Bytes BytesOf(Bytes piece) { return piece; }
Bytes BytesOf(const Slice& piece) { return piece.span(); }
Bytes BytesOf(const lever_slice& piece) { return {piece.data, piece.size}; }

// Reads pieces as if they were one. No function is called for more bytes than left() says.
template <typename Piece>
class Reader {
 public:
  explicit Reader(std::span<const Piece> pieces) : pieces_(pieces) {
    for (const Piece& piece : pieces) left_ += BytesOf(piece).size();
  }

  uint64_t left() const { return left_; }

  uint8_t Byte() {
    while (at_ == end_) NextPiece();
    --left_;
    return *at_++;
  }

  uint32_t BigEndian(uint8_t width) {
    uint32_t number = 0;
    for (; width > 0; --width) number = number << 8 | Byte();
    return number;
  }

  void Skip(uint64_t size) {
    left_ -= size;
    while (size > static_cast<size_t>(end_ - at_)) {
      size -= static_cast<size_t>(end_ - at_);
      NextPiece();
    }
    at_ += size;
  }

  bool SkipUtf8(uint64_t size) {
    left_ -= size;
    Utf8Checker checker;
    while (size > static_cast<size_t>(end_ - at_)) {
      if (!checker.Feed(at_, static_cast<size_t>(end_ - at_))) return false;
      size -= static_cast<size_t>(end_ - at_);
      NextPiece();
    }
    const uint8_t* const text = at_;
    at_ += size;
    return checker.Feed(text, size) && checker.Complete();
  }

 private:
  void NextPiece() {
    const Bytes piece = BytesOf(pieces_[next_++]);
    at_ = piece.data();
    end_ = at_ + piece.size();
  }

  std::span<const Piece> pieces_;
  size_t next_ = 0;
  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  uint64_t left_ = 0;
};

Status Refuse(const char* what, uint64_t offset) {
  std::string message("MessagePack: ");
  message.append(what).append(" at byte ").append(std::to_string(offset));
  return InvalidArgument(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

template <typename Piece>
Status Check(std::span<const Piece> pieces) {
  Reader<Piece> reader(pieces);
  const uint64_t total = reader.left();
  // The values that each open container still owes; not initialised, to be cheap for small values.
  uint64_t owed_by[kDepthMax];
  uint32_t depth = 0;
  uint64_t owed = 1;  // by all of them together, and the value itself
  for (;;) {
    const uint64_t offset = total - reader.left();
    if (reader.left() == 0) return Refuse("the value ends early", offset);
    const Lead lead = kLeads[reader.Byte()];
    if (lead.length_bytes > reader.left()) return Refuse("a length is cut off", offset);
    const uint64_t size = lead.size + uint64_t{reader.BigEndian(lead.length_bytes)};
    --owed;

    uint64_t values = 0;
    switch (lead.shape) {
      case Shape::kBytes:
      case Shape::kText:
        if (size + owed > reader.left()) return Refuse("a size beyond the end", offset);
        if (lead.shape == Shape::kBytes) {
          reader.Skip(size);
        } else if (!reader.SkipUtf8(size)) {
          return Refuse("a string that is not UTF-8", offset);
        }
        break;
      case Shape::kArray:
      case Shape::kMap:
        values = lead.shape == Shape::kMap ? 2 * size : size;
        owed += values;
        if (owed > reader.left()) return Refuse("more elements than bytes", offset);
        if (depth == kDepthMax) return Refuse("more than 128 levels", offset);
        break;
      case Shape::kInvalid:
        return Refuse("the byte c1, which is no value,", offset);
    }
    if (values > 0) {
      owed_by[depth++] = values;
      continue;
    }
    while (depth > 0 && --owed_by[depth - 1] == 0) --depth;
    if (depth == 0) break;
  }
  if (reader.left() > 0) return Refuse("bytes behind the value", total - reader.left());
  return Status::Ok();
}
static_assert(kDepthMax == 128, "named in the message above");

template <typename Piece>
StatusOr<uint32_t> CheckArray(std::span<const Piece> pieces) {
  LEVER_RETURN_IF_ERROR(Check(pieces));
  Reader<Piece> reader(pieces);
  const Lead lead = kLeads[reader.Byte()];
  if (lead.shape != Shape::kArray) {
    return InvalidArgument("the arguments are not an array").WithExecuted(LEVER_EXECUTED_NO);
  }
  return lead.size + reader.BigEndian(lead.length_bytes);
}

}  // namespace

Status CheckValue(Bytes value) { return Check(std::span<const Bytes>(&value, 1)); }
Status CheckValue(std::span<const Bytes> pieces) { return Check(pieces); }
Status CheckValue(std::span<const Slice> pieces) { return Check(pieces); }
Status CheckValue(std::span<const lever_slice> pieces) { return Check(pieces); }

StatusOr<uint32_t> CheckArguments(Bytes value) {
  return CheckArray(std::span<const Bytes>(&value, 1));
}
StatusOr<uint32_t> CheckArguments(std::span<const Bytes> pieces) { return CheckArray(pieces); }
StatusOr<uint32_t> CheckArguments(std::span<const Slice> pieces) { return CheckArray(pieces); }
StatusOr<uint32_t> CheckArguments(std::span<const lever_slice> pieces) {
  return CheckArray(pieces);
}

}  // namespace lever::value
