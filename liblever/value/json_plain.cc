#include "liblever/value/json_plain.h"

#include <array>
#include <cstdint>
#include <limits>

#include "liblever/value/limits.h"
#include "liblever/value/utf8.h"

namespace lever::value {
namespace {

// What is deeper, or has more keys in the objects that are open, is left to the full reader: keys
// are compared with each other, and headers are widened in place.
constexpr size_t kPlainDepthMax = 16;
constexpr size_t kPlainKeysMax = 32;
constexpr size_t kPlainBytesMax = 64 * 1024;
constexpr size_t kPlainDigitsMax = 18;  // any such number fits in 63 bits
static_assert(kPlainDepthMax <= kDepthMax);

void AppendBytes(uint8_t lead, uint64_t number, int bytes, std::string* out) {
  out->push_back(static_cast<char>(lead));
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(number >> shift));
  }
}

void AppendInteger(bool negative, uint64_t magnitude, std::string* out) {
  if (!negative) {
    if (magnitude < 128) return out->push_back(static_cast<char>(magnitude));
    if (magnitude <= UINT8_MAX) return AppendBytes(0xcc, magnitude, 1, out);
    if (magnitude <= UINT16_MAX) return AppendBytes(0xcd, magnitude, 2, out);
    if (magnitude <= UINT32_MAX) return AppendBytes(0xce, magnitude, 4, out);
    return AppendBytes(0xcf, magnitude, 8, out);
  }
  const int64_t number = -static_cast<int64_t>(magnitude);
  const auto bits = static_cast<uint64_t>(number);
  if (number >= -32) return out->push_back(static_cast<char>(number));
  if (number >= INT8_MIN) return AppendBytes(0xd0, bits, 1, out);
  if (number >= INT16_MIN) return AppendBytes(0xd1, bits, 2, out);
  if (number >= INT32_MIN) return AppendBytes(0xd2, bits, 4, out);
  AppendBytes(0xd3, bits, 8, out);
}

void AppendText(std::string_view text, std::string* out) {
  const size_t size = text.size();
  if (size < 32) {
    out->push_back(static_cast<char>(0xa0 | size));
  } else if (size <= UINT8_MAX) {
    AppendBytes(0xd9, size, 1, out);
  } else {
    AppendBytes(size <= UINT16_MAX ? 0xda : 0xdb, size, size <= UINT16_MAX ? 2 : 4, out);
  }
  out->append(text);
}

class PlainReader {
 public:
  PlainReader(std::string_view json, std::string* out)
      : at_(json.data()), end_(json.data() + json.size()), out_(out) {}
  bool Read();

 private:
  struct Open {
    size_t header;   // where it is in the output
    uint32_t count;  // elements or pairs
    uint32_t key;    // of an object: its first in keys_
    char close;
  };

  char Peek() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    return at_ == end_ ? '\0' : *at_;
  }
  bool Take(char wanted) {
    if (Peek() != wanted) return false;
    ++at_;
    return true;
  }
  bool Literal(std::string_view word, char value);
  bool Integer();
  bool Text(std::string_view* text);
  bool Scalar(char first);
  bool Begin(char close);
  bool Key();
  bool End();

  const char* at_;
  const char* const end_;
  std::string* const out_;
  std::array<Open, kPlainDepthMax> open_;
  size_t depth_ = 0;
  std::array<std::string_view, kPlainKeysMax> keys_;
  uint32_t keys_count_ = 0;
};

bool PlainReader::Literal(std::string_view word, char value) {
  if (!std::string_view(at_, static_cast<size_t>(end_ - at_)).starts_with(word)) return false;
  at_ += word.size();
  out_->push_back(value);
  return true;
}

