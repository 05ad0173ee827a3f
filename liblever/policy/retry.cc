#include "liblever/policy/retry.h"

#include <algorithm>

namespace lever::policy {
namespace {

// Statuses that say something of the backend's moment, and not of the call.
bool Passing(lever_status status) {
  return status == LEVER_UNAVAILABLE || status == LEVER_RESOURCE_EXHAUSTED;
}

}  // namespace

void RetryBudget::OnSuccess() { tokens_ = std::min(tokens_ + kTokensPerSuccess, kTokensMax); }

void RetryBudget::OnFailure() { tokens_ = std::max(tokens_ - 1, 0.0); }

RetryDecision DecideRetry(const AttemptFailure& failure, int64_t now_ns, int64_t deadline_ns,
                          double random, RetryState* state, RetryBudget* budget) {
  if (!Passing(failure.status)) return {};
  const bool not_run = failure.executed == LEVER_EXECUTED_NO || failure.never_written;
  if (not_run && (failure.never_written || failure.redirected) &&
      state->redirects < kRedirectsMax && now_ns < deadline_ns) {
    ++state->redirects;
    return {RetryAction::kRedirect, 0};
  }
  if (!not_run && !failure.idempotent) return {};
  budget->OnFailure();
  if (state->retries >= kRetriesMax || !budget->AllowsRetry()) return {};
  const int64_t wait_ns = BackoffNs(kRetryFirstNs, state->retries, kRetryMaxNs);
  const double jitter = 1.0 + kRetryJitter * (2.0 * random - 1.0);
  const int64_t delay_ns = static_cast<int64_t>(static_cast<double>(wait_ns) * jitter);
  // One that could not begin before its deadline is not waited for.
  if (delay_ns >= deadline_ns - now_ns) return {};
  ++state->retries;
  return {RetryAction::kRetry, delay_ns};
}

}  // namespace lever::policy
