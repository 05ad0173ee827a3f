// Time, as everything in Lever reads it: nanoseconds of CLOCK_BOOTTIME in an int64_t.
//
// CLOCK_BOOTTIME goes on while a machine is suspended, which grants and leases need. A Clock is passed
// in wherever time matters, so that tests move it by hand. Clocks may be read from any thread.
#ifndef LIBLEVER_BASE_CLOCK_H_
#define LIBLEVER_BASE_CLOCK_H_

#include <atomic>
#include <cstdint>

namespace lever {

inline constexpr int64_t kNanosPerMicro = 1000;
inline constexpr int64_t kNanosPerMilli = 1000 * 1000;
inline constexpr int64_t kNanosPerSecond = 1000 * 1000 * 1000;
// No deadline, no timer: later than anything.
inline constexpr int64_t kNever = INT64_MAX;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t NowNs() const = 0;
  // How far it is ahead of the machine's own clock, beside which it runs; kNever: it stands still until it
  // is moved by hand, and no timer of the machine's tells when.
  virtual int64_t AheadNs() const { return kNever; }

  // The machine's own clock. Lives as long as the process.
  static const Clock& System();
};

// A clock that stands still until a test moves it.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t now_ns = kNanosPerSecond) : now_ns_(now_ns) {}
  int64_t NowNs() const override { return now_ns_.load(std::memory_order_acquire); }
  void Advance(int64_t by_ns) { now_ns_.fetch_add(by_ns, std::memory_order_acq_rel); }

 private:
  std::atomic<int64_t> now_ns_;
};

// The machine's own clock, until somebody holds it: then it stands still, is moved by hand, and goes on
// from where it stands when it is let go.
class HoldableClock final : public Clock {
 public:
  int64_t NowNs() const override;
  int64_t AheadNs() const override;
  bool held() const { return held_ns_.load(std::memory_order_acquire) != kNever; }

  // By one thread at a time. Holding what is held, and letting go of what is not, does nothing.
  void Hold();
  void Resume();
  // Only while it is held; saturates below kNever. Time never goes back: `by_ns` is not negative.
  void Advance(int64_t by_ns);

 private:
  std::atomic<int64_t> held_ns_{kNever};
  std::atomic<int64_t> ahead_ns_{0};
};

// now + timeout, saturating at kNever; a negative timeout means none.
inline int64_t DeadlineAfter(int64_t now_ns, int64_t timeout_ns) {
  if (timeout_ns < 0 || timeout_ns > kNever - now_ns) return kNever;
  return now_ns + timeout_ns;
}

}  // namespace lever

#endif  // LIBLEVER_BASE_CLOCK_H_
