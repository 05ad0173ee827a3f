#include "liblever/service/shard_loads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace lever::service {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kSecond = kNanosPerSecond;
constexpr int64_t kStart = 1000 * kSecond;

class ShardLoadsTest : public ::testing::Test {
 protected:
  ShardLoadsTest() { loads.SetShards(1024); }
  // Of the only shard that there is to report.
  ShardLoad TakeOne(int64_t now_ns) {
    const ShardLoadsReport report = loads.Take(now_ns);
    EXPECT_THAT(report.loads, SizeIs(1));
    return report.loads.empty() ? ShardLoad() : report.loads[0];
  }
  ShardLoads loads;
};

TEST_F(ShardLoadsTest, WithoutCallsThereIsNothingToReport) {
  EXPECT_FALSE(loads.Due(kStart));
  EXPECT_THAT(loads.Take(kStart).loads, IsEmpty());
}

TEST_F(ShardLoadsTest, CallsCountForTheTimeThatTheyTake) {
  loads.Take(kStart);
  loads.CallBegan(7, kStart);
  loads.CallBegan(7, kStart + kSecond / 4);
  loads.CallEnded(7, kStart + kSecond / 2);
  EXPECT_FALSE(loads.Due(kStart + kSecond - 1));
  EXPECT_TRUE(loads.Due(kStart + kSecond));
  const ShardLoad first = TakeOne(kStart + kSecond);
  EXPECT_EQ(first.shard, 7u);
  EXPECT_EQ(first.streams, 0u);
  EXPECT_NEAR(first.calls_milli, 1250, 1) << "one all the time, one for a quarter";
  // It is still there.
  EXPECT_EQ(TakeOne(kStart + 2 * kSecond).calls_milli, 1000u);
  loads.CallEnded(7, kStart + 2 * kSecond + kSecond / 10);
  EXPECT_EQ(TakeOne(kStart + 3 * kSecond).calls_milli, 100u);
  EXPECT_FALSE(loads.Due(kStart + 60 * kSecond)) << "and then no more";
}

// The clock of a loop stands still during its turn.
TEST_F(ShardLoadsTest, CallsThatTakeNoTimeCountAllTheSame) {
  loads.Take(kStart);
  for (int i = 0; i < 5000; ++i) {
    loads.CallBegan(3, kStart + i);
    loads.CallEnded(3, kStart + i);
  }
  EXPECT_NEAR(TakeOne(kStart + kSecond).calls_milli, 500, 1);
}

TEST_F(ShardLoadsTest, StreamsCountAsLongAsTheyAreOpen) {
  loads.Take(kStart);
  loads.StreamBegan(3, kStart);
  loads.StreamBegan(3, kStart);
  EXPECT_EQ(TakeOne(kStart + kSecond).streams, 2u);
  loads.StreamEnded(3);
  EXPECT_EQ(TakeOne(kStart + 2 * kSecond).streams, 1u);
  loads.StreamEnded(3);
  loads.Take(kStart + 3 * kSecond);
  EXPECT_FALSE(loads.Due(kStart + 60 * kSecond));
}

TEST_F(ShardLoadsTest, AfterAPauseAReportIsOfTheTimeSinceThereWasSomethingAgain) {
  loads.CallBegan(1, kStart + 3600 * kSecond);
  const ShardLoadsReport report = loads.Take(kStart + 3600 * kSecond + kSecond / 2);
  EXPECT_LE(report.window_ns, static_cast<uint64_t>(2 * kSecond));
  ASSERT_THAT(report.loads, SizeIs(1));
  EXPECT_GT(report.loads[0].calls_milli, 300u);
}

TEST_F(ShardLoadsTest, OfManyThoseWithTheMostAreReported) {
  loads.Take(kStart);
  for (uint32_t shard = 0; shard < 1000; ++shard) {
    loads.CallBegan(shard, kStart);
    loads.CallEnded(shard, kStart + shard * (kSecond / 1000));
  }
  loads.StreamBegan(0, kStart);
  for (int i = 0; i < 9; ++i) loads.StreamBegan(0, kStart);
  const ShardLoadsReport report = loads.Take(kStart + kSecond);
  EXPECT_THAT(report.loads, SizeIs(ShardLoads::kReportedMax));
  std::set<uint32_t> shards;
  for (const ShardLoad& load : report.loads) shards.insert(load.shard);
  EXPECT_TRUE(shards.contains(0)) << "ten streams are as much as a call";
  EXPECT_TRUE(shards.contains(999));
  EXPECT_FALSE(shards.contains(700));
}

TEST_F(ShardLoadsTest, WhatBeganBeforeTheNumberOfShardsWasKnownIsNotCounted) {
  ShardLoads unknown;
  unknown.CallBegan(3, kStart);
  unknown.StreamBegan(3, kStart);
  unknown.SetShards(4);
  unknown.CallEnded(3, kStart);
  unknown.StreamEnded(3);
  unknown.CallBegan(4, kStart);
  EXPECT_FALSE(unknown.Due(kStart + 60 * kSecond));
  unknown.CallBegan(3, kStart);
  unknown.SetShards(8);
  EXPECT_THAT(unknown.Take(kStart + kSecond).loads, SizeIs(1)) << "their number stays";
}

}  // namespace
}  // namespace lever::service
