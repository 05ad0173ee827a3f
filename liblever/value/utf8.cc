#include "liblever/value/utf8.h"

#include <cstring>

namespace lever::value {
namespace {

// The first byte that is not ASCII, or `end`. Eight bytes a step: most text is ASCII.
const uint8_t* SkipAscii(const uint8_t* at, const uint8_t* end) {
  constexpr uint64_t kHighBits = 0x8080808080808080u;
  while (end - at >= 8) {
    uint64_t word;
    std::memcpy(&word, at, sizeof(word));
    if ((word & kHighBits) != 0) break;
    at += 8;
  }
  while (at != end && *at < 0x80) ++at;
  return at;
}

}  // namespace

bool Utf8Checker::Feed(const uint8_t* data, size_t size) {
  const uint8_t* at = data;
  const uint8_t* const end = data + size;
  for (;;) {
    for (; missing_ > 0; --missing_, ++at) {
      if (at == end) return true;
      if (*at < low_ || *at > high_) return false;
      low_ = 0x80;
      high_ = 0xbf;
    }
    at = SkipAscii(at, end);
    if (at == end) return true;
    const uint8_t lead = *at++;
    if (lead < 0xc2) return false;  // a continuation byte, or an overlong form of ASCII
    if (lead < 0xe0) {
      missing_ = 1;
    } else if (lead < 0xf0) {
      missing_ = 2;
      if (lead == 0xe0) low_ = 0xa0;   // below: overlong
      if (lead == 0xed) high_ = 0x9f;  // above: surrogates
    } else if (lead < 0xf5) {
      missing_ = 3;
      if (lead == 0xf0) low_ = 0x90;   // below: overlong
      if (lead == 0xf4) high_ = 0x8f;  // above: beyond U+10FFFF
    } else {
      return false;
    }
  }
}

bool IsUtf8(std::string_view text) {
  Utf8Checker checker;
  return checker.Feed(reinterpret_cast<const uint8_t*>(text.data()), text.size()) &&
         checker.Complete();
}

}  // namespace lever::value
