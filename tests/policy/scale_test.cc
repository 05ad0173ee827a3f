#include "liblever/policy/scale.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace lever::policy {
namespace {

constexpr int64_t kNow = 1000 * kNanosPerSecond;
constexpr int64_t kMs = kNanosPerMilli;

// A service whose instances do as they are told after `start_ns`, and whose time is moved by hand.
class DecideScaleTest : public ::testing::Test {
 protected:
  ScaleDecision Decide() {
    const ScaleDecision decision = DecideScale(limits, load, now_ns, &memory);
    load.instances_ready += decision.promote;
    load.instances_ready -= decision.stop;
    load.instances_standby -= decision.promote + decision.stop_standby;
    load.instances_starting += decision.start;
    most = std::max(most, present());
    starts += decision.start;
    stops += decision.stop;
    last = decision;
    return decision;
  }
  void AllReady() {
    if (load.instances_starting == 0) return;
    const uint32_t started = std::exchange(load.instances_starting, 0);
    if (limits.standby > 0) {
      load.instances_standby += started;
      return;
    }
    load.instances_ready += started;
    load.last_ready_ns = now_ns;
  }
  // Looks every 250 ms, and starts take that long.
  void Pass(int64_t ns) {
    for (const int64_t end_ns = now_ns + ns; now_ns < end_ns;) {
      now_ns += 250 * kMs;
      AllReady();
      Decide();
    }
  }
  uint32_t present() const {
    return load.instances_ready + load.instances_starting + load.instances_standby;
  }

  ScaleLimits limits{.instances_max = 100};
  ScaleLoad load{.latency_ns = 100 * kMs, .start_ns = 250 * kMs};
  ScaleMemory memory;
  ScaleDecision last;
  int64_t now_ns = kNow;
  uint32_t starts = 0;
  uint32_t stops = 0;
  uint32_t most = 0;
};

TEST_F(DecideScaleTest, NothingIsStartedWithoutACall) {
  EXPECT_EQ(Decide().start, 0u);
  EXPECT_EQ(Decide().wake_at_ns, kNow + limits.idle_timeout_ns);
}

TEST_F(DecideScaleTest, OneCallThatWaitsStartsOneInstanceOnce) {
  load.held_calls = 1;
  EXPECT_EQ(Decide().start, 1u);
  EXPECT_EQ(Decide().start, 0u);
}

TEST_F(DecideScaleTest, ShortCallsThatWaitAreDrainedByFewInstances) {
  load.held_calls = 100;
  load.latency_ns = 10 * kMs;
  EXPECT_EQ(Decide().wanted, 1u);
}

TEST_F(DecideScaleTest, LongCallsThatWaitNeedAnInstanceForEachTen) {
  load.held_calls = 100;
  load.latency_ns = 60 * kNanosPerSecond;
  EXPECT_EQ(Decide().wanted, 10u);
  EXPECT_EQ(last.start, kStartsAtATime);
}

TEST_F(DecideScaleTest, AQueueThatShouldHaveDrainedIsCountedInFull) {
  load.held_calls = 100;
  load.calls = 10;
  load.instances_ready = 1;
  load.latency_ns = 10 * kMs;
  EXPECT_EQ(Decide().start, 1u);
  now_ns += 450 * kMs;
  EXPECT_EQ(Decide().start, 0u) << "one is starting";
  AllReady();
  EXPECT_EQ(Decide().start, 0u) << "it has just become ready";
  now_ns += 451 * kMs;
  EXPECT_EQ(Decide().wanted, 11u);
}

TEST_F(DecideScaleTest, AQueueThatDrainsInNoTimeAsksForNothing) {
  load.calls = 5;
  load.instances_ready = 1;
  load.held_calls = 5;  // 5 x 100 ms over 10 at a time: 50 ms
  EXPECT_EQ(Decide().start, 0u);
  load.held_calls = 60;
  EXPECT_GE(Decide().start, 1u);
}

TEST_F(DecideScaleTest, OneThatStaysAlthoughItShouldHaveDrainedDoesAsk) {
  load.calls = 5;
  load.instances_ready = 1;
  load.held_calls = 5;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Decide().start, 0u);
    now_ns += 110 * kMs;
  }
  load.held_calls = 6;
  now_ns += 20 * kMs;
  EXPECT_EQ(Decide().start, 1u) << "for longer than a start and kDrainGoalNs";
}

