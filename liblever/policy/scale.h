// How many instances a service should have, as a pure function of what is known of it and of time.
//
// Scaling is minimal: between `instances_min` (0 or 1) and one instance. A start is wanted when calls
// wait or the minimum is not met, a stop when nothing has been in flight for the idle timeout.
//
// Pure: no I/O, no clock, no state but what is passed in. Any thread.
#ifndef LIBLEVER_POLICY_SCALE_H_
#define LIBLEVER_POLICY_SCALE_H_

#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::policy {

inline constexpr uint32_t kInstancesMaxHere = 1;

// Crash back-off: the first crash of an instance that had run for a while starts a new one at once;
// crashes in a row wait 0.5 s, 1 s, 2 s ... 60 s, with +-20 % of jitter so that services which fail
// together do not start together.
inline constexpr int64_t kBackoffFirstNs = 500 * kNanosPerMilli;
inline constexpr int64_t kBackoffMaxNs = 60 * kNanosPerSecond;
inline constexpr double kBackoffJitter = 0.2;
// An instance that was ready for this long is no longer counted among crashes in a row.
inline constexpr int64_t kStableUptimeNs = 10 * kNanosPerSecond;

class CrashBackoff {
 public:
  // An instance ended by itself, `uptime_ns` after it had become ready (0: it never did). `random` is
  // in [0, 1).
  void OnCrash(int64_t now_ns, int64_t uptime_ns, double random);
  void Reset() { *this = CrashBackoff(); }
  // No start before this; 0 without.
  int64_t until_ns() const { return until_ns_; }
  uint32_t crashes_in_a_row() const { return crashes_; }

 private:
  uint32_t crashes_ = 0;
  int64_t until_ns_ = 0;
};

struct ScaleState {
  uint32_t instances_min = 0;
  uint32_t instances_starting = 0;
  uint32_t instances_ready = 0;  // stalled ones included
  uint32_t in_flight = 0;        // calls and streams
  uint32_t held_calls = 0;       // waiting for an instance
  int64_t last_active_ns = 0;    // when something was last in flight
  int64_t idle_timeout_ns = 0;
  int64_t backoff_until_ns = 0;  // 0: none
};

enum class ScaleAction : uint8_t {
  kNone,
  kStart,   // one instance
  kStop,    // all that are ready
  kRefuse,  // the calls that wait: there will be no instance for them before the back-off is over
};

struct ScaleDecision {
  ScaleAction action = ScaleAction::kNone;
  // When to decide anew even if nothing changes; kNever: only on a change.
  int64_t wake_at_ns = kNever;

  bool operator==(const ScaleDecision&) const = default;
};

ScaleDecision DecideScale(const ScaleState& state, int64_t now_ns);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SCALE_H_
