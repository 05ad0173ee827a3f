#include "liblever/policy/host_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lever::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(HostMemory, ReservesUpToTheBudgetAndTakesBack) {
  HostMemory memory(80);
  EXPECT_TRUE(memory.Reserve(50, MemoryClaim::kFirst));
  EXPECT_EQ(memory.Missing(30, MemoryClaim::kFirst), 0u);
  EXPECT_EQ(memory.Missing(31, MemoryClaim::kFirst), 1u);
  EXPECT_FALSE(memory.Reserve(31, MemoryClaim::kFirst));
  EXPECT_EQ(memory.reserved_bytes(), 50u) << "what was refused took nothing";
  EXPECT_TRUE(memory.Reserve(30, MemoryClaim::kFirst));
  memory.Release(50);
  EXPECT_TRUE(memory.Reserve(50, MemoryClaim::kFirst));
}

TEST(HostMemory, TheLastPartIsForFirstInstances) {
  HostMemory memory(80);
  EXPECT_TRUE(memory.Reserve(70, MemoryClaim::kFurther));
  EXPECT_FALSE(memory.Reserve(1, MemoryClaim::kFurther));
  EXPECT_TRUE(memory.Reserve(10, MemoryClaim::kFirst));
  EXPECT_EQ(memory.Missing(5, MemoryClaim::kFurther), 15u) << "5, and the 10 that are for first ones";
}

TEST(HostMemory, WhatIsForcedGoesBeyond) {
  HostMemory memory(80);
  EXPECT_TRUE(memory.Reserve(200, MemoryClaim::kForced));
  EXPECT_EQ(memory.Missing(1, MemoryClaim::kFirst), 121u);
  memory.Release(200);
  EXPECT_EQ(memory.reserved_bytes(), 0u);
}

TEST(HostMemory, WithoutABudgetThereIsNoBound) {
  HostMemory memory(0);
  EXPECT_TRUE(memory.Reserve(1ull << 60, MemoryClaim::kFurther));
}

TEST(ChooseWhoGivesWay, ThoseThatAreIdleForLongest) {
  const std::vector<IdleInstance> idle = {{1, 50, 300}, {2, 50, 100}, {3, 50, 200}};
  const int64_t now_ns = 10 * kNanosPerSecond;
  EXPECT_THAT(ChooseWhoGivesWay(idle, 1, now_ns), ElementsAre(2));
  EXPECT_THAT(ChooseWhoGivesWay(idle, 51, now_ns), ElementsAre(2, 3));
  EXPECT_THAT(ChooseWhoGivesWay(idle, 150, now_ns), ElementsAre(2, 3, 1));
  EXPECT_THAT(ChooseWhoGivesWay(idle, 151, now_ns), IsEmpty()) << "in vain";
}

TEST(ChooseWhoGivesWay, NotWhoWasActiveJustNow) {
  const int64_t now_ns = 10 * kNanosPerSecond;
  EXPECT_THAT(ChooseWhoGivesWay({{1, 50, now_ns - kGiveWayAfterNs + 1}}, 50, now_ns), IsEmpty());
  EXPECT_THAT(ChooseWhoGivesWay({{1, 50, now_ns - kGiveWayAfterNs}}, 50, now_ns), ElementsAre(1));
}

}  // namespace
}  // namespace lever::policy
