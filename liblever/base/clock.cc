#include "liblever/base/clock.h"

#include <time.h>

#include <algorithm>

namespace lever {
namespace {

class SystemClock final : public Clock {
 public:
  int64_t NowNs() const override {
    timespec now;
    // Cannot fail: every kernel that has epoll_create1 has this clock.
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * kNanosPerSecond + now.tv_nsec;
  }
  int64_t AheadNs() const override { return 0; }
};

}  // namespace

const Clock& Clock::System() {
  // Never destroyed, so that it can be read while the process ends.
  static const SystemClock* const clock = new SystemClock;
  return *clock;
}

int64_t HoldableClock::NowNs() const {
  const int64_t held_ns = held_ns_.load(std::memory_order_acquire);
  if (held_ns != kNever) return held_ns;
  return System().NowNs() + ahead_ns_.load(std::memory_order_relaxed);
}

int64_t HoldableClock::AheadNs() const {
  return held() ? kNever : ahead_ns_.load(std::memory_order_relaxed);
}

void HoldableClock::Hold() {
  if (!held()) held_ns_.store(NowNs(), std::memory_order_release);
}

void HoldableClock::Resume() {
  if (!held()) return;
  // First how far it is ahead: who finds it let go reads that.
  ahead_ns_.store(held_ns_.load(std::memory_order_relaxed) - System().NowNs(),
                  std::memory_order_relaxed);
  held_ns_.store(kNever, std::memory_order_release);
}

void HoldableClock::Advance(int64_t by_ns) {
  const int64_t held_ns = held_ns_.load(std::memory_order_relaxed);
  held_ns_.store(std::min(DeadlineAfter(held_ns, by_ns), kNever - 1), std::memory_order_release);
}

}  // namespace lever