TEST_F(DecideScaleTest, TwiceTheRoomIsAnsweredAtOnce) {
  load.instances_ready = 1;
  load.calls = 10;
  Pass(30 * kNanosPerSecond);
  load.calls = 200;
  EXPECT_GE(Decide().wanted, 20u);
}

TEST_F(DecideScaleTest, SteadyLoadSettlesWithHeadroomAndWithoutFlapping) {
  load.calls = 100;
  Pass(600 * kNanosPerSecond);
  EXPECT_EQ(present(), 11u);  // (100 + sqrt(100)) / 10
  EXPECT_EQ(stops, 0u);
  EXPECT_EQ(starts, 11u);
}

TEST_F(DecideScaleTest, StreamsCountForTheirWeight) {
  load.instances_ready = 1;
  load.streams = 500;
  Pass(60 * kNanosPerSecond);
  EXPECT_EQ(present(), 6u);  // (50 + sqrt(50)) / 10
}

TEST_F(DecideScaleTest, ARiseIsFollowedAheadOfItsMean) {
  load.start_ns = 2 * kNanosPerSecond;
  load.instances_ready = 2;
  for (uint32_t second = 0; second < 40; ++second) {
    load.calls = 10 + 5 * second;
    Pass(kNanosPerSecond);
  }
  // The mean of the last six seconds is 190; what is expected three seconds from now is 220.
  EXPECT_GE(last.wanted, 23u);
  EXPECT_LE(last.wanted, 26u);
}

TEST_F(DecideScaleTest, AStepIsNotTakenForARise) {
  load.calls = 10;
  Pass(30 * kNanosPerSecond);
  load.calls = 200;
  Pass(60 * kNanosPerSecond);
  EXPECT_LE(most, 26u);
  EXPECT_GE(present(), 22u);
}

TEST_F(DecideScaleTest, ScaleDownWaitsForTheStableWindowThenSteps) {
  load.calls = 190;
  Pass(30 * kNanosPerSecond);
  const uint32_t before = present();
  load.calls = 5;
  Pass(55 * kNanosPerSecond);
  EXPECT_EQ(present(), before);
  Pass(20 * kNanosPerSecond);
  EXPECT_LT(present(), before);
  EXPECT_GE(present(), before / 8);
  Pass(60 * kNanosPerSecond);
  EXPECT_EQ(present(), 1u);
}

TEST_F(DecideScaleTest, WhatAQueueHasStartedIsStoppedSoonerAndWithoutRegret) {
  load.latency_ns = kNanosPerSecond;
  load.calls = 20;
  Pass(120 * kNanosPerSecond);
  const uint32_t usual = present();
  for (int queue = 0; queue < 5; ++queue) {
    load.held_calls = 200;
    Pass(kNanosPerSecond);
    EXPECT_GT(present(), 2 * usual);
    load.held_calls = 0;
    Pass(kSpareWaitNs + 4 * kScaleDownStepNs);
    EXPECT_EQ(present(), usual);
  }
  EXPECT_EQ(memory.wait_ns, kScaleDownWaitNs);
}

TEST_F(DecideScaleTest, ChanceDoesNotStopWhatItHasStarted) {
  for (int turn = 0; turn < 10; ++turn) {
    load.calls = 101;  // (101 + sqrt(101)) / 10: 12
    Pass(120 * kNanosPerSecond);
    load.calls = 97;  // (97 + sqrt(97)) / 10: 11
    Pass(120 * kNanosPerSecond);
  }
  EXPECT_EQ(starts, 12u);
  EXPECT_EQ(stops, 0u);
}

