// One loop whose time stands still unless the test moves it.
#ifndef TESTS_ROUTE_LOOP_FIXTURE_H_
#define TESTS_ROUTE_LOOP_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "liblever/base/loop.h"

namespace lever {

class LoopTest : public ::testing::Test {
 protected:
  static constexpr int64_t kTestLimitNs = 60 * kNanosPerSecond;

  LoopTest() { loop = std::move(Loop::Open({.clock = &clock})).value(); }

  // Runs `function` as something that holds the loop's word.
  void Do(const std::function<void()>& function) {
    ASSERT_TRUE(loop->TryEnter());
    function();
    loop->Leave();
  }
  // Turns the loop until `condition` holds; false if it takes too long.
  [[nodiscard]] bool Until(const std::function<bool()>& condition) {
    const int64_t limit = DeadlineAfter(Clock::System().NowNs(), kTestLimitNs);
    while (!condition()) {
      if (Clock::System().NowNs() > limit || !loop->Turn(kNanosPerMilli).ok()) return false;
    }
    return true;
  }
  // Turns the loop until there is nothing to do any more, with time as it is.
  void Settle() {
    for (int idle = 0; idle < 3;) {
      const auto did = loop->Turn(0);
      ASSERT_TRUE(did.ok());
      idle = *did ? 0 : idle + 1;
    }
  }
  void Advance(int64_t by_ns) {
    clock.Advance(by_ns);
    Settle();
  }
  // The same in small steps, so that what one timer arms comes at its own time.
  void AdvanceInSteps(int64_t by_ns, int64_t step_ns) {
    for (int64_t passed = 0; passed < by_ns; passed += step_ns) Advance(step_ns);
  }

  ManualClock clock;
  std::unique_ptr<Loop> loop;
};

}  // namespace lever

#endif  // TESTS_ROUTE_LOOP_FIXTURE_H_
