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
    double load = 0;
    for (const PlacementShard& shard : shards) load += shard.load;
    double weights = 0;
    for (const PlacementInstance& instance : instances) {
      if (instance.eligible) weights += instance.weight;
    }
    any_ = weights > 0;
    const double count = static_cast<double>(shards.size());
    for (const PlacementInstance& instance : instances) {
      const double share = any_ && instance.eligible ? instance.weight / weights : 0;
      const double part = count * share;
      // Whole shards: a bound between two numbers of them could never be met.
      bounds_.push_back({.upper = std::max(part * (1 + kPlacementSlack), std::ceil(part)),
                         .lower = std::min(part * (1 - kPlacementSlack), std::floor(part)),
                         .load = load * share + std::max(load * share * kPlacementSlack,
                                                         static_cast<double>(kPlacementLoadMin))});
    }
    loads_.resize(instances.size());
    numbers_.resize(instances.size());
    members_.resize(instances.size());
  }

  std::vector<uint32_t> Solve() {
    if (!any_) return std::move(owners_);
    Keep();
    for (uint32_t i = 0; i < instances_.size(); ++i) Shed(i);
    PlaceHomeless();
    Fill();
    SpreadLoad();
    return std::move(owners_);
  }

 private:
  double Number(uint32_t instance) const { return static_cast<double>(numbers_[instance]); }
  // What an eligible instance would have with so much more, by its weight.
  double Fullness(uint32_t instance, double more) const {
    return (Number(instance) + more) / instances_[instance].weight;
  }
  double Load(uint32_t instance, double more) const {
    return (loads_[instance] + more) / instances_[instance].weight;
  }

  void Give(uint32_t shard, uint32_t instance) {
    owners_[shard] = instance;
    loads_[instance] += shards_[shard].load;
    ++numbers_[instance];
  }

  void Take(uint32_t shard) {
    const uint32_t owner = std::exchange(owners_[shard], kNoInstance);
    loads_[owner] -= shards_[shard].load;
    --numbers_[owner];
  }

  void Move(uint32_t shard, uint32_t to) {
    std::erase(members_[owners_[shard]], shard);
    Take(shard);
    Give(shard, to);
    members_[to].push_back(shard);
  }

  void ListMembers() {
    for (std::vector<uint32_t>& members : members_) members.clear();
    for (uint32_t shard = 0; shard < owners_.size(); ++shard) {
      if (owners_[shard] != kNoInstance) members_[owners_[shard]].push_back(shard);
    }
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
    ListMembers();
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
    if (Number(instance) <= upper) return;
    SortByScore(instance);
    for (const uint32_t shard : members_[instance]) {
      if (Number(instance) <= upper) return;
      Take(shard);
      homeless_.push_back(shard);
    }
  }

  void PlaceHomeless() {
    // Those with the most load first, while there is room for them.
    std::sort(homeless_.begin(), homeless_.end(), [this](uint32_t a, uint32_t b) {
      return shards_[a].load != shards_[b].load ? shards_[a].load > shards_[b].load : a < b;
    });
    for (const uint32_t shard : homeless_) Give(shard, BestFor(shard));
  }

  // The highest score with room in both respects; without room for its load, the least loaded one
  // that may have one more.
  uint32_t BestFor(uint32_t shard) const {
    const double load = shards_[shard].load;
    uint32_t best = kNoInstance;
    uint64_t best_score = 0;
    uint32_t coolest = kNoInstance;
    uint32_t emptiest = kNoInstance;
    for (uint32_t i = 0; i < instances_.size(); ++i) {
      if (!instances_[i].eligible) continue;
      if (emptiest == kNoInstance || Fullness(i, 0) < Fullness(emptiest, 0)) emptiest = i;
      if (Number(i) + 1 > bounds_[i].upper) continue;
      if (coolest == kNoInstance || Load(i, 0) < Load(coolest, 0)) coolest = i;
      if (load > 0 && loads_[i] + load > bounds_[i].load) continue;
      const uint64_t score = OwnerScore(shard, instances_[i].id);
      if (best == kNoInstance || score > best_score ||
          (score == best_score && instances_[i].id < instances_[best].id)) {
        best = i;
        best_score = score;
      }
    }
    if (best != kNoInstance) return best;
    return coolest != kNoInstance ? coolest : emptiest;
  }

  // Those below the lower bound take from the others what they score highest for.
  void Fill() {
    for (uint32_t i = 0; i < instances_.size(); ++i) {
      if (!instances_[i].eligible || Number(i) >= bounds_[i].lower) continue;
      const std::vector<uint32_t> wanted = ByScoreFor(i);
      // First from those who stay above the bound themselves, then from whoever has more.
      TakeFor(i, wanted, [this](uint32_t owner) {
        return Number(owner) - 1 >= bounds_[owner].lower;
      });
      TakeFor(i, wanted, [this, i](uint32_t owner) {
        return Fullness(owner, -1) >= Fullness(i, 1);
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
      if (Number(instance) >= bounds_[instance].lower) return;
      if (owners_[shard] == instance || Number(instance) + 1 > bounds_[instance].upper) continue;
      if (!may_give(owners_[shard])) continue;
      Take(shard);
      Give(shard, instance);
    }
  }

  // ---- Loads ----

  // A step makes two instances more alike, and so ends; a bound all the same, in case that numbers
  // with a fraction do not.
  void SpreadLoad() {
    ListMembers();
    for (size_t steps = 0; steps < 2 * shards_.size() + 8; ++steps) {
      if (!RelieveOne()) return;
    }
  }

  // The most loaded one that can be relieved.
  bool RelieveOne() {
    std::vector<uint32_t> by_load;
    for (uint32_t i = 0; i < instances_.size(); ++i) {
      if (instances_[i].eligible) by_load.push_back(i);
    }
    std::sort(by_load.begin(), by_load.end(), [this](uint32_t a, uint32_t b) {
      return Load(a, 0) != Load(b, 0) ? Load(a, 0) > Load(b, 0)
                                      : instances_[a].id < instances_[b].id;
    });
    for (const uint32_t hot : by_load) {
      if (loads_[hot] > bounds_[hot].load && Relieve(hot, by_load.back())) return true;
    }
    return false;
  }

  bool Relieve(uint32_t hot, uint32_t cool) {
    if (hot == cool) return false;
    uint32_t back = kNoInstance;  // that comes for it, where the bounds on numbers want that
    if (Number(cool) + 1 > bounds_[cool].upper || Number(hot) - 1 < bounds_[hot].lower) {
      back = LeastLoaded(cool);
      if (back == kNoInstance) return false;
    }
    const double returned = back == kNoInstance ? 0 : shards_[back].load;
    // What the fuller of the two may have afterwards, so that it is worth a move.
    double best = Load(hot, 0) - kPlacementGainMin / instances_[hot].weight;
    uint32_t moved = kNoInstance;
    SortByScore(hot);
    for (const uint32_t shard : members_[hot]) {
      const double more = shards_[shard].load - returned;
      if (more <= 0) continue;
      const double fuller = std::max(Load(hot, -more), Load(cool, more));
      if (fuller >= best) continue;
      best = fuller;
      moved = shard;
    }
    if (moved == kNoInstance) return false;
    Move(moved, cool);
    if (back != kNoInstance) Move(back, hot);
    return true;
  }

  // Of equal ones that which the instance scores lowest for.
  uint32_t LeastLoaded(uint32_t instance) {
    SortByScore(instance);
    const auto least = std::min_element(
        members_[instance].begin(), members_[instance].end(),
        [this](uint32_t a, uint32_t b) { return shards_[a].load < shards_[b].load; });
    return least == members_[instance].end() ? kNoInstance : *least;
  }

  struct Bounds {
    double upper = 0;  // shards
    double lower = 0;
    double load = 0;
  };
  std::span<const PlacementInstance> instances_;
  std::span<const PlacementShard> shards_;
  std::vector<uint32_t> owners_;
  std::vector<double> loads_;      // by instance, as are those that follow
  std::vector<uint32_t> numbers_;  // of shards
  std::vector<std::vector<uint32_t>> members_;  // where they are listed
  std::vector<uint32_t> homeless_;
  std::vector<Bounds> bounds_;
  bool any_ = false;
};

}  // namespace

std::vector<uint32_t> PlaceShards(std::span<const PlacementInstance> instances,
                                  std::span<const PlacementShard> shards) {
  return Placement(instances, shards).Solve();
}

}  // namespace lever::policy
