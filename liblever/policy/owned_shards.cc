#include "liblever/policy/owned_shards.h"

#include <algorithm>

#include "liblever/policy/grant.h"

namespace lever::policy {

bool OwnedShards::Name(uint32_t shard, uint64_t generation) {
  Entry& entry = entries_[shard];
  if (generation < entry.generation) return false;
  entry.mentioned = true;
  if (generation == entry.generation && entry.phase != ShardPhase::kUnknown) return false;
  entry.generation = generation;
  entry.phase = ShardPhase::kNamed;
  return true;
}

bool OwnedShards::Step(uint32_t shard, uint64_t generation, ShardPhase from, ShardPhase to) {
  Entry& entry = entries_[shard];
  if (entry.generation != generation || entry.phase != from) return false;
  entry.phase = to;
  return true;
}

bool OwnedShards::Grant(uint32_t shard, uint64_t generation) {
  return Step(shard, generation, ShardPhase::kNamed, ShardPhase::kGranted);
}

bool OwnedShards::BeginRelease(uint32_t shard, uint64_t generation) {
  return Step(shard, generation, ShardPhase::kGranted, ShardPhase::kReleasing);
}

bool OwnedShards::Release(uint32_t shard, uint64_t generation) {
  return Step(shard, generation, ShardPhase::kReleasing, ShardPhase::kReleased) ||
         Step(shard, generation, ShardPhase::kNamed, ShardPhase::kReleased);
}

void OwnedShards::BeginResync() {
  for (Entry& entry : entries_) entry.mentioned = false;
}

void OwnedShards::EndResync() {
  for (Entry& entry : entries_) {
    if (entry.mentioned || entry.phase == ShardPhase::kUnknown) continue;
    // What it was only named for it never had, and may be named for again: the next controller goes
    // on from what is durable, which may be what the one before had given up.
    entry.phase = entry.phase == ShardPhase::kNamed ? ShardPhase::kUnknown : ShardPhase::kReleased;
  }
}

void OwnedShards::Renewed(int64_t asked_ns) { end_ns_ = std::max(end_ns_, GrantEndNs(asked_ns)); }

ShardVerdict OwnedShards::Check(uint32_t shard, uint64_t generation, int64_t now_ns) const {
  const Entry& entry = entries_[shard];
  const bool valid = now_ns < end_ns_;
  if (generation == kNoGeneration) {
    // A caller that knows nothing of owners came straight here: it is served by the owner alone.
    return entry.phase == ShardPhase::kGranted && valid ? ShardVerdict::kRun : ShardVerdict::kRefuse;
  }
  if (generation > entry.generation) return ShardVerdict::kAwaitName;
  if (generation < entry.generation) return ShardVerdict::kRefuse;
  switch (entry.phase) {
    case ShardPhase::kNamed: return ShardVerdict::kWait;
    case ShardPhase::kGranted: return valid ? ShardVerdict::kRun : ShardVerdict::kWait;
    default: return ShardVerdict::kRefuse;
  }
}

bool OwnedShards::MayReply(uint32_t shard, uint64_t generation, int64_t now_ns) const {
  const Entry& entry = entries_[shard];
  const bool owns = entry.phase == ShardPhase::kGranted || entry.phase == ShardPhase::kReleasing;
  return owns && entry.generation == generation && now_ns < end_ns_;
}

}  // namespace lever::policy
