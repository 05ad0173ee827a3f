// Checking UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
//
// A checker is fed in pieces, which may end inside a character. Not thread-safe; it holds three
// bytes and may be copied.
#ifndef LIBLEVER_VALUE_UTF8_H_
#define LIBLEVER_VALUE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lever::value {

class Utf8Checker {
 public:
  // False as soon as the bytes so far cannot be the beginning of valid UTF-8; the checker is of no
  // further use then.
  bool Feed(const uint8_t* data, size_t size);
  // Whether the bytes so far end with a whole character.
  bool Complete() const { return missing_ == 0; }

 private:
  uint8_t missing_ = 0;  // continuation bytes still to come
  uint8_t low_ = 0x80;   // the range of the next one
  uint8_t high_ = 0xbf;
};

bool IsUtf8(std::string_view text);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_UTF8_H_
