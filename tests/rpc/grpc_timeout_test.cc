#include "liblever/rpc/grpc_timeout.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "liblever/base/clock.h"

namespace lever::rpc {
namespace {

TEST(CoarseTimeoutTest, IsNeverLessAndAtMostTwoPercentMore) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto left_ns = static_cast<int64_t>(random() >> (1 + random() % 62));
    const int64_t sent_ns = CoarseTimeout(left_ns);
    ASSERT_GE(sent_ns, left_ns);
    ASSERT_LE(sent_ns - left_ns, left_ns / 50) << left_ns;
  }
  EXPECT_EQ(CoarseTimeout(0), 0);
  EXPECT_EQ(CoarseTimeout(1), 1);
  EXPECT_GE(CoarseTimeout(kNever - 1), kNever - 1);
}

TEST(CoarseTimeoutTest, WhatIsLeftOfOneDeadlineAFewMillisecondsOnIsSentAlike) {
  std::set<int64_t> sent;
  for (int64_t spent_us = 1; spent_us < 100'000; spent_us += 7) {
    sent.insert(CoarseTimeout(60 * kNanosPerSecond - spent_us * kNanosPerMicro));
  }
  EXPECT_EQ(sent, std::set<int64_t>{60 * kNanosPerSecond});
}

}  // namespace
}  // namespace lever::rpc
