// How many instances a service should have, as a pure function of what is known of it and of time.
//
// Load is concurrency: calls in flight, streams weighted, calls that are held. Between `instances_min`
// and `instances_max` the service gets
//  1. at once what calls that queue need, counting of a queue what will still be there when an instance
//     that is started now is ready (Little's law), and all of a queue that should have drained by then;
//     nothing if it came just now and the instances that are there will have drained it in no time;
//  2. at once what the load needs where it is kPanicFactor times what there is room for;
//  3. what the mean of the panic window needs, followed along its trend until an instance that is started
//     now is ready, with a headroom that grows with the square root of the load (square-root staffing:
//     Halfin and Whitt, "Heavy-traffic limits for queues with many exponential servers", 1981);
//  4. not less than the most that its mean load needed within the scale-down wait (the stable window), with a
//     greater headroom than starts one, so that chance does not stop what it has started. What it needed
//     beyond that, of which much was for a queue that is gone, is kept for kSpareWaitNs. Then it loses at
//     most half of the instances at a step. A wait that was too short doubles, which ends flapping;
//  5. the last instance by the plan of policy/idle_history.h.
//
// Beside these, `standby` more are started and kept out of the load. What the load wants more is taken
// from them first, and they are replaced; together there are never more than `instances_max`. What starts
// is not meant for either: it is a standby when it is ready, and promoted if the load wants it.
//
// Pure: no I/O, no clock, no state but what is passed in. Any thread.
#ifndef LIBLEVER_POLICY_SCALE_H_
#define LIBLEVER_POLICY_SCALE_H_

#include <array>
#include <cstdint>

#include "liblever/base/clock.h"
#include "liblever/policy/idle_history.h"
#include "liblever/policy/load_window.h"

namespace lever::policy {

// The stable window: an instance that the mean load does not need any more is kept so long, idleTimeout at
// most. 60 s is the stable window of Knative's pod autoscaler (config/core/configmaps/autoscaler.yaml).
inline constexpr int64_t kScaleDownWaitNs = 60 * kNanosPerSecond;
// One that it never needed, but a queue, a panic or a forecast: as far back as a forecast looks.
inline constexpr int64_t kSpareWaitNs = static_cast<int64_t>(kTrendSeconds) * kNanosPerSecond;
// The stabilization window of Kubernetes' horizontal pod autoscaler: the wait doubles up to this.
inline constexpr int64_t kScaleDownWaitMostNs = 300 * kNanosPerSecond;
// Between two steps down, of at most half of the instances each.
inline constexpr int64_t kScaleDownStepNs = 5 * kNanosPerSecond;
// A start so many waits after a stop tells that the stop was premature.
inline constexpr int64_t kRegretWaits = 2;
// Knative's panic threshold: 200 % of what there is room for.
inline constexpr double kPanicFactor = 2.0;
// Headroom, in square roots of the load. At 1, about a fifth of the calls of an M/M/n queue wait, for a
// part 1 / sqrt(load) of a call's own time.
inline constexpr double kHeadroom = 1.0;
// The same for what is kept. In the simulator 1 starts twice as many under a slow wave of long calls; 2 starts
// fewer there, and costs 3 % after a step.
inline constexpr double kKeepHeadroom = 1.5;
// What a queue is to be drained within, once there are the instances for it.
inline constexpr int64_t kDrainGoalNs = 200 * kNanosPerMilli;
// A queue that the ready instances drain within this time asks for no other one: it is what independent
// calls do by chance, and an instance for it would be kept for the whole scale-down wait.
inline constexpr int64_t kQueueBearableNs = kDrainGoalNs / 4;
// Over at least this time it is measured how fast a queue grows: five times what the host's loops take to
// tell that it does.
inline constexpr int64_t kQueueLookNs = 100 * kNanosPerMilli;
// What a call and a start are taken to last before any was seen.
inline constexpr int64_t kLatencyUnknownNs = 100 * kNanosPerMilli;
inline constexpr int64_t kStartUnknownNs = 1 * kNanosPerSecond;
// A trend is not followed further than this: one panic window.
inline constexpr int64_t kForecastMostNs = static_cast<int64_t>(kPanicSeconds) * kNanosPerSecond;
// Starts of a service in progress at a time: these, or as many as it has instances (so that it can
// double; Knative's max-scale-up-rate bounds the same).
inline constexpr uint32_t kStartsAtATime = 8;
// While calls are in flight it is looked at least so often.
inline constexpr int64_t kScaleTickNs = 1 * kNanosPerSecond;

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

// What lever.json says.
struct ScaleLimits {
  uint32_t instances_min = 0;
  uint32_t instances_max = 1;      // standbys included
  uint32_t standby = 0;
  double load_max = 10;          // the concurrency that an instance is meant for
  double stream_load = 0.1;      // what a stream counts for
  uint32_t concurrency_max = 0;  // what an instance refuses above; 0: none
  int64_t idle_timeout_ns = 300 * kNanosPerSecond;  // the price of a cold start, in idle time
};

// What is seen of the service now.
struct ScaleLoad {
  uint32_t instances_starting = 0;
  uint32_t instances_ready = 0;  // stalled ones included
  uint32_t instances_standby = 0;
  uint32_t calls = 0;            // in flight
  uint32_t streams = 0;
  uint32_t held_calls = 0;       // waiting for an instance
  int64_t latency_ns = 0;        // of a call; 0: not known
  int64_t start_ns = 0;          // what a start takes; 0: not known
  int64_t last_active_ns = 0;    // when a call or stream last began or ended; 0: never
  int64_t last_ready_ns = 0;     // when an instance last became ready; 0: never
  int64_t backoff_until_ns = 0;  // no start before; 0: none
};

// The most that was needed within a wait, in parts of an eighth of it: what is older than the wait by
// less than a part still counts.
class NeedPeaks {
 public:
  static constexpr size_t kParts = 8;
  void Note(int64_t now_ns, uint32_t need, int64_t wait_ns);
  uint32_t Most(int64_t now_ns, int64_t wait_ns) const;

