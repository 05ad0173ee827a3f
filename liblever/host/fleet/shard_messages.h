// What host and instance say to each other of shards and their resources, as the host keeps it; the
// wire is lever/v1/host.proto.
#ifndef LIBLEVER_HOST_FLEET_SHARD_MESSAGES_H_
#define LIBLEVER_HOST_FLEET_SHARD_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "liblever/base/status.h"

namespace lever::fleet {

// The numbers are those of the wire.
enum class ShardOrderKind : uint8_t { kName = 1, kGrant = 2, kRelease = 3 };
enum class ShardCloseReason : uint8_t { kMoved = 1, kUpgrade = 2, kStopping = 3 };
enum class StateRequestKind : uint8_t {
  kUnknown = 0,
  kOpen = 1,
  kOpened = 2,
  kCarry = 3,
  kLose = 4,
};
enum class StateOrigin : uint8_t { kNew = 0, kCarried = 1, kLost = 2 };

struct ShardOrderData {
  ShardOrderKind kind = ShardOrderKind::kName;
  uint32_t shard = 0;
  uint64_t generation = 0;
  std::string next;  // kRelease
  uint64_t next_generation = 0;
  ShardCloseReason reason = ShardCloseReason::kMoved;
};

struct ShardOrdersData {
  std::vector<ShardOrderData> orders;
  bool begins = false;
  bool synced = false;
};

struct ShardReleasedData {
  uint32_t shard = 0;
  uint64_t generation = 0;
  bool clean = false;
};

struct StateRequestData {
  uint64_t id = 0;
  StateRequestKind kind = StateRequestKind::kUnknown;
  uint32_t shard = 0;
  uint64_t generation = 0;
  std::string resource;
  uint32_t payload_kind = 0;  // a lever_kind
  std::string payload;
};

struct StateAnswerData {
  uint64_t id = 0;
  Status status;
  StateOrigin origin = StateOrigin::kNew;
  uint32_t payload_kind = 0;
  std::string payload;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SHARD_MESSAGES_H_
