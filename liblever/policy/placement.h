// Which instance each shard of a service shall belong to.
//
// Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with
// Bounded Loads", 2016), over rendezvous scores (shard.h) in place of a ring. A shard stays with its
// owner as long as that one may have it and is within its bounds. What has to go elsewhere goes to
// the instance that scores highest for it among those with room.
//
// There are two bounds on what is an instance's by its weight, each kPlacementSlack above its part:
// on the number of its shards, and on the load that they have together. Beyond the paper there is a
// lower bound on the number, too, so that an instance that has just come takes its part.
//
// First numbers, then loads. As long as an instance is above its bound of load, the one of its
// shards that does most for the two goes to the instance with the least, and if that one then had
// too many shards, its shard with the least load comes back. Nothing moves that would not make the
// two more alike by kPlacementGainMin: a shard with more load than anybody's part stays where it is,
// and only what has load beside it goes. The bounds on numbers hold throughout, so that the same
// placement stays as it is when loads are left out.
//
// A pure function; any thread.
#ifndef LIBLEVER_POLICY_PLACEMENT_H_
#define LIBLEVER_POLICY_PLACEMENT_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lever::policy {

inline constexpr double kPlacementSlack = 0.125;
// A call in flight, in the unit of loads.
inline constexpr uint32_t kLoadOfACall = 1000;
// An instance that is above its part of the load by less than a call in flight moves nothing for it.
inline constexpr uint32_t kPlacementLoadMin = kLoadOfACall;
// What a shard that moves for its load takes away at least, or two that change places.
inline constexpr uint32_t kPlacementGainMin = kLoadOfACall / 4;
// The shard has no owner.
inline constexpr uint32_t kNoInstance = UINT32_MAX;

struct PlacementInstance {
  std::string_view id;
  // Whether it may have shards: it is ready, does not drain, and is of the version that serves.
  bool eligible = true;
  double weight = 1;  // above 0: one of twice the weight gets twice as much
};

struct PlacementShard {
  uint32_t owner = kNoInstance;  // an index into the instances
  uint32_t load = 0;             // calls and weighted streams in flight, in thousandths
};

// The owner of each shard, an index into `instances`; kNoInstance for all if none is eligible. Equal
// arguments give equal results, and a placement that is within the bounds is left as it is.
std::vector<uint32_t> PlaceShards(std::span<const PlacementInstance> instances,
                                  std::span<const PlacementShard> shards);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_PLACEMENT_H_