TEST_F(DecideScaleTest, BurstsThatComeAgainAreWaitedForInsteadOfFlapping) {
  for (int burst = 0; burst < 20; ++burst) {
    load.calls = 100;
    Pass(20 * kNanosPerSecond);
    load.calls = 5;
    Pass(100 * kNanosPerSecond);
    if (burst == 4) starts = 0;
  }
  EXPECT_EQ(starts, 0u);
  EXPECT_GT(memory.wait_ns, kScaleDownWaitNs);
}

TEST_F(DecideScaleTest, NeverMoreThanTheMostNorFewerThanTheLeast) {
  limits.instances_min = 2;
  limits.instances_max = 5;
  Decide();
  EXPECT_EQ(present(), 2u);
  load.calls = 1000;
  Pass(20 * kNanosPerSecond);
  EXPECT_EQ(present(), 5u);
  load.calls = 0;
  Pass(3600 * kNanosPerSecond);
  EXPECT_EQ(present(), 2u);
  limits.instances_max = limits.instances_min = 1;
  Decide();
  EXPECT_EQ(present(), 1u);
}

TEST_F(DecideScaleTest, StartsAreAFewAtATimeOrAsManyAsThereAre) {
  load.calls = 10'000;
  limits.instances_max = 1000;
  EXPECT_EQ(Decide().start, kStartsAtATime);
  EXPECT_EQ(Decide().start, 0u);
  AllReady();
  Decide();
  AllReady();
  EXPECT_EQ(Decide().start, 16u);
}

TEST_F(DecideScaleTest, RefusesWaitingCallsDuringBackoffWhereNothingIsThere) {
  load.held_calls = 1;
  load.backoff_until_ns = kNow + 1;
  EXPECT_TRUE(Decide().refuse_held);
  EXPECT_EQ(last.wake_at_ns, kNow + 1);
  load.instances_ready = 1;
  load.calls = 50;
  EXPECT_FALSE(Decide().refuse_held);
  EXPECT_EQ(last.start, 0u);
  now_ns += 1;
  EXPECT_GT(Decide().start, 0u);
}

TEST_F(DecideScaleTest, WakesAtTheEndOfBackoffToMeetTheMinimum) {
  limits.instances_min = 1;
  load.backoff_until_ns = kNow + 5;
  EXPECT_EQ(Decide().wake_at_ns, kNow + 5);
  now_ns += 5;
  EXPECT_EQ(Decide().start, 1u);
}

TEST_F(DecideScaleTest, TheLastInstanceStopsExactlyAtItsTimeout) {
  load.instances_ready = 1;
  load.last_active_ns = kNow;
  EXPECT_EQ(Decide().wake_at_ns, kNow + limits.idle_timeout_ns);
  now_ns += limits.idle_timeout_ns - 1;
  EXPECT_EQ(Decide().stop, 0u);
  now_ns += 1;
  EXPECT_EQ(Decide().stop, 1u);
}

TEST_F(DecideScaleTest, ASilentOpenStreamKeepsTheInstance) {
  load.instances_ready = 1;
  load.streams = 1;
  load.last_active_ns = kNow;
  Decide();
  now_ns += 3600 * kNanosPerSecond;
  EXPECT_EQ(Decide().stop, 0u);
}

TEST_F(DecideScaleTest, AnInstanceThatBecameReadyAndWasNotCalledHasItsTime) {
  Decide();
  now_ns += 3600 * kNanosPerSecond;
  load.instances_ready = 1;
  load.last_ready_ns = now_ns;
  EXPECT_EQ(Decide().stop, 0u);
  now_ns += limits.idle_timeout_ns;
  EXPECT_EQ(Decide().stop, 1u);
}

