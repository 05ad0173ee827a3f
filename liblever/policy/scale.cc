#include "liblever/policy/scale.h"

#include <algorithm>

namespace lever::policy {

void CrashBackoff::OnCrash(int64_t now_ns, int64_t uptime_ns, double random) {
  if (uptime_ns >= kStableUptimeNs) {
    Reset();
    return;
  }
  ++crashes_;
  // An instance that was ready at all gets one new start without waiting.
  if (crashes_ == 1 && uptime_ns > 0) {
    until_ns_ = 0;
    return;
  }
  const uint32_t doublings = std::min<uint32_t>(crashes_ - 1, 16);
  const int64_t wait_ns = std::min(kBackoffFirstNs << doublings, kBackoffMaxNs);
  const double jitter = 1.0 + kBackoffJitter * (2.0 * random - 1.0);
  until_ns_ = now_ns + static_cast<int64_t>(static_cast<double>(wait_ns) * jitter);
}

ScaleDecision DecideScale(const ScaleState& state, int64_t now_ns) {
  const uint32_t present = state.instances_starting + state.instances_ready;
  if (present < kInstancesMaxHere) {
    const bool wanted = state.held_calls > 0 || state.instances_min > 0;
    if (!wanted) return {};
    if (now_ns >= state.backoff_until_ns) return {ScaleAction::kStart, kNever};
    return {state.held_calls > 0 ? ScaleAction::kRefuse : ScaleAction::kNone,
            state.instances_min > 0 ? state.backoff_until_ns : kNever};
  }
  if (state.instances_ready == 0 || state.instances_min > 0 || state.in_flight > 0 ||
      state.held_calls > 0) {
    return {};
  }
  const int64_t idle_at_ns = DeadlineAfter(state.last_active_ns, state.idle_timeout_ns);
  if (now_ns >= idle_at_ns) return {ScaleAction::kStop, kNever};
  return {ScaleAction::kNone, idle_at_ns};
}

}  // namespace lever::policy
