// Random 128-bit ids and one-time nonces, and their hexadecimal form. Any thread.
#ifndef LIBLEVER_BASE_IDS_H_
#define LIBLEVER_BASE_IDS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lever {

// Fills `bytes` from the kernel's generator. Never fails: a kernel without one ends the process.
void RandomBytes(std::span<uint8_t> bytes);
// A seed for the generators of random.h.
uint64_t RandomSeed();

// 128 random bits: an id that nobody has to hand out, or a nonce that nobody guesses.
struct Id128 {
  std::array<uint8_t, 16> bytes{};

  static Id128 Random();
  // 32 lower-case hexadecimal digits; nullopt for anything else.
  static std::optional<Id128> FromHex(std::string_view hex);
  std::string ToHex() const;

  // In a time that does not depend on the bytes, so that a nonce cannot be felt out.
  friend bool operator==(const Id128& a, const Id128& b) {
    uint8_t difference = 0;
    for (size_t i = 0; i < a.bytes.size(); ++i) difference |= a.bytes[i] ^ b.bytes[i];
    return difference == 0;
  }
};

// Lower-case hexadecimal digits, two for each byte.
std::string ToHex(std::span<const uint8_t> bytes);
// Exactly `bytes.size()` bytes out of lower-case digits; false (and `bytes` undefined) otherwise.
bool FromHex(std::string_view hex, std::span<uint8_t> bytes);

}  // namespace lever

#endif  // LIBLEVER_BASE_IDS_H_
