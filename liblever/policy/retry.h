// Whether a failed attempt of a call is made again.
//
// A call that surely did not run is sent again within its deadline; one whose outcome is not known only
// if its caller declared it idempotent. Two kinds of new attempts are told apart:
//   redirects  nothing of the call reached a socket, or a refusal named another owner, or came from
//              an instance that is full: at most kRedirectsMax a call, outside the budget, at once;
//   retries    everything else: under the budget, at most kRetriesMax a call, with back-off.
//
// The budget is the throttle of gRFC A6 (grpc/proposal, "gRPC Retry Design"): a failure that could be
// retried takes one token, a success gives kTokensPerSuccess, and there are retries only while more than
// half of the tokens are left. Outcomes that are not known take none: else one instance that dies under
// many calls would keep those from being sent again that surely did not run. So retries add at most
// 10 % to the load of a backend that fails now and then, and all but nothing to one that fails always.
//
// Pure: no I/O, no clock. RetryBudget is a value for one thread.
#ifndef LIBLEVER_POLICY_RETRY_H_
#define LIBLEVER_POLICY_RETRY_H_

#include <cstdint>

#include "lever/status.h"
#include "liblever/base/clock.h"
#include "liblever/policy/backoff.h"

namespace lever::policy {

inline constexpr uint32_t kRedirectsMax = 3;
inline constexpr uint32_t kRetriesMax = 4;
// Wait before the n-th retry: 5 ms doubling to 1 s, times a random factor in [0.8, 1.2) (gRFC A6).
inline constexpr int64_t kRetryFirstNs = 5 * kNanosPerMilli;
inline constexpr int64_t kRetryMaxNs = 1 * kNanosPerSecond;
inline constexpr double kRetryJitter = 0.2;
// A host's wait before the attempt that follows so many: the first time at once, for a connection that
// was about to end; then with a little patience.
constexpr int64_t HostRetryWaitNs(uint32_t attempts) {
  return attempts <= 1 ? 0 : BackoffNs(kRetryFirstNs, attempts, kRetryMaxNs);
}
// A call's wait before it follows its resource for the `moves`-th time: the first times at once, then with
// growing patience.
constexpr int64_t MoveWaitNs(uint32_t moves) {
  return moves <= kRedirectsMax ? 0 : BackoffNs(kRetryFirstNs, moves - kRedirectsMax - 1, kRetryMaxNs);
}
inline constexpr double kTokensMax = 10;
inline constexpr double kTokensPerSuccess = 0.1;  // the 10 % of extra load

class RetryBudget {
 public:
  RetryBudget() = default;
  explicit RetryBudget(double tokens) : tokens_(tokens) {}
  double tokens() const { return tokens_; }
  void OnSuccess();
  void OnFailure();
  bool AllowsRetry() const { return tokens_ > kTokensMax / 2; }

 private:
  double tokens_ = kTokensMax;
};

// What one call has used up.
struct RetryState {
  uint32_t redirects = 0;
  uint32_t retries = 0;
  uint32_t attempts() const { return 1 + redirects + retries; }
};

// How an attempt failed.
struct AttemptFailure {
  lever_status status = LEVER_UNAVAILABLE;
  lever_executed executed = LEVER_EXECUTED_UNKNOWN;
  bool never_written = false;  // no byte of it reached a socket
  bool redirected = false;     // the refusal named a newer owner, or said that the instance is full
  bool idempotent = false;     // as the caller declared the method
};

enum class RetryAction : uint8_t { kGiveUp, kRedirect, kRetry };

struct RetryDecision {
  RetryAction action = RetryAction::kGiveUp;
  int64_t delay_ns = 0;

  bool operator==(const RetryDecision&) const = default;
};

// Counts a new attempt in `state`, and the failure in `budget`. `random` is in [0, 1).
RetryDecision DecideRetry(const AttemptFailure& failure, int64_t now_ns, int64_t deadline_ns,
                          double random, RetryState* state, RetryBudget* budget);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_RETRY_H_
