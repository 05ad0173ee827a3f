// When an instance that says nothing is taken for stalled, and when for lost.
//
// Silence is not death: a process that is stopped, swapped out or busy with itself comes back, and its
// calls are its own until then. It gets no new ones meanwhile. An attached instance says something at
// least every kHeartbeatNs, so that silence means something.
//
// The listener counts time that passed for itself too: a host that was stopped for a minute has not
// heard anything for a minute, and that says nothing of its instances.
//
// A value; pure, no clock of its own.
#ifndef LIBLEVER_POLICY_SILENCE_H_
#define LIBLEVER_POLICY_SILENCE_H_

#include <algorithm>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::policy {

// An instance reports at least so often, also if nothing has changed.
inline constexpr int64_t kHeartbeatNs = 1 * kNanosPerSecond;
inline constexpr int64_t kStalledAfterNs = 5 * kNanosPerSecond;
// `stallTimeout`: an instance that the host started is killed then, an attached one is detached.
inline constexpr int64_t kStallTimeoutNs = 30 * kNanosPerSecond;
// How often it is looked at.
inline constexpr int64_t kSilenceLookNs = 1 * kNanosPerSecond;
static_assert(kStalledAfterNs >= 3 * kHeartbeatNs, "one lost turn is no stall");
static_assert(kStalledAfterNs < kStallTimeoutNs);

class Silence {
 public:
  void Heard() { silent_ns_ = 0; }
  // `elapsed_ns` since the look before.
  void Pass(int64_t elapsed_ns) {
    silent_ns_ += std::clamp<int64_t>(elapsed_ns, 0, 2 * kSilenceLookNs);
  }
  bool stalled() const { return silent_ns_ >= kStalledAfterNs; }
  bool over() const { return silent_ns_ >= kStallTimeoutNs; }
  int64_t silent_ns() const { return silent_ns_; }

 private:
  int64_t silent_ns_ = 0;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SILENCE_H_
