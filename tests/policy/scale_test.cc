#include "liblever/policy/scale.h"

#include <gtest/gtest.h>

namespace lever::policy {
namespace {

constexpr int64_t kNow = 1000 * kNanosPerSecond;

TEST(DecideScale, StartsOneInstanceWhenCallsWait) {
  ScaleState state;
  state.held_calls = 300;
  EXPECT_EQ(DecideScale(state, kNow).action, ScaleAction::kStart);
}

TEST(DecideScale, StartsNothingWhileOneIsStarting) {
  ScaleState state;
  state.held_calls = 300;
  state.instances_starting = 1;
  EXPECT_EQ(DecideScale(state, kNow), ScaleDecision{});
}

TEST(DecideScale, StartsNothingWithoutACall) { EXPECT_EQ(DecideScale({}, kNow), ScaleDecision{}); }

TEST(DecideScale, KeepsTheMinimumRunning) {
  ScaleState state;
  state.instances_min = 1;
  EXPECT_EQ(DecideScale(state, kNow).action, ScaleAction::kStart);
  state.instances_ready = 1;
  state.idle_timeout_ns = 1;
  EXPECT_EQ(DecideScale(state, kNow), ScaleDecision{});
}

TEST(DecideScale, RefusesWaitingCallsDuringBackoff) {
  ScaleState state;
  state.held_calls = 1;
  state.backoff_until_ns = kNow + 1;
  EXPECT_EQ(DecideScale(state, kNow).action, ScaleAction::kRefuse);
  EXPECT_EQ(DecideScale(state, kNow + 1).action, ScaleAction::kStart);
}

TEST(DecideScale, WakesAtTheEndOfBackoffToMeetTheMinimum) {
  ScaleState state;
  state.instances_min = 1;
  state.backoff_until_ns = kNow + 5;
  EXPECT_EQ(DecideScale(state, kNow), (ScaleDecision{ScaleAction::kNone, kNow + 5}));
}

TEST(DecideScale, StopsAnIdleInstanceExactlyAtItsTimeout) {
  ScaleState state;
  state.instances_ready = 1;
  state.last_active_ns = kNow;
  state.idle_timeout_ns = kNanosPerSecond;
  EXPECT_EQ(DecideScale(state, kNow), (ScaleDecision{ScaleAction::kNone, kNow + kNanosPerSecond}));
  EXPECT_EQ(DecideScale(state, kNow + kNanosPerSecond - 1).action, ScaleAction::kNone);
  EXPECT_EQ(DecideScale(state, kNow + kNanosPerSecond).action, ScaleAction::kStop);
}

TEST(DecideScale, ASilentOpenStreamKeepsTheInstance) {
  ScaleState state;
  state.instances_ready = 1;
  state.in_flight = 1;
  state.last_active_ns = kNow - 3600 * kNanosPerSecond;
  state.idle_timeout_ns = kNanosPerSecond;
  EXPECT_EQ(DecideScale(state, kNow), ScaleDecision{});
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
