// What the controller of a service's shards makes of the loads that their owners report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/policy/placement.h"
#include "tests/host/scale/shard_controller_fixture.h"

namespace lever::scale {
namespace {

using ::testing::SizeIs;

class ShardLoadsTest : public ShardControllerTest {
 protected:
  // Two instances with two shards each; `hot_` are those of "a".
  void StartTwo() {
    Start();
    for (const char* instance : {"a", "b"}) Session(instance);
    Eligible({"a", "b"});
    LiveOn(kSecond, {});
    for (uint32_t i = 0; i < kShards; ++i) {
      if (OwnerNames()[i] == "a") hot_.push_back(i);
    }
    ASSERT_THAT(hot_, SizeIs(2));
  }
  void Report(const std::string& instance, const std::vector<uint32_t>& shards,
              uint32_t calls_milli, uint32_t streams = 0) {
    fleet::ShardLoadsData data;
    data.window_ns = kSecond;
    for (const uint32_t shard : shards) data.loads.push_back({shard, calls_milli, streams});
    Do([&] { controller().OnLoads(instance, data, 0.5); });
  }
  // Seconds in which `hot` have five calls in flight each, wherever they are.
  void LiveOn(int64_t for_ns, const std::vector<uint32_t>& hot) {
    for (int64_t passed = 0; passed < for_ns; passed += kSecond) {
      world.Live(kSecond);
      for (const char* instance : {"a", "b"}) {
        Renew(instance, ++renewals_);
        std::vector<uint32_t> owned;
        for (const uint32_t shard : hot) {
          if (OwnerNames()[shard] == instance) owned.push_back(shard);
        }
        Report(instance, owned, 5 * policy::kLoadOfACall);
      }
      ReleaseAll();
    }
  }
  void ReleaseAll() {
    for (const char* instance : {"a", "b"}) {
      const auto asked = shell().Orders(instance, ShardOrderKind::kRelease);
      shell().told.erase(instance);
      for (const ShardOrderData& order : asked) {
        Release(instance, order);
        ++released_;
      }
    }
  }
  std::vector<uint32_t> hot_;
  uint64_t renewals_ = 0;
  int released_ = 0;
};

TEST_F(ShardLoadsTest, HotShardsOfOneInstanceGoApart) {
  StartTwo();
  LiveOn(60 * kSecond, hot_);
  EXPECT_NE(OwnerNames()[hot_[0]], OwnerNames()[hot_[1]]);
  EXPECT_EQ(released_, 2) << "one goes, and one comes for it";
  const std::vector<std::string> owners = OwnerNames();
  LiveOn(120 * kSecond, hot_);
  EXPECT_EQ(OwnerNames(), owners);
  EXPECT_EQ(released_, 2);
}

TEST_F(ShardLoadsTest, NothingMovesForASingleOneOrForWhatOthersSayOfIt) {
  StartTwo();
  const std::vector<std::string> owners = OwnerNames();
  LiveOn(120 * kSecond, {hot_[0]});
  EXPECT_EQ(OwnerNames(), owners);
  for (int i = 0; i < 60; ++i) {
    LiveOn(kSecond, {hot_[0]});
    // Which is not its, and some that there are not.
    Report("b", {hot_[1], kShards, UINT32_MAX}, UINT32_MAX, UINT32_MAX);
  }
  EXPECT_EQ(OwnerNames(), owners);
}

TEST_F(ShardLoadsTest, StreamsCountByTheirWeight) {
  StartTwo();
  for (int i = 0; i < 60; ++i) {
    LiveOn(kSecond, {});
    if (OwnerNames()[hot_[0]] == OwnerNames()[hot_[1]]) Report("a", hot_, 0, 10);
  }
  EXPECT_NE(OwnerNames()[hot_[0]], OwnerNames()[hot_[1]]);
}

// What somebody asks for is all that moves then.
TEST_F(ShardLoadsTest, AWishMovesNothingElse) {
  StartTwo();
  LiveOn(20 * kSecond, hot_);
  ASSERT_EQ(released_, 0) << "it is too soon";
  std::vector<std::string> owners = OwnerNames();
  Do([&] {
    EXPECT_TRUE(controller().Change(hot_[0], policy::ShardChange::kPause, "").ok());
  });
  ReleaseAll();
  owners[hot_[0]] = "";
  EXPECT_EQ(OwnerNames(), owners);
}

}  // namespace
}  // namespace lever::scale
