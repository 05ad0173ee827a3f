#include "liblever/value/base64.h"

#include <array>
#include <cstddef>

namespace lever::value {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> MakeDigits() {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (uint8_t digit = 0; digit < 64; ++digit) {
    digits[static_cast<uint8_t>(kAlphabet[digit])] = digit;
  }
  return digits;
}
constexpr std::array<uint8_t, 256> kDigits = MakeDigits();

}  // namespace

void EncodeBase64(std::span<const uint8_t> bytes, std::string* out) {
  size_t at = 0;
  for (; bytes.size() - at >= 3; at += 3) {
    const uint32_t group = bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
    const char four[4] = {kAlphabet[group >> 18], kAlphabet[group >> 12 & 63],
                          kAlphabet[group >> 6 & 63], kAlphabet[group & 63]};
    out->append(four, 4);
  }
  const size_t rest = bytes.size() - at;
  if (rest == 0) return;
  const uint32_t group = bytes[at] << 16 | (rest == 2 ? bytes[at + 1] << 8 : 0);
  out->push_back(kAlphabet[group >> 18]);
  out->push_back(kAlphabet[group >> 12 & 63]);
  out->push_back(rest == 2 ? kAlphabet[group >> 6 & 63] : '=');
  out->push_back('=');
}

bool DecodeBase64(std::string_view text, std::string* out) {
  if (text.size() % 4 != 0) return false;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const size_t digits = text.size() - padding;
  uint32_t bits = 0;
  for (size_t at = 0; at < digits; ++at) {
    const uint8_t digit = kDigits[static_cast<uint8_t>(text[at])];
    if (digit == kNoDigit) return false;
    bits = bits << 6 | digit;
    // Three of four digits complete a byte.
    if (at % 4 != 0) out->push_back(static_cast<char>(bits >> (6 - 2 * (at % 4))));
  }
  // One '=' leaves two bits over, two leave four: they carry nothing and are zero.
  return (bits & ((1u << (2 * padding)) - 1)) == 0;
}

}  // namespace lever::value
