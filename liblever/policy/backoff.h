// How long to wait before a next attempt: doubling, up to a bound. Pure; jitter is the caller's.
#ifndef LIBLEVER_POLICY_BACKOFF_H_
#define LIBLEVER_POLICY_BACKOFF_H_

#include <cstdint>

namespace lever::policy {

// After `before` waits: `first_ns` (more than 0), doubled that often, at most `most_ns`.
constexpr int64_t BackoffNs(int64_t first_ns, uint32_t before, int64_t most_ns) {
  // Shifted down instead of up: nothing runs over.
  if (before >= 63 || first_ns > (most_ns >> before)) return most_ns;
  return first_ns << before;
}

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_BACKOFF_H_
