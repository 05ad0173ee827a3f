// Timers, with time moved by hand wherever the machine's own clock is not what is tested.
#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "liblever/base/random.h"
#include "tests/base/loop_testing.h"

namespace lever {
namespace {

using ::testing::ElementsAre;

class LoopTimer : public ::testing::Test {
 protected:
  ManualClock clock_;
  std::unique_ptr<Loop> loop_ = OpenLoop({.clock = &clock_});
  std::vector<int> order_;

  std::unique_ptr<FunctionTimer> Note(int number) {
    return std::make_unique<FunctionTimer>([this, number] { order_.push_back(number); });
  }
  int64_t In(int64_t ns) const { return clock_.NowNs() + ns; }
};

TEST_F(LoopTimer, RunsWhenItsTimeHasComeAndOnlyOnce) {
  auto timer = Note(1);
  loop_->Arm(timer.get(), In(100));
  EXPECT_TRUE(timer->armed());
  clock_.Advance(99);
  EXPECT_FALSE(TurnOf(*loop_));
  clock_.Advance(1);
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_FALSE(timer->armed());
  clock_.Advance(1000);
  EXPECT_FALSE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(1));
}

TEST_F(LoopTimer, RunInTheOrderOfDeadlinesThenOfArming) {
  auto one = Note(1), two = Note(2), three = Note(3), four = Note(4);
  loop_->Arm(three.get(), In(30));
  loop_->Arm(one.get(), In(10));
  loop_->Arm(four.get(), In(30));
  loop_->Arm(two.get(), In(10));
  clock_.Advance(30);
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(1, 2, 3, 4));
}

TEST_F(LoopTimer, ArmingAgainMovesIt) {
  auto timer = Note(1);
  loop_->Arm(timer.get(), In(10));
  loop_->Arm(timer.get(), In(50));
  clock_.Advance(10);
  EXPECT_FALSE(TurnOf(*loop_));
  loop_->Arm(timer.get(), In(20));
  clock_.Advance(20);
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(1));
}

TEST_F(LoopTimer, NeverDisarms) {
  auto timer = Note(1);
  loop_->Arm(timer.get(), In(10));
  loop_->Arm(timer.get(), kNever);
  EXPECT_FALSE(timer->armed());
  clock_.Advance(10);
  EXPECT_FALSE(TurnOf(*loop_));
}

TEST_F(LoopTimer, ATimerMayDisarmAndDestroyOthersThatAreDueInTheSameTurn) {
  auto two = Note(2), three = Note(3), four = Note(4);
  FunctionTimer one([&] {
    loop_->Disarm(two.get());
    three.reset();
  });
  loop_->Arm(&one, In(10));
  loop_->Arm(two.get(), In(10));
  loop_->Arm(three.get(), In(10));
  loop_->Arm(four.get(), In(10));
  clock_.Advance(10);
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(4));
}

TEST_F(LoopTimer, OneThatArmsItselfForNowRunsOnceATurn) {
  FunctionTimer timer([&] {
    order_.push_back(1);
    loop_->Arm(&timer, 0);
  });
  auto other = Note(2);
  loop_->Arm(&timer, In(0));
  loop_->Arm(other.get(), In(0));
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(1, 2));
  EXPECT_TRUE(Readable(loop_->fd())) << "a timer that is due is work left";
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_THAT(order_, ElementsAre(1, 2, 1));
  loop_->Disarm(&timer);
}

TEST_F(LoopTimer, DestroyingDisarms) {
  loop_->Arm(Note(1).get(), In(10));
  clock_.Advance(10);
  EXPECT_FALSE(TurnOf(*loop_));
}

TEST_F(LoopTimer, ManyRunInOrderWhateverWasArmedMovedAndDisarmed) {
  constexpr int kTimers = 500;
  Random random(7);
  std::vector<int64_t> fired;
  std::vector<std::unique_ptr<FunctionTimer>> timers(kTimers);
  std::vector<int64_t> expected;
  for (auto& timer : timers) {
    timer = std::make_unique<FunctionTimer>([&] { fired.push_back(timer->deadline_ns()); });
    loop_->Arm(timer.get(), In(1 + random.Below(1000)));
  }
  for (auto& timer : timers) {
    const uint32_t choice = random.Below(3);
    if (choice == 0) loop_->Disarm(timer.get());
    if (choice == 1) loop_->Arm(timer.get(), In(1 + random.Below(1000)));
    if (timer->armed()) expected.push_back(timer->deadline_ns());
  }
  std::sort(expected.begin(), expected.end());
  for (int step = 0; step < 10; ++step) {
    clock_.Advance(100);
    EXPECT_TRUE(TurnOf(*loop_));
    for (const int64_t deadline : fired) EXPECT_LE(deadline, clock_.NowNs());
  }
  EXPECT_EQ(fired, expected);
}

