#include "liblever/policy/shard.h"

#include <bit>
#include <cassert>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace lever::policy {

uint32_t ShardOf(std::string_view environment, std::string_view service, std::string_view resource,
                 uint32_t shards) {
  assert(IsShardCount(shards));
  if (shards == 1) return 0;
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, environment.data(), environment.size());
  XXH3_64bits_update(&state, "", 1);
  XXH3_64bits_update(&state, service.data(), service.size());
  XXH3_64bits_update(&state, "", 1);
  XXH3_64bits_update(&state, resource.data(), resource.size());
  const int bits = std::countr_zero(shards);
  return static_cast<uint32_t>(XXH3_64bits_digest(&state) >> (64 - bits));
}

uint64_t OwnerScore(uint32_t shard, std::string_view instance) {
  return XXH3_64bits_withSeed(instance.data(), instance.size(), shard);
}

size_t OwnerOf(uint32_t shard, std::span<const std::string_view> instances) {
  assert(!instances.empty());
  size_t owner = 0;
  uint64_t best = OwnerScore(shard, instances[0]);
  for (size_t i = 1; i < instances.size(); ++i) {
    const uint64_t score = OwnerScore(shard, instances[i]);
    if (score > best || (score == best && instances[i] < instances[owner])) {
      owner = i;
      best = score;
    }
  }
  return owner;
}

}  // namespace lever::policy
