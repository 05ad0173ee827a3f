// When a grant and a lease end, as each side counts it.
//
// A grant lets one instance run the calls of its shards for a term. Both sides measure on clocks of
// their own, which run at rates that differ by at most kClockRateSlack, and neither knows when the
// other's message was sent; so the one that uses a thing counts from the earliest moment that it may
// have begun, and the one that gave it away from the latest (Gray and Cheriton: "Leases: An Efficient
// Fault-Tolerant Mechanism for Distributed File Cache Consistency", 1989).
//
// All times are CLOCK_BOOTTIME of whoever counts. Pure functions that saturate; any thread.
#ifndef LIBLEVER_POLICY_GRANT_H_
#define LIBLEVER_POLICY_GRANT_H_

#include <algorithm>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::policy {

inline constexpr int64_t kGrantTermNs = 10 * kNanosPerSecond;
// How often an instance asks for its grant to be renewed.
inline constexpr int64_t kGrantRenewNs = 2 * kNanosPerSecond;
// The same while its grant has ended, or never begun: calls wait for it.
inline constexpr int64_t kGrantRetryNs = 250 * kNanosPerMilli;
static_assert(kGrantTermNs >= 4 * kGrantRenewNs, "lost renewals do not stop an instance");

// One part in so many: how much faster one clock may run than another.
inline constexpr int64_t kClockRateSlack = 1000;
// What timers and rounding may add.
inline constexpr int64_t kTermSlackNs = 50 * kNanosPerMilli;

// The instance: its grant is valid before this. `asked_ns`: when it sent the request that was answered.
inline int64_t GrantEndNs(int64_t asked_ns) { return DeadlineAfter(asked_ns, kGrantTermNs); }

// The controller: the grant has surely ended from here on. `answered_ns`: when it sent the answer, or,
// for what another controller may have granted, when it took the controller's lease.
inline int64_t GrantSurelyEndedNs(int64_t answered_ns) {
  return DeadlineAfter(answered_ns, kGrantTermNs + kGrantTermNs / kClockRateSlack + kTermSlackNs);
}

// The holder of a lease: it is valid before this. `asked_ns`: when it sent the keep-alive that was
// answered.
inline int64_t LeaseEndNs(int64_t asked_ns, int64_t ttl_ns) {
  return DeadlineAfter(asked_ns, std::max<int64_t>(ttl_ns - ttl_ns / kClockRateSlack - kTermSlackNs, 0));
}

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_GRANT_H_
