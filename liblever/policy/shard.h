// Shards: which slice of a service's resource names a name belongs to, and which instance a shard
// prefers.
//
// The shard of a resource is the top log2(shards) bits of XXH3-64 with seed 0 over the bytes
//   environment 0x00 service 0x00 decoded resource
// so that doubling the number of shards splits each shard in two. With one shard it is 0.
//
// The owner of a shard among some instances is the one with the highest XXH3-64, with the shard as
// the seed, of its id (rendezvous hashing: Thaler and Ravishankar, 1998); of equal ones the
// smallest id. When an instance goes, only its own shards move; when one comes, it takes an equal
// part from each.
//
// Pure functions; any thread.
#ifndef LIBLEVER_POLICY_SHARD_H_
#define LIBLEVER_POLICY_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lever::policy {

inline constexpr uint32_t kShardsDefault = 256;
// Shard maps travel and are stored in pages of 256: 256 pages.
inline constexpr uint32_t kShardsMax = 65'536;

// Whether a service may have so many shards: a power of two from 1 to kShardsMax.
constexpr bool IsShardCount(uint64_t shards) {
  return shards > 0 && shards <= kShardsMax && (shards & (shards - 1)) == 0;
}

// What the shard of a resource is made of; who does not know the number of shards yet keeps it.
uint64_t ResourceHash(std::string_view environment, std::string_view service,
                      std::string_view resource);
// IsShardCount(shards) holds.
uint32_t ShardOfHash(uint64_t hash, uint32_t shards);
uint32_t ShardOf(std::string_view environment, std::string_view service, std::string_view resource,
                 uint32_t shards);

// What a caller believes of a resource's shard, as the header lever-gen says it:
// "<shard>.<generation>", both decimal, without leading zeros.
struct ShardGeneration {
  uint32_t shard = 0;
  uint64_t generation = 0;

  bool operator==(const ShardGeneration&) const = default;
};
std::string FormatShardGeneration(ShardGeneration value);
std::optional<ShardGeneration> ParseShardGeneration(std::string_view text);

// The score of one instance for a shard; the highest owns it.
uint64_t OwnerScore(uint32_t shard, std::string_view instance);
// The index of the owner. There is at least one instance.
size_t OwnerOf(uint32_t shard, std::span<const std::string_view> instances);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SHARD_H_