TEST_F(DecideScaleTest, AServiceThatIsCalledEveryHourIsStartedAhead) {
  const auto call = [&] {
    load.calls = 1;
    Pass(kNanosPerSecond);
    load.calls = 0;
    Decide();
  };
  for (int i = 0; i < 12; ++i) {
    call();
    Pass(3600 * kNanosPerSecond);
  }
  call();
  Pass(20 * kNanosPerSecond);
  EXPECT_EQ(present(), 0u) << "it is not kept for 300 s any more";
  Pass(3380 * kNanosPerSecond);
  EXPECT_EQ(present(), 0u);
  Pass(190 * kNanosPerSecond);
  EXPECT_EQ(present(), 1u) << "a little before its hour";
  Pass(600 * kNanosPerSecond);
  EXPECT_EQ(present(), 0u) << "nobody called";
}

TEST_F(DecideScaleTest, PausesALittleAboveTheTimeoutFindAnInstanceOnceTheyAreKnown) {
  for (int i = 0; i < 20; ++i) {
    if (i > static_cast<int>(kPausesNeeded)) {
      EXPECT_EQ(load.instances_ready, 1u) << i;
    }
    load.calls = 1;
    Pass(kNanosPerSecond);
    load.calls = 0;
    Pass(330 * kNanosPerSecond);
  }
}

// One standby is ready, and nothing was called yet.
class StandbyTest : public DecideScaleTest {
 protected:
  StandbyTest() {
    limits.standby = 1;
    Decide();
    AllReady();
    Decide();
  }
};

TEST_F(StandbyTest, IsStartedWithoutACallAndKept) {
  EXPECT_EQ(load.instances_standby, 1u);
  Pass(24 * 3600 * kNanosPerSecond);
  EXPECT_EQ(load.instances_standby, 1u);
  EXPECT_EQ(load.instances_ready, 0u);
  EXPECT_EQ(starts, 1u);
}

TEST_F(StandbyTest, IsPromotedForACallThatWaitsAndReplaced) {
  load.held_calls = 1;
  EXPECT_EQ(Decide().promote, 1u);
  EXPECT_EQ(last.wanted, 1u);
  EXPECT_EQ(last.start, 1u);
  load.held_calls = 0;
  load.calls = 1;
  Pass(kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 1u);
  EXPECT_EQ(load.instances_standby, 1u);
  EXPECT_EQ(starts, 2u);
}

TEST_F(StandbyTest, IsNotCountedForTheLoad) {
  load.calls = 110;
  Pass(600 * kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 13u) << "(110 + sqrt(110)) / 10";
  EXPECT_EQ(load.instances_standby, 1u);
}

TEST_F(StandbyTest, StaysWhereTheLastLoadedOneIsStopped) {
  load.calls = 1;
  Pass(kNanosPerSecond);
  load.calls = 0;
  load.last_active_ns = now_ns;
  Pass(limits.idle_timeout_ns + kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 0u);
  EXPECT_EQ(load.instances_standby, 1u);
  EXPECT_EQ(starts, 2u);
}

TEST_F(StandbyTest, IsNotAddedToTheMostThatThereMayBe) {
  limits.instances_max = 3;
  load.calls = 12;
  Pass(120 * kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 2u);
  EXPECT_EQ(load.instances_standby, 1u);
  load.calls = 1000;
  Pass(20 * kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 3u);
  EXPECT_EQ(load.instances_standby, 0u);
  load.calls = 12;
  Pass(300 * kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 2u);
  EXPECT_EQ(load.instances_standby, 1u);
  EXPECT_EQ(most, 3u);
}

TEST_F(StandbyTest, ComesBesideTheLeast) {
  limits.instances_min = 2;
  Pass(3600 * kNanosPerSecond);
  EXPECT_EQ(load.instances_ready, 2u);
  EXPECT_EQ(load.instances_standby, 1u);
}

