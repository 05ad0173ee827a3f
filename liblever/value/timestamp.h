// Moments in time: MessagePack's timestamp extension (type -1) and RFC 3339 text.
//
// Seconds count from 1970-01-01T00:00:00Z without leap seconds, nanoseconds add to them. Text is
// written in UTC with as many digits of the fraction as are needed, and read with any offset.
// Functions only; any thread.
#ifndef LIBLEVER_VALUE_TIMESTAMP_H_
#define LIBLEVER_VALUE_TIMESTAMP_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lever::value {

inline constexpr int8_t kTimestampType = -1;

struct Timestamp {
  int64_t seconds = 0;
  uint32_t nanos = 0;  // below 10^9

  bool operator==(const Timestamp&) const = default;
};

// The payload of an extension of type -1: 4, 8 or 12 bytes. Nullopt for another size and for 10^9
// nanoseconds and more.
std::optional<Timestamp> DecodeTimestamp(std::span<const uint8_t> payload);
// The shortest payload; appends it.
void EncodeTimestamp(Timestamp time, std::string* out);

// Whether the moment lies in the years 0001 to 9999, which RFC 3339 text can say.
bool HasText(Timestamp time);
// Appends "2024-02-29T12:00:00.5Z". Only if HasText.
void FormatTimestamp(Timestamp time, std::string* out);
// Nullopt for what is not RFC 3339 in the years 0001 to 9999 (in UTC), for more than nine digits,
// and for the 60th second, which no clock of ours can count.
std::optional<Timestamp> ParseTimestamp(std::string_view text);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_TIMESTAMP_H_
