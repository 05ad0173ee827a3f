#include "liblever/policy/shard_balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

namespace lever::policy {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;

// A service whose owners report once a second what their shards have in flight, and whose shards move
// as the controller of them would have it.
class Service {
 public:
  Service(size_t shards, size_t instances) : balance_(static_cast<uint32_t>(shards)), shards_(shards) {
    for (size_t i = 0; i < instances; ++i) ids_.push_back("i-" + std::to_string(i));
    Place();
  }
  size_t OwnerOf(size_t shard) const { return shards_[shard].owner; }
  // The shards of an instance.
  std::vector<size_t> Of(size_t instance) const {
    std::vector<size_t> owned;
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (shards_[i].owner == instance) owned.push_back(i);
    }
    return owned;
  }
  // `load` says what a shard has in flight in this second. Returns how many moved.
  template <typename Load>
  size_t Second(Load load) {
    now_ns_ += kSecond;
    for (size_t i = 0; i < shards_.size(); ++i) {
      const double in_flight = load(i);
      if (in_flight > 0) {
        balance_.Observe(now_ns_, static_cast<uint32_t>(i),
                         static_cast<uint32_t>(in_flight * kLoadOfACall), kSecond);
      }
      shards_[i].load = balance_.LoadAt(now_ns_, static_cast<uint32_t>(i));
    }
    const std::vector<PlacementInstance> instances = Instances();
    if (!balance_.ShouldMove(now_ns_, instances, shards_)) return 0;
    return Place();
  }
  template <typename Load>
  size_t Seconds(int seconds, Load load) {
    size_t moved = 0;
    for (int i = 0; i < seconds; ++i) moved += Second(load);
    return moved;
  }
  // Of the means: the fullest instance against the mean of all.
  double Ratio() const {
    std::vector<double> loads(ids_.size());
    double total = 0;
    for (const PlacementShard& shard : shards_) {
      loads[shard.owner] += shard.load;
      total += shard.load;
    }
    return *std::max_element(loads.begin(), loads.end()) * static_cast<double>(ids_.size()) / total;
  }

 private:
  std::vector<PlacementInstance> Instances() const {
    std::vector<PlacementInstance> instances;
    for (const std::string& id : ids_) instances.push_back({id});
    return instances;
  }
  size_t Place() {
    const std::vector<uint32_t> owners = PlaceShards(Instances(), shards_);
    size_t moved = 0;
    for (size_t i = 0; i < shards_.size(); ++i) {
      moved += owners[i] != shards_[i].owner ? 1 : 0;
      shards_[i].owner = owners[i];
    }
    return moved;
  }

  ShardBalance balance_;
  std::vector<std::string> ids_;
  std::vector<PlacementShard> shards_;
  int64_t now_ns_ = 1000 * kSecond;
};

