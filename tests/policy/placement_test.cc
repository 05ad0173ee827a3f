#include "liblever/policy/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "liblever/policy/shard.h"

namespace lever::policy {
namespace {

// Some instances with their shards, placed anew as they come and go.
class Fleet {
 public:
  explicit Fleet(size_t shards) : shards_(shards) {}

  void Add(std::string id, double weight = 1) {
    ids_.push_back(std::move(id));
    eligible_.push_back(true);
    weights_.push_back(weight);
  }
  void Weigh(size_t instance, double weight) { weights_[instance] = weight; }
  void Retire(size_t instance) { eligible_[instance] = false; }
  PlacementShard& shard(size_t i) { return shards_[i]; }

  // Returns how many shards moved.
  size_t Place() {
    std::vector<PlacementInstance> instances;
    for (size_t i = 0; i < ids_.size(); ++i) {
      instances.push_back({ids_[i], eligible_[i], weights_[i]});
    }
    const std::vector<uint32_t> owners = PlaceShards(instances, shards_);
    size_t moved = 0;
    for (size_t i = 0; i < shards_.size(); ++i) {
      moved += shards_[i].owner != owners[i] ? 1 : 0;
      shards_[i].owner = owners[i];
    }
    return moved;
  }

  std::vector<uint32_t> Counts() const {
    std::vector<uint32_t> counts(ids_.size());
    for (const PlacementShard& shard : shards_) ++counts.at(shard.owner);
    return counts;
  }
  std::vector<uint64_t> Loads() const {
    std::vector<uint64_t> loads(ids_.size());
    for (const PlacementShard& shard : shards_) loads.at(shard.owner) += shard.load;
    return loads;
  }

