#include "liblever/policy/version_watch.h"

#include <algorithm>
#include <cmath>

namespace lever::policy {
namespace {

bool CrashesTooOften(const WatchedVersion& version) {
  if (version.crashes == 0) return false;
  if (version.crashes >= kWatchCrashesMost) return true;
  return version.crashes >= kWatchCrashedPart * (version.crashes + version.instances);
}

bool FailsTooOften(const WatchedVersion& version, const OutcomeRate& before) {
  if (version.calls < kWatchCallsLeast) return false;
  const double calls = static_cast<double>(version.calls);
  const double rate = static_cast<double>(version.errors) / calls;
  if (before.calls() < static_cast<double>(kWatchCallsLeast)) return rate >= kErrorRateUnknown;
  const double rate_before = before.errors() / before.calls();
  if (rate - rate_before < kErrorJump) return false;
  const double pooled =
      (static_cast<double>(version.errors) + before.errors()) / (calls + before.calls());
  // All of one and none of the other: the variance is not 0, since both have calls.
  const double deviation = std::sqrt(pooled * (1 - pooled) * (1 / calls + 1 / before.calls()));
  return rate - rate_before >= kErrorDeviations * deviation;
}

std::string Percent(double part, double whole) {
  const int64_t tenths = whole > 0 ? std::llround(part / whole * 1000) : 0;
  std::string text = std::to_string(tenths / 10);
  if (tenths % 10 != 0) text += "." + std::to_string(tenths % 10);
  return text + " %";
}

}  // namespace

void OutcomeRate::Add(int64_t now_ns, uint64_t calls, uint64_t errors) {
  const int64_t passed_ns = std::max<int64_t>(0, now_ns - at_ns_);
  const double left =
      std::exp2(-static_cast<double>(passed_ns) / static_cast<double>(kOutcomeHalfLifeNs));
  calls_ = calls_ * left + static_cast<double>(calls);
  errors_ = errors_ * left + static_cast<double>(std::min(errors, calls));
  at_ns_ = std::max(at_ns_, now_ns);
}

WatchDecision DecideWatch(const WatchedVersion& version, const OutcomeRate& before, int64_t ends_ns,
                          int64_t now_ns) {
  if (CrashesTooOften(version)) {
    return {WatchVerdict::kRollBack,
            version.crashes == 1
                ? "an instance of it ended by itself"
                : std::to_string(version.crashes) + " instances of it ended by themselves"};
  }
  if (FailsTooOften(version, before)) {
    std::string reason =
        Percent(static_cast<double>(version.errors), static_cast<double>(version.calls)) +
        " of its " + std::to_string(version.calls) + " calls ended in errors";
    if (before.calls() >= static_cast<double>(kWatchCallsLeast)) {
      reason += ", " + Percent(before.errors(), before.calls()) + " of those of the version before";
    }
    return {WatchVerdict::kRollBack, std::move(reason)};
  }
  return {now_ns >= ends_ns ? WatchVerdict::kKeep : WatchVerdict::kGoOn, ""};
}

}  // namespace lever::policy
