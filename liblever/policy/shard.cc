#include "liblever/policy/shard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <charconv>
#include <system_error>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "liblever/policy/address.h"

namespace lever::policy {

uint64_t ResourceHash(std::string_view environment, std::string_view service,
                      std::string_view resource) {
  // What names are within the grammar is hashed in one piece: the state of a hash in pieces costs more
  // to set up than such a name to hash.
  constexpr size_t kBytes = kEnvironmentBytesMax + kServiceBytesMax + kResourceBytesMax + 2;
  if (environment.size() + service.size() + resource.size() + 2 <= kBytes) {
    std::array<char, kBytes> bytes;
    char* end = std::copy(environment.begin(), environment.end(), bytes.data());
    *end++ = '\0';
    end = std::copy(service.begin(), service.end(), end);
    *end++ = '\0';
    end = std::copy(resource.begin(), resource.end(), end);
    return XXH3_64bits(bytes.data(), static_cast<size_t>(end - bytes.data()));
  }
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, environment.data(), environment.size());
  XXH3_64bits_update(&state, "", 1);
  XXH3_64bits_update(&state, service.data(), service.size());
  XXH3_64bits_update(&state, "", 1);
  XXH3_64bits_update(&state, resource.data(), resource.size());
  return XXH3_64bits_digest(&state);
}

uint32_t ShardOfHash(uint64_t hash, uint32_t shards) {
  assert(IsShardCount(shards));
  if (shards == 1) return 0;
  return static_cast<uint32_t>(hash >> (64 - std::countr_zero(shards)));
}

uint32_t ShardOf(std::string_view environment, std::string_view service, std::string_view resource,
                 uint32_t shards) {
  return ShardOfHash(ResourceHash(environment, service, resource), shards);
}

std::string FormatShardGeneration(ShardGeneration value) {
  return std::to_string(value.shard) + "." + std::to_string(value.generation);
}

std::optional<ShardGeneration> ParseShardGeneration(std::string_view text) {
  // Only what Format writes: no sign, no space, no leading zero.
  const auto number = [](std::string_view digits, auto* out) {
    if (digits.size() > 1 && digits[0] == '0') return false;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
    return error == std::errc() && end == digits.data() + digits.size() && !digits.empty();
  };
  const size_t dot = text.find('.');
  ShardGeneration value;
  if (dot == std::string_view::npos || !number(text.substr(0, dot), &value.shard) ||
      !number(text.substr(dot + 1), &value.generation)) {
    return std::nullopt;
  }
  return value;
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
