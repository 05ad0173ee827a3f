#include "liblever/policy/placement.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>

#include "liblever/policy/shard.h"

namespace lever::policy {
namespace {

class Placement {
 public:
  Placement(std::span<const PlacementInstance> instances, std::span<const PlacementShard> shards)
      : instances_(instances), shards_(shards), owners_(shards.size(), kNoInstance) {
    uint64_t load = 0;
    for (const PlacementShard& shard : shards) load += shard.load;
    cost_of_load_ = load == 0 ? 0 : static_cast<double>(shards.size()) / static_cast<double>(load);
    double weights = 0;
    for (const PlacementInstance& instance : instances) {
      if (instance.eligible) weights += instance.weight;
    }
    any_ = weights > 0;
    const double total = static_cast<double>(shards.size()) * (load == 0 ? 1 : 2);
    for (const PlacementInstance& instance : instances) {
      const double part = any_ && instance.eligible ? total * instance.weight / weights : 0;
      // Whole shards: a bound between two numbers of them could never be met.
      bounds_.push_back({.upper = std::max(part * (1 + kPlacementSlack), std::ceil(part)),
                         .lower = std::min(part * (1 - kPlacementSlack), std::floor(part))});
      upper_most_ = std::max(upper_most_, bounds_.back().upper);
    }
    used_.resize(instances.size());
    members_.resize(instances.size());
  }

  std::vector<uint32_t> Solve() {
    if (!any_) return std::move(owners_);
    Keep();
    for (uint32_t i = 0; i < instances_.size(); ++i) Shed(i);
    PlaceHomeless();
    Fill();
    return std::move(owners_);
  }

 private:
  double Cost(uint32_t shard) const { return 1 + shards_[shard].load * cost_of_load_; }
  // What an eligible instance would have with so much more, by its weight.
  double Fullness(uint32_t instance, double more) const {
    return (used_[instance] + more) / instances_[instance].weight;
  }

  void Give(uint32_t shard, uint32_t instance) {
    owners_[shard] = instance;
    used_[instance] += Cost(shard);
    members_[instance].push_back(shard);
  }

  void Keep() {
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      const uint32_t owner = shards_[shard].owner;
      if (owner < instances_.size() && instances_[owner].eligible) {
        Give(shard, owner);
      } else {
        homeless_.push_back(shard);
      }
    }
  }

  // The shards of an instance, those first that it scores lowest for.
  void SortByScore(uint32_t instance) {
    std::vector<std::pair<uint64_t, uint32_t>> scored;
    scored.reserve(members_[instance].size());
    for (const uint32_t shard : members_[instance]) {
      scored.emplace_back(OwnerScore(shard, instances_[instance].id), shard);
    }
    std::sort(scored.begin(), scored.end());
    std::transform(scored.begin(), scored.end(), members_[instance].begin(),
                   [](const auto& entry) { return entry.second; });
  }

  void Shed(uint32_t instance) {
    const double upper = bounds_[instance].upper;
    if (used_[instance] <= upper) return;
    SortByScore(instance);
    std::erase_if(members_[instance], [&](uint32_t shard) {
      const double cost = Cost(shard);
      // Too dear for anybody, or the last that it needs to give.
      if (used_[instance] <= upper || cost > upper_most_) return false;
      used_[instance] -= cost;
      owners_[shard] = kNoInstance;
      homeless_.push_back(shard);
      return true;
    });
  }

  void PlaceHomeless() {
    // The dear ones first, while there is room for them.
    std::sort(homeless_.begin(), homeless_.end(), [this](uint32_t a, uint32_t b) {
      return shards_[a].load != shards_[b].load ? shards_[a].load > shards_[b].load : a < b;
    });
    for (const uint32_t shard : homeless_) Give(shard, BestFor(shard));
  }

  uint32_t BestFor(uint32_t shard) const {
    uint32_t best = kNoInstance;
    uint64_t best_score = 0;
    uint32_t emptiest = kNoInstance;
    for (uint32_t i = 0; i < instances_.size(); ++i) {
      if (!instances_[i].eligible) continue;
      if (emptiest == kNoInstance || Fullness(i, 0) < Fullness(emptiest, 0)) emptiest = i;
      if (used_[i] + Cost(shard) > bounds_[i].upper) continue;
      const uint64_t score = OwnerScore(shard, instances_[i].id);
      if (best == kNoInstance || score > best_score ||
          (score == best_score && instances_[i].id < instances_[best].id)) {
        best = i;
        best_score = score;
      }
    }
    if (best != kNoInstance) return best;
    // Nobody has room: it moves only where that makes the two more alike.
    const uint32_t owner = shards_[shard].owner;
    const bool may_stay = owner < instances_.size() && instances_[owner].eligible;
    return may_stay && Fullness(owner, 0) <= Fullness(emptiest, Cost(shard)) ? owner : emptiest;
  }

  // Those below the lower bound take from the others what they score highest for.
  void Fill() {
    for (uint32_t i = 0; i < instances_.size(); ++i) {
      if (!instances_[i].eligible || used_[i] >= bounds_[i].lower) continue;
      const std::vector<uint32_t> wanted = ByScoreFor(i);
      // First from those who stay above the bound themselves, then from whoever has more.
      TakeFor(i, wanted, [this](uint32_t owner, double cost) {
        return used_[owner] - cost >= bounds_[owner].lower;
      });
      TakeFor(i, wanted, [this, i](uint32_t owner, double cost) {
        return Fullness(owner, -cost) >= Fullness(i, cost);
      });
    }
  }

  // The shards of all others, those first that the instance scores highest for.
  std::vector<uint32_t> ByScoreFor(uint32_t instance) const {
    std::vector<std::pair<uint64_t, uint32_t>> scored;
    for (uint32_t shard = 0; shard < owners_.size(); ++shard) {
      if (owners_[shard] == instance) continue;
      scored.emplace_back(OwnerScore(shard, instances_[instance].id), shard);
    }
    std::sort(scored.begin(), scored.end(), std::greater<>());
    std::vector<uint32_t> wanted;
    wanted.reserve(scored.size());
    for (const auto& [score, shard] : scored) wanted.push_back(shard);
    return wanted;
  }

  template <typename MayGive>
  void TakeFor(uint32_t instance, const std::vector<uint32_t>& wanted, MayGive may_give) {
    for (const uint32_t shard : wanted) {
      if (used_[instance] >= bounds_[instance].lower) return;
      const uint32_t owner = owners_[shard];
      const double cost = Cost(shard);
      if (owner == instance || used_[instance] + cost > bounds_[instance].upper) continue;
      if (!may_give(owner, cost)) continue;
      used_[owner] -= cost;
      used_[instance] += cost;
      owners_[shard] = instance;
    }
  }

  std::span<const PlacementInstance> instances_;
  std::span<const PlacementShard> shards_;
  std::vector<uint32_t> owners_;
  std::vector<double> used_;                    // by instance
  std::vector<std::vector<uint32_t>> members_;  // by instance
  std::vector<uint32_t> homeless_;
  double cost_of_load_ = 0;
  struct Bounds {
    double upper = 0;
    double lower = 0;
  };
  std::vector<Bounds> bounds_;  // by instance
  double upper_most_ = 0;
  bool any_ = false;
};

}  // namespace

std::vector<uint32_t> PlaceShards(std::span<const PlacementInstance> instances,
                                  std::span<const PlacementShard> shards) {
  return Placement(instances, shards).Solve();
}

}  // namespace lever::policy
