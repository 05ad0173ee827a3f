// A budget for what a peer may do often but not always: a token bucket.
//
// Not thread-safe. Time comes from outside. Tokens are refilled only when they run short, so that
// spending costs a decrement.
#ifndef LIBLEVER_RPC_TOKEN_BUCKET_H_
#define LIBLEVER_RPC_TOKEN_BUCKET_H_

#include <algorithm>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::rpc {

class TokenBucket {
 public:
  TokenBucket(uint32_t burst, uint32_t per_second, int64_t now_ns)
      : burst_(burst), per_second_(per_second), tokens_(burst), refilled_ns_(now_ns) {}

  // Takes one token. False: there is none.
  bool Spend(int64_t now_ns) {
    if (tokens_ == 0) Refill(now_ns);
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

  void Earn(uint32_t tokens) { tokens_ = std::min(burst_, tokens_ + tokens); }

 private:
  void Refill(int64_t now_ns) {
    // Beyond burst / per_second seconds the bucket is full anyway; below, nothing overflows.
    const int64_t full_ns = static_cast<int64_t>(burst_) * kNanosPerSecond / per_second_;
    const int64_t passed_ns = std::clamp<int64_t>(now_ns - refilled_ns_, 0, full_ns);
    const auto gained = static_cast<uint32_t>(passed_ns * per_second_ / kNanosPerSecond);
    if (gained == 0) return;
    tokens_ = std::min(burst_, tokens_ + gained);
    refilled_ns_ = now_ns;
  }

  uint32_t burst_;
  uint32_t per_second_;
  uint32_t tokens_;
  int64_t refilled_ns_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TOKEN_BUCKET_H_
