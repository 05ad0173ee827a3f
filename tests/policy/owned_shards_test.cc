#include "liblever/policy/owned_shards.h"

#include <gtest/gtest.h>

#include "liblever/policy/grant.h"

namespace lever::policy {
namespace {

constexpr int64_t kNow = 100 * kNanosPerSecond;

TEST(Grant, WhoUsesItCountsShorterThanWhoGaveIt) {
  EXPECT_EQ(GrantEndNs(kNow), kNow + 10 * kNanosPerSecond);
  EXPECT_EQ(GrantSurelyEndedNs(kNow), kNow + 10'060 * kNanosPerMilli);
  EXPECT_EQ(LeaseEndNs(kNow, 5 * kNanosPerSecond), kNow + 4'945 * kNanosPerMilli);
  EXPECT_EQ(LeaseEndNs(kNow, kNanosPerMilli), kNow) << "never below";
  EXPECT_EQ(GrantEndNs(kNever - 1), kNever);
}

class OwnedShardsTest : public ::testing::Test {
 protected:
  void Own(uint32_t shard, uint64_t generation) {
    EXPECT_TRUE(shards.Name(shard, generation));
    EXPECT_TRUE(shards.Grant(shard, generation));
  }
  ShardVerdict At(uint64_t generation, int64_t now_ns = kNow) {
    return shards.Check(2, generation, now_ns);
  }

  OwnedShards shards{4};
};

TEST_F(OwnedShardsTest, ACallRunsUnderTheGenerationThatIsGranted) {
  shards.Renewed(kNow);
  EXPECT_EQ(At(7), ShardVerdict::kAwaitName);
  EXPECT_EQ(At(kNoGeneration), ShardVerdict::kRefuse);
  EXPECT_TRUE(shards.Name(2, 7));
  EXPECT_EQ(At(7), ShardVerdict::kWait);
  EXPECT_EQ(At(kNoGeneration), ShardVerdict::kRefuse);
  EXPECT_FALSE(shards.MayReply(2, 7, kNow));
  EXPECT_TRUE(shards.Grant(2, 7));
  EXPECT_EQ(At(7), ShardVerdict::kRun);
  EXPECT_EQ(At(kNoGeneration), ShardVerdict::kRun);
  EXPECT_EQ(At(6), ShardVerdict::kRefuse);
  EXPECT_EQ(At(8), ShardVerdict::kAwaitName);
  EXPECT_TRUE(shards.MayReply(2, 7, kNow));
  EXPECT_FALSE(shards.MayReply(2, 6, kNow));
  EXPECT_EQ(shards.Check(1, 7, kNow), ShardVerdict::kAwaitName) << "another shard";
}

TEST_F(OwnedShardsTest, AnOverdueRenewalLetsCallsWaitAndNoReplyOut) {
  Own(2, 7);
  EXPECT_EQ(At(7), ShardVerdict::kWait) << "granted, without a term yet";
  shards.Renewed(kNow);
  const int64_t end_ns = kNow + kGrantTermNs;
  EXPECT_EQ(At(7, end_ns - 1), ShardVerdict::kRun);
  EXPECT_TRUE(shards.MayReply(2, 7, end_ns - 1));
  EXPECT_EQ(At(7, end_ns), ShardVerdict::kWait);
  EXPECT_EQ(At(kNoGeneration, end_ns), ShardVerdict::kRefuse);
  EXPECT_FALSE(shards.MayReply(2, 7, end_ns));
  shards.Renewed(kNow - kNanosPerSecond);
  EXPECT_EQ(shards.end_ns(), end_ns) << "an answer to an older request takes nothing away";
  shards.Renewed(end_ns);
  EXPECT_EQ(At(7, end_ns), ShardVerdict::kRun);
}

TEST_F(OwnedShardsTest, AReleaseRefusesNewCallsAndLetsRunningOnesReply) {
  shards.Renewed(kNow);
  Own(2, 7);
  EXPECT_FALSE(shards.BeginRelease(2, 6));
  EXPECT_TRUE(shards.BeginRelease(2, 7));
  EXPECT_EQ(At(7), ShardVerdict::kRefuse);
  EXPECT_EQ(At(kNoGeneration), ShardVerdict::kRefuse);
  EXPECT_TRUE(shards.MayReply(2, 7, kNow));
  EXPECT_TRUE(shards.Release(2, 7));
  EXPECT_FALSE(shards.MayReply(2, 7, kNow));
  EXPECT_EQ(At(7), ShardVerdict::kRefuse) << "released ones are remembered";
  EXPECT_FALSE(shards.Grant(2, 7));
  EXPECT_TRUE(shards.Name(2, 9));
  EXPECT_EQ(At(9), ShardVerdict::kWait);
}

TEST_F(OwnedShardsTest, WhatWasOnlyNamedIsReleasedAtOnce) {
  EXPECT_TRUE(shards.Name(2, 7));
  EXPECT_TRUE(shards.Release(2, 7));
  EXPECT_EQ(At(7), ShardVerdict::kRefuse);
}

TEST_F(OwnedShardsTest, WhatIsOldChangesNothing) {
  Own(2, 7);
  EXPECT_FALSE(shards.Name(2, 7));
  EXPECT_FALSE(shards.Name(2, 6));
  EXPECT_FALSE(shards.Grant(2, 8));
  EXPECT_EQ(shards.phase(2), ShardPhase::kGranted);
  EXPECT_EQ(shards.generation(2), 7u);
}

TEST_F(OwnedShardsTest, AHigherGenerationStartsOver) {
  shards.Renewed(kNow);
  Own(2, 7);
  EXPECT_TRUE(shards.Name(2, 8));
  EXPECT_EQ(At(8), ShardVerdict::kWait);
  EXPECT_EQ(At(7), ShardVerdict::kRefuse);
  EXPECT_FALSE(shards.MayReply(2, 7, kNow));
}

TEST_F(OwnedShardsTest, AResyncTakesWhatItDoesNotMention) {
  shards.Renewed(kNow);
  Own(1, 5);
  Own(2, 7);
  shards.BeginResync();
  EXPECT_EQ(At(7), ShardVerdict::kRun) << "until it has ended";
  EXPECT_FALSE(shards.Name(1, 5));
  shards.EndResync();
  EXPECT_EQ(shards.phase(0), ShardPhase::kUnknown);
  EXPECT_EQ(shards.phase(1), ShardPhase::kGranted);
  EXPECT_EQ(shards.phase(2), ShardPhase::kReleased);
  EXPECT_FALSE(shards.MayReply(2, 7, kNow));
}

// The write that was to give it to another may have failed.
TEST_F(OwnedShardsTest, WhatWasOnlyNamedMayBeNamedAgainAfterAResyncAndWhatWasGrantedNot) {
  shards.Renewed(kNow);
  Own(1, 5);
  EXPECT_TRUE(shards.Name(2, 7));
  shards.BeginResync();
  shards.EndResync();
  EXPECT_EQ(At(7), ShardVerdict::kRefuse);
  EXPECT_FALSE(shards.Name(2, 6));
  EXPECT_TRUE(shards.Name(2, 7));
  EXPECT_TRUE(shards.Grant(2, 7));
  EXPECT_EQ(At(7), ShardVerdict::kRun);
  EXPECT_FALSE(shards.Name(1, 5));
  EXPECT_FALSE(shards.Grant(1, 5));
}

}  // namespace
}  // namespace lever::policy
