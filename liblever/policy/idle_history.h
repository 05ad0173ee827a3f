// How long an instance without calls is worth keeping, by the service's own history.
//
// A cold start has a price in seconds of an idle instance (the service's idleTimeout). Without history
// an instance is kept for just that price, then stopped: whatever comes, this costs at most twice what
// foresight would (the ski-rental argument: Karlin, Manasse, Rudolph, Sleator, "Competitive snoopy
// caching", 1988). With history the plan is the one that would have cost least over the last pauses
// between calls: keep for some time, longer or shorter, or stop at once and start again shortly before
// the next call is due. Learning from idle times what to keep and what to start ahead is the idea of
// Shahrad et al., "Serverless in the Wild", USENIX ATC 2020; the price in place of percentiles is ours.
//
// A value; pure; any thread.
#ifndef LIBLEVER_POLICY_IDLE_HISTORY_H_
#define LIBLEVER_POLICY_IDLE_HISTORY_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::policy {

// Pauses that are remembered, and how many are needed before they are believed.
inline constexpr size_t kPausesKept = 32;
inline constexpr size_t kPausesNeeded = 8;
// A pause shorter than this part of the price is not one: any plan keeps the instance so long.
inline constexpr int64_t kPauseLeastPart = 30;
// A pause is expected again within this part of its length, sooner or later.
inline constexpr double kPauseMargin = 0.05;
// A plan other than keeping for the price must promise to cost at most this part of it: what 32 pauses
// say is not the truth.
inline constexpr double kPlanGain = 0.9;
// A start ahead costs this part of the price: nobody waits for it, but it takes CPU.
inline constexpr double kStartAheadPart = 0.25;

// Counted from the beginning of the pause. The instance is kept until `stop_after_ns`, and is there
// again from `start_after_ns` until `end_after_ns`; kNever in the second: it is not started ahead.
struct IdlePlan {
  int64_t stop_after_ns = 0;
  int64_t start_after_ns = kNever;
  int64_t end_after_ns = kNever;

  bool operator==(const IdlePlan&) const = default;
};

class IdleHistory {
 public:
  // A pause has ended with a call.
  void Add(int64_t pause_ns, int64_t price_ns);
  // For the pause that begins now; `start_ns` is what a start takes.
  IdlePlan Plan(int64_t price_ns, int64_t start_ns) const;
  size_t count() const { return count_; }

 private:
  std::array<uint32_t, kPausesKept> pauses_ms_{};  // a ring
  uint16_t next_ = 0;
  uint16_t count_ = 0;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_IDLE_HISTORY_H_
