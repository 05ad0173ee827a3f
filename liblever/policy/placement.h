// Which instance each shard of a service shall belong to.
//
// Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with
// Bounded Loads", 2016), over rendezvous scores (shard.h) in place of a ring. A shard stays with its
// owner as long as that one may have it and is not above the upper bound. What has to go elsewhere
// goes to the instance that scores highest for it among those with room. Beyond the paper there is a
// lower bound, too, so that an instance that has just come takes its part.
//
// A shard costs 1, and as much again for each mean shard's load that it has: instances have alike
// numbers of shards and alike loads, and a service without load is spread by numbers alone.
//
// The bounds are 1 - kPlacementSlack and 1 + kPlacementSlack times the part of the cost that is the
// instance's by its weight. A shard that costs more than any instance may have stays where it is:
// moving it would help nobody.
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
  uint32_t load = 0;             // calls and weighted streams in flight, in any unit common to all
};

// The owner of each shard, an index into `instances`; kNoInstance for all if none is eligible. Equal
// arguments give equal results, and a placement that is within the bounds is left as it is.
std::vector<uint32_t> PlaceShards(std::span<const PlacementInstance> instances,
                                  std::span<const PlacementShard> shards);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_PLACEMENT_H_
