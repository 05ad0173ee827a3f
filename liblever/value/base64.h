// Base64 with the standard alphabet and padding (RFC 4648 section 4), canonical both ways: what is
// read would be written again byte for byte. Functions only; any thread.
#ifndef LIBLEVER_VALUE_BASE64_H_
#define LIBLEVER_VALUE_BASE64_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lever::value {

// Appends.
void EncodeBase64(std::span<const uint8_t> bytes, std::string* out);
// Appends. False, with *out unspecified, for another alphabet, missing or needless padding, bits
// that are not zero in front of the padding, and any other character.
bool DecodeBase64(std::string_view text, std::string* out);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_BASE64_H_