TEST_F(StandbyTest, IsPromotedDuringBackoffAndReplacedAfterIt) {
  load.held_calls = 1;
  load.backoff_until_ns = now_ns + kNanosPerSecond;
  EXPECT_EQ(Decide().promote, 1u);
  EXPECT_FALSE(last.refuse_held);
  EXPECT_EQ(last.start, 0u);
  EXPECT_EQ(last.wake_at_ns, load.backoff_until_ns);
  load.held_calls = 0;
  now_ns += kNanosPerSecond;
  EXPECT_EQ(Decide().start, 1u);
}

TEST_F(StandbyTest, OneThatStillStartsIsGivenToTheCallThatWaits) {
  load.instances_standby = 0;
  Decide();
  ASSERT_EQ(load.instances_starting, 1u);
  load.held_calls = 1;
  EXPECT_EQ(Decide().start, 1u) << "one for the load, one to stand by";
  load.instances_starting = 1;
  load.instances_standby = 1;
  EXPECT_EQ(Decide().promote, 1u);
  EXPECT_EQ(last.start, 0u);
}

TEST_F(StandbyTest, OneThatStartsForNothingButToStandByDrainsNoQueue) {
  load.instances_ready = 1;
  load.instances_standby = 0;
  load.instances_starting = 1;
  load.calls = 10;
  load.held_calls = 3;
  for (int i = 0; i < 5; ++i) {
    Decide();
    now_ns += 110 * kMs;
  }
  EXPECT_EQ(Decide().wanted, 2u);
}

TEST_F(StandbyTest, MoreThanAreToBeKeptAreStopped) {
  load.instances_standby = 3;
  now_ns += 2 * limits.idle_timeout_ns;
  EXPECT_EQ(Decide().stop_standby, 2u);
  EXPECT_EQ(last.start, 0u);
}

TEST_F(StandbyTest, SparesTheStartAhead) {
  for (int i = 0; i < 13; ++i) {
    load.calls = 1;
    Pass(kNanosPerSecond);
    load.calls = 0;
    Pass(3600 * kNanosPerSecond);
  }
  EXPECT_EQ(starts, 14u) << "one for each call that took the one before, and the first";
}

TEST(CrashBackoff, DoublesToItsMaximumWithoutJitter) {
  CrashBackoff backoff;
  int64_t expected = kBackoffFirstNs;
  for (int i = 0; i < 20; ++i) {
    backoff.OnCrash(kNow, 0, 0.5);
    EXPECT_EQ(backoff.until_ns(), kNow + expected) << "crash " << i + 1;
    expected = std::min(2 * expected, kBackoffMaxNs);
  }
}

TEST(CrashBackoff, JitterStaysWithinAFifth) {
  for (const double random : {0.0, 0.999}) {
    CrashBackoff backoff;
    backoff.OnCrash(kNow, 0, random);
    EXPECT_NEAR(static_cast<double>(backoff.until_ns() - kNow),
                static_cast<double>(kBackoffFirstNs), 0.2 * kBackoffFirstNs);
  }
}

TEST(CrashBackoff, AnInstanceThatWasReadyIsStartedAgainAtOnceTheFirstTime) {
  CrashBackoff backoff;
  backoff.OnCrash(kNow, kNanosPerSecond, 0.5);
  EXPECT_EQ(backoff.until_ns(), 0);
  backoff.OnCrash(kNow, kNanosPerSecond, 0.5);
  EXPECT_GT(backoff.until_ns(), kNow);
}

TEST(CrashBackoff, ALongRunForgetsEarlierCrashes) {
  CrashBackoff backoff;
  backoff.OnCrash(kNow, 0, 0.5);
  backoff.OnCrash(kNow, 0, 0.5);
  backoff.OnCrash(kNow, kStableUptimeNs, 0.5);
  EXPECT_EQ(backoff.until_ns(), 0);
  EXPECT_EQ(backoff.crashes_in_a_row(), 0u);
}

}  // namespace
}  // namespace lever::policy
