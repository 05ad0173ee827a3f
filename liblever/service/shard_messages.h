// liblever's side of what the attach stream says of shards and resources (lever/v1/host.proto), with
// protozero.
//
// Functions without state; any thread. They throw what protozero throws: ParseToInstance() catches it.
#ifndef LIBLEVER_SERVICE_SHARD_MESSAGES_H_
#define LIBLEVER_SERVICE_SHARD_MESSAGES_H_

#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/route/envelope.h"
#include "liblever/service/resource.h"

namespace lever::service {

// ---- From the host ----

struct ShardOrder {
  enum class Kind : uint8_t { kUnknown = 0, kName = 1, kGrant = 2, kRelease = 3 };
  Kind kind = Kind::kUnknown;
  uint32_t shard = 0;
  uint64_t generation = 0;
  std::string next;  // kRelease: the instance that owns it next, or empty
  uint64_t next_generation = 0;
  CloseReason reason = CloseReason::kMoved;
};

struct ShardOrders {
  std::vector<ShardOrder> orders;
  bool begins = false;
  bool synced = false;
};

struct GrantRenewed {
  uint64_t id = 0;
};

struct StateAnswer {
  uint64_t id = 0;
  Status status;
  Origin origin = Origin::kNew;
  route::Kind kind = route::Kind::kNone;
  std::string payload;
};

ShardOrders ReadShardOrders(protozero::pbf_reader reader);
GrantRenewed ReadGrantRenewed(protozero::pbf_reader reader);
StateAnswer ReadStateAnswer(protozero::pbf_reader reader);

// ---- To the host ----

std::string WriteRenewGrant(uint64_t id);
std::string WriteShardReleased(uint32_t shard, uint64_t generation, bool clean);

struct StateRequest {
  enum class Kind : uint8_t { kOpen = 1, kOpened = 2, kCarry = 3, kLose = 4 };
  uint64_t id = 0;
  Kind kind = Kind::kOpen;
  uint32_t shard = 0;
  uint64_t generation = 0;
  std::string_view resource;
  route::Kind payload_kind = route::Kind::kNone;
  const SliceList* payload = nullptr;
};
std::string WriteStateRequest(const StateRequest& request);

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_SHARD_MESSAGES_H_
