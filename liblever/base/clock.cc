#include "liblever/base/clock.h"

#include <time.h>

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
};

}  // namespace

const Clock& Clock::System() {
  // Never destroyed, so that it can be read while the process ends.
  static const SystemClock* const clock = new SystemClock;
  return *clock;
}

}  // namespace lever
