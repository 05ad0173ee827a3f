#include "liblever/policy/retry.h"

#include <gtest/gtest.h>

namespace lever::policy {
namespace {

constexpr int64_t kNow = kNanosPerSecond;

struct Fixture {
  RetryState state;
  RetryBudget budget;
  RetryDecision Decide(const AttemptFailure& failure, int64_t deadline_ns = kNever) {
    return DecideRetry(failure, kNow, deadline_ns, 0.5, &state, &budget);
  }
};

TEST(DecideRetry, AnUnknownOutcomeIsNeverSentAgain) {
  Fixture f;
  EXPECT_EQ(f.Decide({.executed = LEVER_EXECUTED_UNKNOWN}).action, RetryAction::kGiveUp);
}

TEST(DecideRetry, AnUnknownOutcomeOfAnIdempotentMethodIsRetried) {
  Fixture f;
  EXPECT_EQ(f.Decide({.idempotent = true}), (RetryDecision{RetryAction::kRetry, kRetryFirstNs}));
}

TEST(DecideRetry, WhatSurelyDidNotRunIsRetriedWithDoublingWaits) {
  Fixture f;
  const AttemptFailure failure{.executed = LEVER_EXECUTED_NO};
  for (uint32_t i = 0; i < kRetriesMax; ++i) {
    EXPECT_EQ(f.Decide(failure), (RetryDecision{RetryAction::kRetry, kRetryFirstNs << i}));
  }
  EXPECT_EQ(f.Decide(failure).action, RetryAction::kGiveUp);
}

TEST(DecideRetry, WhatWasNeverWrittenIsRedirectedAtOnceOutsideTheBudget) {
  Fixture f;
  const AttemptFailure failure{.executed = LEVER_EXECUTED_NO, .never_written = true};
  for (uint32_t i = 0; i < kRedirectsMax; ++i) {
    EXPECT_EQ(f.Decide(failure), (RetryDecision{RetryAction::kRedirect, 0}));
  }
  EXPECT_EQ(f.Decide(failure).action, RetryAction::kRetry);
  EXPECT_EQ(f.state.attempts(), 1 + kRedirectsMax + 1);
}

TEST(DecideRetry, AnErrorOfTheCallItselfIsFinal) {
  Fixture f;
  for (const lever_status status : {LEVER_INVALID_ARGUMENT, LEVER_NOT_FOUND, LEVER_UNIMPLEMENTED,
                                    LEVER_PERMISSION_DENIED, LEVER_DEADLINE_EXCEEDED}) {
    EXPECT_EQ(f.Decide({.status = status, .executed = LEVER_EXECUTED_NO}).action,
              RetryAction::kGiveUp);
  }
}

TEST(DecideRetry, NothingBeginsAfterTheDeadline) {
  Fixture f;
  const AttemptFailure not_run{.executed = LEVER_EXECUTED_NO};
  EXPECT_EQ(f.Decide(not_run, kNow + kRetryFirstNs).action, RetryAction::kGiveUp);
  EXPECT_EQ(f.Decide(not_run, kNow + kRetryFirstNs + 1).action, RetryAction::kRetry);
  EXPECT_EQ(f.Decide({.executed = LEVER_EXECUTED_NO, .never_written = true}, kNow).action,
            RetryAction::kGiveUp);
}

// Out of `calls` calls whose every attempt fails, or every `fail_every`-th one: attempts beyond the
// first of each call.
uint32_t ExtraAttempts(uint32_t calls, uint32_t fail_every) {
  RetryBudget budget;
  uint32_t extra = 0;
  uint32_t attempt = 0;
  for (uint32_t call = 0; call < calls; ++call) {
    RetryState state;
    for (;;) {
      if (++attempt % fail_every != 0) {
        budget.OnSuccess();
        break;
      }
      const AttemptFailure failure{.executed = LEVER_EXECUTED_NO};
      if (DecideRetry(failure, kNow, kNever, 0.5, &state, &budget).action != RetryAction::kRetry) {
        break;
      }
      ++extra;
    }
  }
  return extra;
}

TEST(RetryBudget, ABackendThatFailsAlwaysCostsAtMostATenthMore) {
  EXPECT_LE(ExtraAttempts(100, 1), 10u);
  EXPECT_LE(ExtraAttempts(10'000, 1), 10u);
}

TEST(RetryBudget, ABackendThatFailsOftenCostsAtMostATenthMore) {
  EXPECT_LE(ExtraAttempts(10'000, 2), 1000u);
  EXPECT_LE(ExtraAttempts(10'000, 5), 1000u);
}

TEST(RetryBudget, CallsLostWithAnInstanceLeaveTheBudgetToThoseThatDidNotRun) {
  Fixture f;
  for (int call = 0; call < 1000; ++call) {
    RetryState state;
    DecideRetry({.executed = LEVER_EXECUTED_UNKNOWN}, kNow, kNever, 0.5, &state, &f.budget);
  }
  EXPECT_EQ(f.Decide({.executed = LEVER_EXECUTED_NO}).action, RetryAction::kRetry);
}

TEST(RetryBudget, RareFailuresAreAllRetried) {
  EXPECT_NEAR(ExtraAttempts(10'000, 100), 100, 2);
}

}  // namespace
}  // namespace lever::policy
