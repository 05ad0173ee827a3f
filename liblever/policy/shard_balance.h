// When shards are worth moving for the load that they have.
//
// Moving a shard costs a hand-off: its calls wait, its resources are closed and opened. So loads are
// taken as means over some time, moving begins well beyond the bound of a placement and lasts until
// within it (placement.h), and only what takes away most of an excess is done.
//
// Fed with what the owners report of their shards. A value; pure; not thread-safe.
#ifndef LIBLEVER_POLICY_SHARD_BALANCE_H_
#define LIBLEVER_POLICY_SHARD_BALANCE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/policy/placement.h"

namespace lever::policy {

// The time constant of the mean, exponential in time: after so long it has followed a step by 63 %.
inline constexpr int64_t kShardLoadMeanNs = 15 * kNanosPerSecond;
// Shards move when an instance has more than so many times its part of the load, and a call in
// flight more than its part (kPlacementLoadMin). Poisson arrivals that keep 8 calls in flight vary by
// a third; what a mean over 15 s leaves of that is far below one half.
inline constexpr double kRebalanceAbove = 1.5;
// .. for so long: a burst is over by then.
inline constexpr int64_t kRebalanceAfterNs = 10 * kNanosPerSecond;
// .. and only if at least so much of what the fullest instance has above its part then is not there
// any more. A single shard with all the load fails this.
inline constexpr double kRebalanceGain = 0.5;
// Not again before that, twice the time constant: by then the means are those of what has changed.
inline constexpr int64_t kRebalancePauseNs = 30 * kNanosPerSecond;

class ShardBalance {
 public:
  explicit ShardBalance(uint32_t shards) : means_(shards) {}

  // What the shard has had in flight in the last `window_ns`, in thousandths. A shard of which nothing
  // is said has had nothing.
  void Observe(int64_t now_ns, uint32_t shard, uint32_t load, int64_t window_ns);
  uint32_t LoadAt(int64_t now_ns, uint32_t shard) const;

  // Whether the shards, which have their owners and LoadAt(), shall be placed anew for their loads:
  // PlaceShards() of these then says how.
  bool ShouldMove(int64_t now_ns, std::span<const PlacementInstance> instances,
                  std::span<const PlacementShard> shards);
  // They are being placed anew for another cause.
  void Moved(int64_t now_ns);

 private:
  struct Mean {
    double load = 0;
    int64_t at_ns = 0;
  };
  std::vector<Mean> means_;
  int64_t uneven_since_ns_ = kNever;
  int64_t pause_until_ns_ = 0;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SHARD_BALANCE_H_