 private:
  std::vector<std::string> ids_;
  std::vector<bool> eligible_;
  std::vector<double> weights_;
  std::vector<PlacementShard> shards_;
};

TEST(Placement, WithoutAnEligibleInstanceNobodyOwnsAnything) {
  Fleet fleet(4);
  fleet.Add("a");
  fleet.Retire(0);
  fleet.Place();
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(fleet.shard(i).owner, kNoInstance);
  EXPECT_TRUE(PlaceShards({}, {}).empty());
}

TEST(Placement, OneInstanceOwnsAll) {
  Fleet fleet(256);
  fleet.Add("a");
  EXPECT_EQ(fleet.Place(), 256u);
  EXPECT_EQ(fleet.Place(), 0u);
}

TEST(Placement, InstancesHaveAlikeNumbersAndNothingMovesWithoutCause) {
  for (const size_t shards : {1u, 2u, 4u, 16u, 256u, 4096u}) {
    Fleet fleet(shards);
    for (size_t count = 1; count <= 12; ++count) {
      fleet.Add("i-" + std::to_string(count));
      fleet.Place();
      const double mean = static_cast<double>(shards) / static_cast<double>(count);
      for (const uint32_t owned : fleet.Counts()) {
        EXPECT_LE(owned, std::max(std::ceil(mean), mean * (1 + kPlacementSlack)));
        EXPECT_GE(owned, std::min(std::floor(mean), std::floor(mean * (1 - kPlacementSlack))));
      }
      EXPECT_EQ(fleet.Place(), 0u) << shards << " shards, " << count << " instances";
    }
  }
}

TEST(Placement, AnInstanceThatComesTakesNoMoreThanItsPart) {
  Fleet fleet(1024);
  for (size_t count = 1; count <= 8; ++count) {
    fleet.Add("i-" + std::to_string(count));
    const size_t moved = fleet.Place();
    if (count > 1) {
      EXPECT_LE(moved, 1024 / count + 1) << count;
    }
  }
}

TEST(Placement, OnlyTheShardsOfAnInstanceThatGoesMove) {
  Fleet fleet(1024);
  for (const char* id : {"a", "b", "c", "d", "e"}) fleet.Add(id);
  fleet.Place();
  const uint32_t owned = fleet.Counts()[2];
  fleet.Retire(2);
  // Those that stay are below the upper bound, which has risen.
  EXPECT_EQ(fleet.Place(), owned);
  EXPECT_EQ(fleet.Counts()[2], 0u);
}

// What an instance with its part of the load may have, and one that is the part of a single shard.
void ExpectSpread(Fleet& fleet, size_t shards) {
  const std::vector<uint64_t> loads = fleet.Loads();
  const std::vector<uint32_t> counts = fleet.Counts();
  const double n = static_cast<double>(loads.size());
  const double mean = std::accumulate(loads.begin(), loads.end(), 0.0) / n;
  const double part = static_cast<double>(shards) / n;
  for (size_t i = 0; i < loads.size(); ++i) {
    double most = 0;
    for (size_t shard = 0; shard < shards; ++shard) {
      if (fleet.shard(shard).owner == i) most = std::max<double>(most, fleet.shard(shard).load);
    }
    EXPECT_LE(loads[i], std::max({mean * (1 + kPlacementSlack), mean + kPlacementLoadMin,
                                 most + kPlacementGainMin}));
    EXPECT_LE(counts[i], std::max(std::ceil(part), part * (1 + kPlacementSlack)));
  }
}

TEST(Placement, LoadIsSpreadAsWell) {
  std::mt19937 random(7);
  std::lognormal_distribution<double> load(2, 1.5);
  for (int round = 0; round < 20; ++round) {
    Fleet fleet(256);
    for (size_t i = 0; i < 6; ++i) fleet.Add("i-" + std::to_string(i));
    for (size_t i = 0; i < 256; ++i) {
      fleet.shard(i).load = static_cast<uint32_t>(load(random) * kLoadOfACall / 10);
    }
    fleet.Place();
    ExpectSpread(fleet, 256);
    EXPECT_EQ(fleet.Place(), 0u);
  }
}

TEST(Placement, HotShardsGoApartAndNothingElseMoves) {
  for (uint32_t hot = 2; hot <= 4; ++hot) {
    Fleet fleet(256);
    for (const char* id : {"a", "b", "c", "d"}) fleet.Add(id);
    fleet.Place();
    std::vector<size_t> hot_shards;
    for (size_t i = 0; hot_shards.size() < hot; ++i) {
      if (fleet.shard(i).owner != 0) continue;
      fleet.shard(i).load = 10 * kLoadOfACall;
      hot_shards.push_back(i);
    }
    // One stays; for each that goes, another may come, so that the numbers stay alike.
    const size_t moved = fleet.Place();
    EXPECT_GE(moved, hot - 1);
    EXPECT_LE(moved, 2 * (hot - 1));
    std::vector<uint32_t> owners;
    for (const size_t shard : hot_shards) owners.push_back(fleet.shard(shard).owner);
    std::sort(owners.begin(), owners.end());
    EXPECT_EQ(std::unique(owners.begin(), owners.end()), owners.end()) << hot;
    EXPECT_EQ(fleet.Place(), 0u);
  }
}

TEST(Placement, AShardTooHotForAnybodyStaysAndTheLoadBesideItGoes) {
  Fleet fleet(64);
  for (const char* id : {"a", "b", "c", "d"}) fleet.Add(id);
  fleet.Place();
  const uint32_t owner = fleet.shard(5).owner;
  fleet.shard(5).load = 100 * kLoadOfACall;
  EXPECT_EQ(fleet.Place(), 0u) << "nothing would be better elsewhere";
  for (size_t i = 0; i < 64; ++i) {
    if (i != 5) fleet.shard(i).load = 2 * kLoadOfACall;
  }
  fleet.Place();
  EXPECT_EQ(fleet.shard(5).owner, owner);
  EXPECT_LE(fleet.Counts()[owner], 18u);
  EXPECT_EQ(fleet.Place(), 0u);
}

TEST(Placement, AnInstanceThatComesTakesItsPartOfTheLoad) {
  Fleet fleet(256);
  for (const char* id : {"a", "b", "c"}) fleet.Add(id);
  fleet.Place();
  for (size_t i = 0; i < 8; ++i) fleet.shard(i * 31).load = 6 * kLoadOfACall;
  fleet.Place();
  fleet.Add("d");
  const size_t moved = fleet.Place();
  EXPECT_LE(moved, 64u + 10);
  for (const uint64_t load : fleet.Loads()) EXPECT_EQ(load, 12u * kLoadOfACall);
  EXPECT_EQ(fleet.Place(), 0u);
}

TEST(Placement, LessThanACallInFlightMovesNothing) {
  Fleet fleet(16);
  for (const char* id : {"a", "b"}) fleet.Add(id);
  fleet.Place();
  for (size_t i = 0; i < 16; ++i) {
    if (fleet.shard(i).owner == 0) fleet.shard(i).load = kLoadOfACall / 8;
  }
  EXPECT_EQ(fleet.Place(), 0u);
}

TEST(Placement, WithoutItsLoadsAPlacementByLoadStays) {
  std::mt19937 random(5);
  std::exponential_distribution<double> load(0.5);
  for (int round = 0; round < 100; ++round) {
    const size_t shards = size_t{1} << (1 + random() % 9);
    Fleet fleet(shards);
    for (size_t step = 0; step < 6; ++step) {
      fleet.Add("i-" + std::to_string(step), 1 + random() % 3);
      std::vector<uint32_t> loads(shards);
      for (size_t i = 0; i < shards; ++i) {
        fleet.shard(i).load = loads[i] = static_cast<uint32_t>(load(random) * 5 * kLoadOfACall);
      }
      fleet.Place();
      EXPECT_EQ(fleet.Place(), 0u) << "round " << round << ", step " << step;
      for (size_t i = 0; i < shards; ++i) fleet.shard(i).load = 0;
      EXPECT_EQ(fleet.Place(), 0u) << "round " << round << ", step " << step;
    }
  }
}

TEST(Placement, RandomFleetsSettleInOneStep) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    Fleet fleet(size_t{1} << (random() % 10));
    size_t instances = 0;
    for (int step = 0; step < 12; ++step) {
      if (instances == 0 || random() % 3 != 0) {
        fleet.Add("i-" + std::to_string(instances++));
      } else {
        fleet.Retire(random() % instances);
      }
      fleet.Place();
      EXPECT_EQ(fleet.Place(), 0u) << "round " << round << ", step " << step;
    }
  }
}

TEST(Placement, InstancesHaveShardsByTheirWeights) {
  Fleet fleet(256);
  for (const char* id : {"a", "b", "c"}) fleet.Add(id, 3000);
  fleet.Place();
  // A tenth for one that comes, as if it were a canary.
  fleet.Add("canary", 1000);
  const size_t moved = fleet.Place();
  std::vector<uint32_t> counts = fleet.Counts();
  EXPECT_GE(counts[3], 22u);
  EXPECT_LE(counts[3], 29u);
  EXPECT_LE(moved, counts[3] + 8) << "few move but those that it takes";
  EXPECT_EQ(fleet.Place(), 0u);
  // A half, and a tenth again.
  fleet.Weigh(3, 9000);
  fleet.Place();
  counts = fleet.Counts();
  EXPECT_GE(counts[3], 112u);
  EXPECT_LE(counts[3], 144u);
  fleet.Weigh(3, 1000);
  fleet.Place();
  EXPECT_LE(fleet.Counts()[3], 29u);
  fleet.Retire(3);
  fleet.Place();
  EXPECT_EQ(fleet.Counts()[3], 0u);
}

}  // namespace
}  // namespace lever::policy
