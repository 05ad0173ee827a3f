#include "liblever/policy/canary.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "liblever/policy/shard.h"

namespace lever::policy {

uint64_t DrawOfCaller(uint64_t caller, std::string_view environment, std::string_view service) {
  char digits[sizeof(caller)];
  std::memcpy(digits, &caller, sizeof(caller));
  return ResourceHash(environment, service, {digits, sizeof(digits)});
}

uint64_t CallerNumber(std::string_view identity) { return ResourceHash("", "", identity); }

StatusOr<uint32_t> ParseShare(std::string_view text) {
  const auto wrong = [text] {
    return InvalidArgument("\"" + std::string(text.substr(0, 40)) +
                           "\" is no share: it looks like 10% or 0.5%, is more than 0 and less "
                           "than 100%, and has at most two digits after the point");
  };
  std::string_view number = text;
  if (number.ends_with('%')) number.remove_suffix(1);
  while (number.ends_with(' ')) number.remove_suffix(1);
  double percent = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), percent,
                                            std::chars_format::fixed);
  if (error != std::errc() || end != number.data() + number.size()) return wrong();
  if (!(percent > 0) || !(percent < 100)) return wrong();
  const double parts = percent * (kShareParts / 100);
  const double whole = std::round(parts);
  // Doubles near to hundredths are not exactly these.
  if (std::abs(parts - whole) > 1e-6 || whole < 1 || whole >= kShareParts) return wrong();
  return static_cast<uint32_t>(whole);
}

std::string FormatShare(uint32_t share) {
  constexpr uint32_t kPercent = kShareParts / 100;
  std::string text = std::to_string(share / kPercent);
  if (const uint32_t rest = share % kPercent; rest != 0) {
    text += rest % 10 == 0 ? "." + std::to_string(rest / 10)
                           : (rest < 10 ? ".0" : ".") + std::to_string(rest);
  }
  return text + " %";
}

ShardWeights WeighVersions(uint32_t share, size_t serving, size_t canary) {
  if (serving == 0 || canary == 0) return {};
  return {static_cast<double>(kShareParts - share) / static_cast<double>(serving),
          static_cast<double>(share) / static_cast<double>(canary)};
}

}  // namespace lever::policy