TEST_F(LoopTimer, ADueTimerKeepsTheTurnFromSleeping) {
  auto timer = Note(1);
  loop_->Arm(timer.get(), In(5));
  clock_.Advance(5);
  EXPECT_TRUE(TurnOf(*loop_, -1));
}

// ---- The machine's clock ----

TEST(LoopTimerFd, WakesASleepingTurn) {
  auto loop = OpenLoop();
  int fired = 0;
  FunctionTimer timer([&] { ++fired; });
  const int64_t deadline = Clock::System().NowNs() + 3 * kNanosPerMilli;
  loop->Arm(&timer, deadline);
  EXPECT_TRUE(TurnOf(*loop, -1));
  EXPECT_EQ(fired, 1);
  EXPECT_GE(Clock::System().NowNs(), deadline);
}

TEST(LoopTimerFd, MakesTheDescriptorReadableAtItsTimeAndNotAfterItRan) {
  auto loop = OpenLoop();
  int fired = 0;
  FunctionTimer timer([&] { ++fired; });
  {
    LoopHold hold(loop.get());
    loop->Arm(&timer, loop->now_ns() + 2 * kNanosPerMilli);
  }
  EXPECT_TRUE(Readable(loop->fd(), 5000));
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopTimerFd, AnEarlierTimerMovesTheWakeUpForward) {
  auto loop = OpenLoop();
  int fired = 0;
  FunctionTimer late([&] { fired += 100; });
  FunctionTimer early([&] { fired += 1; });
  {
    LoopHold hold(loop.get());
    loop->Arm(&late, loop->now_ns() + 600 * kNanosPerSecond);
  }
  {
    LoopHold hold(loop.get());
    loop->Arm(&early, loop->now_ns() + kNanosPerMilli);
  }
  EXPECT_TRUE(Readable(loop->fd(), 5000));
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopTimerFd, AfterADisarmedTimersOldTimeTheDescriptorIsReadableAtMostOnce) {
  auto loop = OpenLoop();
  FunctionTimer timer([] { FAIL(); });
  {
    LoopHold hold(loop.get());
    loop->Arm(&timer, loop->now_ns() + kNanosPerMilli);
  }
  {
    LoopHold hold(loop.get());
    loop->Disarm(&timer);
  }
  EXPECT_FALSE(TurnOf(*loop, 5 * kNanosPerMilli));
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopTimerFd, ATurnWaitsItsTimeoutAndNoLess) {
  auto loop = OpenLoop();
  const int64_t begun = Clock::System().NowNs();
  EXPECT_FALSE(TurnOf(*loop, 2 * kNanosPerMilli + 300 * kNanosPerMicro));
  EXPECT_GE(Clock::System().NowNs() - begun, 2 * kNanosPerMilli + 300 * kNanosPerMicro);
}

TEST(LoopTimerFd, SpinningSeesTimersAndEvents) {
  auto loop = OpenLoop({.spin_ns = 5 * kNanosPerSecond});
  int fired = 0;
  FunctionTimer timer([&] { ++fired; });
  loop->Arm(&timer, Clock::System().NowNs() + kNanosPerMilli);
  EXPECT_TRUE(TurnOf(*loop, -1));
  EXPECT_EQ(fired, 1);
  ReadingSource source(loop.get());
  source.Send("x");
  EXPECT_TRUE(TurnOf(*loop, -1));
  EXPECT_EQ(source.received, "x");
  const int64_t begun = Clock::System().NowNs();
  EXPECT_FALSE(TurnOf(*loop)) << "a timeout of 0 does not spin";
  EXPECT_LT(Clock::System().NowNs() - begun, kNanosPerSecond);
}

}  // namespace
}  // namespace lever
