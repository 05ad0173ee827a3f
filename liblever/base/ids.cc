#include "liblever/base/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace lever {
namespace {

int DigitValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

void RandomBytes(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<size_t>(got));
    } else if (errno != EINTR) {
      std::abort();  // going on with a nonce that can be guessed would be worse
    }
  }
}

uint64_t RandomSeed() {
  uint8_t bytes[sizeof(uint64_t)];
  RandomBytes(bytes);
  uint64_t seed;
  std::memcpy(&seed, bytes, sizeof(seed));
  return seed;
}

Id128 Id128::Random() {
  Id128 id;
  RandomBytes(id.bytes);
  return id;
}

std::optional<Id128> Id128::FromHex(std::string_view hex) {
  Id128 id;
  if (!lever::FromHex(hex, id.bytes)) return std::nullopt;
  return id;
}

std::string Id128::ToHex() const { return lever::ToHex(bytes); }

std::string ToHex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

bool FromHex(std::string_view hex, std::span<uint8_t> bytes) {
  if (hex.size() != 2 * bytes.size()) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = DigitValue(hex[2 * i]);
    const int low = DigitValue(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace lever
