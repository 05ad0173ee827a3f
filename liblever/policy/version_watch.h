// Whether a version that has just taken over is to stay, as a pure function of what it has
// answered, what the version before it had answered, and time.
//
// A version is bad if
//  1. instances of it end by themselves, or do not start: a fifth of those that it had, or three;
//  2. its calls end in errors significantly more often than those of the version before: a
//     two-proportion z-test with a pooled variance (any textbook of statistics; "NIST/SEMATECH
//     e-Handbook of Statistical Methods", 7.3.3), and by at least kErrorJump, since with many calls
//     any difference is significant;
//  3. nothing is known of the version before, and half of its calls end in errors.
//
// Pure: no I/O, no clock. Any thread.
#ifndef LIBLEVER_POLICY_VERSION_WATCH_H_
#define LIBLEVER_POLICY_VERSION_WATCH_H_

#include <cstdint>
#include <string>

#include "liblever/base/clock.h"

namespace lever::policy {

// Calls that have to be answered before their errors mean anything.
inline constexpr uint64_t kWatchCallsLeast = 20;
// Deviations. It is looked at each report, some hundred times in a watch: at 4 (3 in 100,000 a
// look) a version that is as good as the one before is hardly ever taken for worse.
inline constexpr double kErrorDeviations = 4;
inline constexpr double kErrorJump = 0.05;
inline constexpr double kErrorRateUnknown = 0.5;
inline constexpr uint32_t kWatchCrashesMost = 3;
inline constexpr double kWatchCrashedPart = 0.2;
// What the version before answered counts half after so long.
inline constexpr int64_t kOutcomeHalfLifeNs = 60 * kNanosPerSecond;

// How calls ended, the recent ones above all. A value.
class OutcomeRate {
 public:
  void Add(int64_t now_ns, uint64_t calls, uint64_t errors);
  double calls() const { return calls_; }
  double errors() const { return errors_; }

 private:
  int64_t at_ns_ = 0;
  double calls_ = 0;
  double errors_ = 0;
};

struct WatchedVersion {
  uint64_t calls = 0;   // that have ended since it took over
  uint64_t errors = 0;  // of them
  uint32_t crashes = 0;
  uint32_t instances = 0;  // that run and have not crashed
};

enum class WatchVerdict : uint8_t { kGoOn, kKeep, kRollBack };

struct WatchDecision {
  WatchVerdict verdict = WatchVerdict::kGoOn;
  std::string reason;  // of kRollBack, for people
};

// `ends_ns`: when the watch is over.
WatchDecision DecideWatch(const WatchedVersion& version, const OutcomeRate& before, int64_t ends_ns,
                          int64_t now_ns);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_VERSION_WATCH_H_