TEST(ShardBalance, FollowsAStepAndForgetsWhatIsNotSaidAnyMore) {
  ShardBalance balance(2);
  int64_t now_ns = 1000 * kSecond;
  for (int i = 0; i < 15; ++i) balance.Observe(now_ns += kSecond, 0, 10'000, kSecond);
  EXPECT_NEAR(balance.LoadAt(now_ns, 0), 6'321, 5);
  EXPECT_EQ(balance.LoadAt(now_ns, 1), 0u);
  for (int i = 0; i < 300; ++i) balance.Observe(now_ns += kSecond, 0, 10'000, kSecond);
  EXPECT_NEAR(balance.LoadAt(now_ns, 0), 10'000, 5);
  EXPECT_NEAR(balance.LoadAt(now_ns + kShardLoadMeanNs, 0), 3'679, 5);
  balance.Observe(now_ns + 600 * kSecond, 0, 10'000, kSecond);
  EXPECT_LT(balance.LoadAt(now_ns + 600 * kSecond, 0), 700u) << "one second of ten minutes";
}

TEST(ShardBalance, HotShardsOfOneInstanceGoApart) {
  Service service(256, 4);
  const std::vector<size_t> of_one = service.Of(0);
  const std::set<size_t> hot(of_one.begin(), of_one.begin() + 8);
  const auto load = [&](size_t shard) { return hot.contains(shard) ? 5.0 : 0.0; };
  size_t moved = 0;
  int seconds = 0;
  for (; moved == 0 && seconds < 60; ++seconds) moved = service.Second(load);
  EXPECT_LE(seconds, 13) << "ten seconds, and what the means take to rise";
  EXPECT_GE(moved, 6u);
  EXPECT_LE(moved, 12u) << "the hot ones, and as many others for them";
  EXPECT_NEAR(service.Ratio(), 1, 0.01);
  EXPECT_EQ(service.Seconds(1000, load), 0u);
}

TEST(ShardBalance, ASingleHotShardMovesNothing) {
  Service service(256, 4);
  EXPECT_EQ(service.Seconds(1000, [](size_t shard) { return shard == 7 ? 20.0 : 0.0; }), 0u);
  // .. with a little beside it that could go, which would not be the cure.
  EXPECT_EQ(service.Seconds(1000, [](size_t shard) { return shard == 7 ? 20.0 : 0.02; }), 0u);
}

TEST(ShardBalance, NoiseMovesNothing) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::mt19937_64 random(seed);
    Service service(256, 4);
    std::poisson_distribution<int> arrivals(0.125);
    // 8 calls in flight an instance.
    EXPECT_EQ(service.Seconds(1000, [&](size_t) { return double(arrivals(random)); }), 0u) << seed;
  }
}

TEST(ShardBalance, BurstsAndHeavyTailsDoNotMakeItFlap) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::mt19937_64 random(seed);
    Service service(256, 4);
    // Each shard has a load of its own, heavy-tailed, and at any second half or twice as much.
    std::lognormal_distribution<double> of_shard(-1.5, 1.2);
    std::vector<double> loads(256);
    for (double& load : loads) load = of_shard(random);
    size_t moved = 0;
    for (int second = 0; second < 1000; ++second) {
      const bool burst = second % 100 < 5;
      moved += service.Second([&](size_t shard) {
        const double noise = std::uniform_real_distribution<double>(0.5, 2)(random);
        return loads[shard] * noise * (burst && shard % 16 == 3 ? 5 : 1);
      });
    }
    EXPECT_LE(moved, 8u) << "seed " << seed;
    EXPECT_LE(service.Ratio(), kRebalanceAbove) << "seed " << seed;
  }
}

TEST(ShardBalance, ABurstIsOverBeforeAnythingMoves) {
  Service service(256, 4);
  const size_t first = service.Of(0)[0];
  const size_t second = service.Of(0)[1];
  const auto burst = [&](size_t shard) { return shard == first || shard == second ? 10.0 : 0.1; };
  const auto calm = [](size_t) { return 0.1; };
  EXPECT_EQ(service.Seconds(100, calm), 0u);
  EXPECT_EQ(service.Seconds(4, burst), 0u);
  EXPECT_EQ(service.Seconds(100, calm), 0u);
  EXPECT_GT(service.Seconds(30, burst), 0u) << "and one that lasts is none";
}

TEST(ShardBalance, AHotSpotThatWandersMovesNoMoreThanTwiceAMinute) {
  Service service(256, 4);
  size_t times = 0;
  for (int minute = 0; minute < 10; ++minute) {
    for (int second = 0; second < 60; ++second) {
      const auto hot = service.Of(static_cast<size_t>(minute) % 4);
      const std::set<size_t> here(hot.begin(), hot.begin() + 4);
      times += service.Second([&](size_t shard) { return here.contains(shard) ? 5.0 : 0.1; }) > 0;
    }
  }
  EXPECT_GE(times, 1u);
  EXPECT_LE(times, 20u);
}

TEST(ShardBalance, WithoutInstancesOrLoadNothingIsToBeDone) {
  ShardBalance balance(4);
  const std::vector<PlacementShard> shards(4);
  EXPECT_FALSE(balance.ShouldMove(kSecond, {}, shards));
  const std::vector<PlacementInstance> instances = {{"a"}, {"b"}};
  EXPECT_FALSE(balance.ShouldMove(kSecond, instances, shards));
}

}  // namespace
}  // namespace lever::policy
