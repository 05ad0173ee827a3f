// The order of a drain, as a pure state machine: state and time in, the next step out.
//
//   kServing    nothing is drained
//   kQuieting   out of the route tables; requests are still taken until none has come for kQuietNs, or
//               kQuietMaxNs are over, because callers learn of the table later than we do
//   kFinishing  new requests are refused as surely not run, connections got GOAWAY, what runs finishes
//   kDrained    nothing is left, or the rest was cut off at the timeout
//
// A value; single-threaded.
#ifndef LIBLEVER_SERVICE_DRAIN_H_
#define LIBLEVER_SERVICE_DRAIN_H_

#include <algorithm>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::service {

inline constexpr int64_t kQuietNs = 200 * kNanosPerMilli;
inline constexpr int64_t kQuietMaxNs = 2 * kNanosPerSecond;
inline constexpr int64_t kDrainTimeoutNs = 30 * kNanosPerSecond;
// What was cut off gets this long to be told, before the connections are closed.
inline constexpr int64_t kCutOffNs = 1 * kNanosPerSecond;

class Drain {
 public:
  enum class Phase : uint8_t { kServing, kQuieting, kFinishing, kDrained };
  // What has to be done when a phase begins.
  enum class Step : uint8_t { kNone, kRefuse, kCutOff, kDrained };

  Phase phase() const { return phase_; }
  bool refusing() const { return phase_ >= Phase::kFinishing; }

  // `close_ns`: what resources may take to be closed after what ran was cut off.
  void Begin(int64_t now_ns, int64_t timeout_ns, int64_t close_ns = 0) {
    if (phase_ != Phase::kServing) return;
    phase_ = Phase::kQuieting;
    last_request_ns_ = now_ns;
    quiet_until_max_ns_ = now_ns + kQuietMaxNs;
    deadline_ns_ = DeadlineAfter(now_ns, timeout_ns);
    after_cut_ns_ = kCutOffNs + close_ns;
  }
  void RequestCame(int64_t now_ns) { last_request_ns_ = now_ns; }

  // The step that is due now; to be asked again after each one but kNone. `empty`: no request is open,
  // and every connection has ended.
  Step Next(int64_t now_ns, bool empty) {
    if (phase_ == Phase::kQuieting && now_ns >= QuietAtNs()) {
      phase_ = Phase::kFinishing;
      return Step::kRefuse;
    }
    if (phase_ != Phase::kFinishing) return Step::kNone;
    if (empty || (cut_off_ && now_ns >= deadline_ns_)) {
      phase_ = Phase::kDrained;
      return Step::kDrained;
    }
    if (now_ns < deadline_ns_) return Step::kNone;
    cut_off_ = true;
    deadline_ns_ = now_ns + after_cut_ns_;
    return Step::kCutOff;
  }

  // When Next() may have something to say although nothing has happened.
  int64_t WakeNs() const {
    if (phase_ == Phase::kQuieting) return QuietAtNs();
    return phase_ == Phase::kFinishing ? deadline_ns_ : kNever;
  }

 private:
  int64_t QuietAtNs() const {
    return std::min({last_request_ns_ + kQuietNs, quiet_until_max_ns_, deadline_ns_});
  }

  Phase phase_ = Phase::kServing;
  bool cut_off_ = false;
  int64_t last_request_ns_ = 0;
  int64_t quiet_until_max_ns_ = 0;
  int64_t deadline_ns_ = kNever;
  int64_t after_cut_ns_ = kCutOffNs;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_DRAIN_H_
