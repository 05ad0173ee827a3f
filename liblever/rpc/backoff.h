// How long to wait before the next attempt: doubling, between two bounds, with jitter.
//
// A value; not thread-safe. The randomness comes from a seed, so that a test replays it.
#ifndef LIBLEVER_RPC_BACKOFF_H_
#define LIBLEVER_RPC_BACKOFF_H_

#include <algorithm>
#include <cstdint>

#include "liblever/base/random.h"
#include "liblever/rpc/limits.h"

namespace lever::rpc {

class Backoff {
 public:
  // Of the delay, either way, so that many that lost the same peer do not come back together.
  static constexpr double kJitter = 0.2;

  explicit Backoff(uint64_t seed) : random_(seed) {}

  int64_t NextNs() {
    const double factor = 1 - kJitter + 2 * kJitter * random_.NextDouble();
    const int64_t delay_ns = static_cast<int64_t>(static_cast<double>(next_ns_) * factor);
    next_ns_ = std::min(2 * next_ns_, kReconnectMaxNs);
    return delay_ns;
  }
  void Reset() { next_ns_ = kReconnectMinNs; }

 private:
  Random random_;
  int64_t next_ns_ = kReconnectMinNs;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_BACKOFF_H_
