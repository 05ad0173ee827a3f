#include "liblever/policy/version_watch.h"

#include <gtest/gtest.h>

#include <random>

namespace lever::policy {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;
constexpr int64_t kEnd = 30 * kSecond;

OutcomeRate Before(uint64_t calls, uint64_t errors) {
  OutcomeRate rate;
  rate.Add(0, calls, errors);
  return rate;
}

WatchVerdict Verdict(const WatchedVersion& version, const OutcomeRate& before, int64_t now_ns = 1) {
  return DecideWatch(version, before, kEnd, now_ns).verdict;
}

TEST(VersionWatchTest, AQuietVersionIsKeptWhenTheWatchIsOver) {
  const WatchedVersion quiet{.instances = 1};
  EXPECT_EQ(Verdict(quiet, Before(0, 0), kEnd - 1), WatchVerdict::kGoOn);
  EXPECT_EQ(Verdict(quiet, Before(0, 0), kEnd), WatchVerdict::kKeep);
}

TEST(VersionWatchTest, TheOnlyInstanceThatCrashesIsEnough) {
  EXPECT_EQ(Verdict({.crashes = 1}, Before(0, 0)), WatchVerdict::kRollBack);
}

TEST(VersionWatchTest, OneCrashOfManyIsNot) {
  EXPECT_EQ(Verdict({.crashes = 1, .instances = 4}, Before(0, 0)), WatchVerdict::kRollBack);
  EXPECT_EQ(Verdict({.crashes = 1, .instances = 5}, Before(0, 0)), WatchVerdict::kGoOn);
  EXPECT_EQ(Verdict({.crashes = 3, .instances = 500}, Before(0, 0)), WatchVerdict::kRollBack);
}

TEST(VersionWatchTest, AThirdOfErrorsIsAJump) {
  const WatchDecision decision =
      DecideWatch({.calls = 100, .errors = 30, .instances = 1}, Before(1000, 5), kEnd, 1);
  EXPECT_EQ(decision.verdict, WatchVerdict::kRollBack);
  EXPECT_EQ(decision.reason,
            "30 % of its 100 calls ended in errors, 0.5 % of those of the version before");
}

TEST(VersionWatchTest, AFewCallsTellNothing) {
  EXPECT_EQ(Verdict({.calls = 19, .errors = 19, .instances = 1}, Before(1000, 0)),
            WatchVerdict::kGoOn);
  EXPECT_EQ(Verdict({.calls = 20, .errors = 20, .instances = 1}, Before(1000, 0)),
            WatchVerdict::kRollBack);
}

TEST(VersionWatchTest, ErrorsThatWereThereBeforeAreNoJump) {
  EXPECT_EQ(Verdict({.calls = 1000, .errors = 310, .instances = 1}, Before(1000, 300)),
            WatchVerdict::kGoOn);
  EXPECT_EQ(Verdict({.calls = 1000, .errors = 1000, .instances = 1}, Before(1000, 1000)),
            WatchVerdict::kGoOn);
}

TEST(VersionWatchTest, ASmallDifferenceIsNoJumpHoweverManyCallsShowIt) {
  EXPECT_EQ(
      Verdict({.calls = 10'000'000, .errors = 400'000, .instances = 1}, Before(10'000'000, 10'000)),
      WatchVerdict::kGoOn);
}

TEST(VersionWatchTest, WithoutAVersionToCompareHalfIsTooMany) {
  EXPECT_EQ(Verdict({.calls = 100, .errors = 49, .instances = 1}, Before(19, 0)),
            WatchVerdict::kGoOn);
  const WatchDecision decision =
      DecideWatch({.calls = 100, .errors = 50, .instances = 1}, Before(19, 0), kEnd, 1);
  EXPECT_EQ(decision.verdict, WatchVerdict::kRollBack);
  EXPECT_EQ(decision.reason, "50 % of its 100 calls ended in errors");
}

// Looked at after every tenth call of a whole watch, 500 times over.
TEST(VersionWatchTest, AVersionThatIsAsGoodIsKept) {
  std::mt19937 random(1);
  int rolled_back = 0;
  for (int watch = 0; watch < 500; ++watch) {
    std::bernoulli_distribution fails(0.1);
    uint64_t errors_before = 0;
    for (int i = 0; i < 500; ++i) errors_before += fails(random);
    const OutcomeRate before = Before(500, errors_before);
    WatchedVersion version{.instances = 1};
    for (int i = 1; i <= 3000; ++i) {
      ++version.calls;
      version.errors += fails(random);
      if (i % 10 == 0 && Verdict(version, before) == WatchVerdict::kRollBack) {
        ++rolled_back;
        break;
      }
    }
  }
  EXPECT_LE(rolled_back, 2);
}

TEST(OutcomeRateTest, WhatIsLongAgoCountsLess) {
  OutcomeRate rate;
  rate.Add(0, 100, 100);
  rate.Add(kOutcomeHalfLifeNs, 50, 0);
  EXPECT_DOUBLE_EQ(rate.calls(), 100);
  EXPECT_DOUBLE_EQ(rate.errors(), 50);
  // A clock that steps back changes nothing.
  rate.Add(0, 10, 20);
  EXPECT_DOUBLE_EQ(rate.calls(), 110);
  EXPECT_DOUBLE_EQ(rate.errors(), 60);
}

}  // namespace
}  // namespace lever::policy
