#include "liblever/policy/shard_balance.h"

#include <algorithm>
#include <cmath>

namespace lever::policy {
namespace {

double Kept(int64_t elapsed_ns) {
  if (elapsed_ns <= 0) return 1;
  return std::exp(-static_cast<double>(elapsed_ns) / static_cast<double>(kShardLoadMeanNs));
}

// How much more than its part of the load the fullest instance has, and what the part is.
struct Excess {
  double over = 0;
  double part = 0;
};

Excess FindExcess(std::span<const PlacementInstance> instances,
                  std::span<const PlacementShard> shards, std::span<const uint32_t> owners) {
  std::vector<double> loads(instances.size());
  double load = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    if (owners[i] >= instances.size() || !instances[owners[i]].eligible) continue;
    loads[owners[i]] += shards[i].load;
    load += shards[i].load;
  }
  double weights = 0;
  for (const PlacementInstance& instance : instances) {
    if (instance.eligible) weights += instance.weight;
  }
  Excess most;
  for (size_t i = 0; i < instances.size(); ++i) {
    if (!instances[i].eligible) continue;
    const double part = load * instances[i].weight / weights;
    if (loads[i] - part > most.over) most = {loads[i] - part, part};
  }
  return most;
}

}  // namespace

void ShardBalance::Observe(int64_t now_ns, uint32_t shard, uint32_t load, int64_t window_ns) {
  Mean& mean = means_.at(shard);
  // Before that window there was nothing, as nothing was said.
  const double before = mean.load * Kept(now_ns - mean.at_ns);
  mean.load = before + load * (1 - Kept(std::min(window_ns, now_ns - mean.at_ns)));
  mean.at_ns = now_ns;
}

uint32_t ShardBalance::LoadAt(int64_t now_ns, uint32_t shard) const {
  const Mean& mean = means_.at(shard);
  const double load = mean.load * Kept(now_ns - mean.at_ns);
  return static_cast<uint32_t>(std::min(load, static_cast<double>(UINT32_MAX)));
}

bool ShardBalance::ShouldMove(int64_t now_ns, std::span<const PlacementInstance> instances,
                              std::span<const PlacementShard> shards) {
  std::vector<uint32_t> owners;
  owners.reserve(shards.size());
  for (const PlacementShard& shard : shards) owners.push_back(shard.owner);
  const Excess before = FindExcess(instances, shards, owners);
  const bool uneven = before.over > before.part * (kRebalanceAbove - 1) &&
                      before.over > static_cast<double>(kPlacementLoadMin);
  if (!uneven) {
    uneven_since_ns_ = kNever;
    return false;
  }
  if (uneven_since_ns_ == kNever) uneven_since_ns_ = now_ns;
  if (now_ns - uneven_since_ns_ < kRebalanceAfterNs || now_ns < pause_until_ns_) return false;
  Moved(now_ns);  // whatever comes of it: the same answer is not worth asking for at once
  const Excess after = FindExcess(instances, shards, PlaceShards(instances, shards));
  return after.over <= before.over * (1 - kRebalanceGain);
}

void ShardBalance::Moved(int64_t now_ns) {
  uneven_since_ns_ = kNever;
  pause_until_ns_ = DeadlineAfter(now_ns, kRebalancePauseNs);
}

}  // namespace lever::policy
