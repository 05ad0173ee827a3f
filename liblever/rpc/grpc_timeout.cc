#include "liblever/rpc/grpc_timeout.h"

#include <cstddef>

#include "liblever/base/clock.h"

namespace lever::rpc {
namespace {

constexpr size_t kDigitsMax = 8;
constexpr int64_t kValueMax = 99'999'999;

static_assert(kNever / (3600 * kNanosPerSecond) < kValueMax);

struct Unit {
  char letter;
  int64_t ns;
};

constexpr Unit kUnits[] = {
    {'n', 1},
    {'u', kNanosPerMicro},
    {'m', kNanosPerMilli},
    {'S', kNanosPerSecond},
    {'M', 60 * kNanosPerSecond},
    {'H', 3600 * kNanosPerSecond},
};

}  // namespace

std::string FormatGrpcTimeout(int64_t timeout_ns) {
  const Unit* unit = kUnits;
  // Ends: an int64_t of nanoseconds is less than kValueMax hours.
  while ((timeout_ns - 1) / unit->ns >= kValueMax) ++unit;
  const int64_t value = timeout_ns / unit->ns + (timeout_ns % unit->ns != 0 ? 1 : 0);
  return std::to_string(value) + unit->letter;
}

int64_t CoarseTimeout(int64_t left_ns) {
  // The largest power of ten of which 2 % of it are one or more.
  constexpr int64_t kStepsMin = 50;
  int64_t step_ns = 1;
  for (int64_t steps = left_ns / kStepsMin; steps >= 10; steps /= 10) step_ns *= 10;
  const int64_t over_ns = left_ns % step_ns;
  if (over_ns == 0) return left_ns;
  const int64_t missing_ns = step_ns - over_ns;
  return left_ns > kNever - missing_ns ? left_ns : left_ns + missing_ns;
}

std::optional<int64_t> ParseGrpcTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > kDigitsMax + 1) return std::nullopt;
  int64_t value = 0;
  for (const char digit : text.substr(0, text.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  for (const Unit& unit : kUnits) {
    if (unit.letter != text.back()) continue;
    return value > kNever / unit.ns ? kNever : value * unit.ns;
  }
  return std::nullopt;
}

}  // namespace lever::rpc