 private:
  struct Part {
    int64_t begun_ns = -1;  // -1: unused
    uint32_t need = 0;
  };
  std::array<Part, kParts + 2> parts_{};
  uint32_t newest_ = 0;
};

// What is remembered from one decision to the next. A value: a copy goes on by itself.
struct ScaleMemory {
  LoadWindow window;
  NeedPeaks mean_peaks;         // of what the mean load needs, within the scale-down wait
  NeedPeaks peaks;              // of the need, within kSpareWaitNs
  uint32_t proven = 0;          // the most that the mean load has needed of what is there, since the last step down
  IdleHistory history;
  IdlePlan plan;                // of the pause that lasts
  int64_t idle_since_ns = 0;    // 0: something is in flight
  bool was_active = false;      // ever
  int64_t queue_since_ns = 0;   // 0: nothing is held
  int64_t queue_seen_ns = 0;    // when it was measured last, and what it was
  uint32_t queue_seen = 0;
  double queue_growth = 0;      // calls a second
  int64_t wait_ns = kScaleDownWaitNs;
  int64_t stepped_ns = 0;       // the last step down; 0: none
  int64_t stopped_ns = 0;       // the last step down that can be regretted, and was not yet; 0: none
  int64_t regretted_ns = 0;
};

struct ScaleDecision {
  uint32_t wanted = 0;  // instances for the load, starting ones included
  uint32_t start = 0;   // so many now; not more than are wanted, and standbys
  uint32_t stop = 0;    // so many ready ones now
  uint32_t promote = 0;       // so many standbys now: they are ready ones from now on
  uint32_t stop_standby = 0;  // so many of the other standbys now
  // The calls that are held are to be refused: there will be no instance for them before the back-off is
  // over.
  bool refuse_held = false;
  // When to decide anew even if nothing changes; kNever: only on a change.
  int64_t wake_at_ns = kNever;

  bool operator==(const ScaleDecision&) const = default;
};

ScaleDecision DecideScale(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
                          ScaleMemory* memory);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SCALE_H_