bool PlainReader::Integer() {
  const bool negative = *at_ == '-';
  const char* digit = at_ + (negative ? 1 : 0);
  const char* const begin = digit;
  uint64_t magnitude = 0;
  for (; digit != end_ && *digit >= '0' && *digit <= '9'; ++digit) {
    magnitude = magnitude * 10 + static_cast<uint64_t>(*digit - '0');
    if (digit - begin == kPlainDigitsMax) return false;
  }
  // No digit, a zero before others, or minus zero; fractions and exponents fail as what follows.
  if (digit == begin || (*begin == '0' && (digit - begin > 1 || negative))) return false;
  at_ = digit;
  AppendInteger(negative, magnitude, out_);
  return true;
}

bool PlainReader::Text(std::string_view* text) {
  const char* const begin = ++at_;
  bool ascii = true;
  for (; at_ != end_ && *at_ != '"'; ++at_) {
    const auto c = static_cast<uint8_t>(*at_);
    if (c < 0x20 || c == '\\') return false;
    ascii = ascii && c < 0x80;
  }
  if (at_ == end_) return false;
  *text = std::string_view(begin, static_cast<size_t>(at_ - begin));
  ++at_;
  return ascii || IsUtf8(*text);
}

bool PlainReader::Scalar(char first) {
  std::string_view text;
  switch (first) {
    case '"':
      if (!Text(&text)) return false;
      AppendText(text, out_);
      return true;
    case 't':
      return Literal("true", '\xc3');
    case 'f':
      return Literal("false", '\xc2');
    case 'n':
      return Literal("null", '\xc0');
    default:
      return (first == '-' || (first >= '0' && first <= '9')) && Integer();
  }
}

bool PlainReader::Begin(char close) {
  if (depth_ == kPlainDepthMax) return false;
  ++at_;
  open_[depth_++] = {out_->size(), 0, keys_count_, close};
  out_->push_back('\0');  // its header, when it ends
  return true;
}

// A key and its colon. One that begins with '$' may make a form of its object.
bool PlainReader::Key() {
  std::string_view key;
  if (Peek() != '"' || !Text(&key) || key.starts_with('$') || !Take(':')) return false;
  for (uint32_t i = open_[depth_ - 1].key; i < keys_count_; ++i) {
    if (keys_[i] == key) return false;
  }
  if (keys_count_ == kPlainKeysMax) return false;
  keys_[keys_count_++] = key;
  AppendText(key, out_);
  return true;
}

bool PlainReader::End() {
  const Open& ended = open_[--depth_];
  const bool map = ended.close == '}';
  keys_count_ = ended.key;
  if (ended.count < 16) {
    (*out_)[ended.header] = static_cast<char>((map ? 0x80 : 0x90) | ended.count);
    return true;
  }
  // Inputs are too short for more than 16 bits to count.
  static_assert(kPlainBytesMax <= UINT16_MAX + 1);
  std::string header;
  AppendBytes(map ? 0xde : 0xdc, ended.count, 2, &header);
  out_->replace(ended.header, 1, header);
  return true;
}

bool PlainReader::Read() {
  for (;;) {
    // A value is due.
    const char first = Peek();
    if (first == '[' || first == '{') {
      if (!Begin(first == '[' ? ']' : '}')) return false;
      if (!Take(open_[depth_ - 1].close)) {
        if (first == '{' && !Key()) return false;
        continue;
      }
      End();
    } else if (!Scalar(first)) {
      return false;
    }
    // One has ended, and perhaps what it is in.
    while (depth_ > 0) {
      Open& inside = open_[depth_ - 1];
      ++inside.count;
      if (Take(',')) {
        if (inside.close == '}' && !Key()) return false;
        break;
      }
      if (!Take(inside.close)) return false;
      End();
    }
    if (depth_ == 0) return Peek() == '\0' && at_ == end_;
  }
}

}  // namespace

bool ReadPlainJson(std::string_view json, std::string* out) {
  if (json.size() > kPlainBytesMax) return false;
  out->reserve(json.size() + 8);
  return PlainReader(json, out).Read();
}

}  // namespace lever::value
