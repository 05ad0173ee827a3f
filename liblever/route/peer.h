// One instance as a caller sees it: what the route table says of it, the direct connection to it if
// there is one, and what the caller's own calls tell of its load.
//
// Threads: used only by who holds the loop's word.
//
// A peer's phases
//   kIdle          no connection, none asked for (since a failure: not before retry_ns)
//   kIntroducing   asked for, under introduction_id
//   kConnecting    a socket has come, or an address; the HTTP/2 connection is not ready, or `token` not taken
//   kReady         calls go over it
//   kGone          out of the table: what is open finishes, nothing new
#ifndef LIBLEVER_ROUTE_PEER_H_
#define LIBLEVER_ROUTE_PEER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/policy/balancer.h"
#include "liblever/policy/shard.h"
#include "liblever/route/watch_messages.h"

namespace lever::rpc {
class Channel;
}  // namespace lever::rpc

namespace lever::route {

enum class PeerPhase : uint8_t { kIdle, kIntroducing, kConnecting, kReady, kGone };

struct ServiceRoute;

class Peer : public std::enable_shared_from_this<Peer> {
 public:
  Peer(InstanceRoute instance_in, ServiceRoute* service_in);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // What a newer table says of it.
  void Update(InstanceRoute instance_in);

  // Its load; lies with those of the other ready peers of the service, so that the balancer finds them
  // side by side.
  policy::PeerLoad& load();
  // Around each attempt of a call over the direct connection.
  void AttemptBegan() { ++load().in_flight; }
  void AttemptEnded() { --load().in_flight; }

  InstanceRoute instance;  // as the newest table says
  ServiceRoute* service;   // null once it is gone
  PeerPhase phase = PeerPhase::kIdle;
  std::unique_ptr<rpc::Channel> channel;
  std::string token;  // still to be shown on the channel when it is ready; empty: nothing is
  uint64_t introduction_id = 0;
  int64_t deadline_ns = kNever;  // of the introduction
  int64_t retry_ns = 0;          // not introduced again before
  uint32_t failures = 0;

 private:
  friend struct ServiceRoute;
  static constexpr size_t kNotReady = SIZE_MAX;

  size_t ready_index_ = kNotReady;
  policy::PeerLoad load_;  // while it is not among the ready ones
};

// One version of a service's table.
struct RouteTable {
  uint64_t revision = 0;
  std::vector<std::shared_ptr<Peer>> peers;
};

// What is known of one service. Kept by the router while it is used, and by whoever calls it.
struct ServiceRoute {
  // Makes the list of ready peers anew from the table.
  void RebuildReady();
  // The ready peer of a version that the next call should go to, never `exclude`; null: there is none.
  enum class Version : uint8_t { kServing, kCanary };
  std::shared_ptr<Peer> PickReady(const Peer* exclude, uint64_t random,
                                  Version version = Version::kServing);

  // What is known of the owner of a resource's shard (policy::ResourceHash()).
  struct Owner {
    policy::ShardGeneration shard;  // generation 0: nothing
    std::shared_ptr<Peer> peer;     // null: it has to be called through the host
  };
  Owner OwnerOf(uint64_t resource_hash) const;
  // A refusal has told of a newer owner; `instance` may be empty. Until a table does so, too. Whether
  // it is one that can be called from then on.
  bool Learn(policy::ShardGeneration shard, std::string_view instance);

  std::string environment;
  std::string service;
  bool known = false;  // to the router: it is subscribed, or will be when the host is there
  bool table_is_current = false;  // it came in this watch session
  int64_t used_ns = 0;
  int64_t next_introduction_ns = kNever;  // when asking for introductions may help
  std::shared_ptr<const RouteTable> table = std::make_shared<RouteTable>();
  uint64_t canary_version = 0;  // 0: there is none
  uint32_t canary_share = 0;    // of policy::kShareParts
  // Peers of the table with a ready connection, those of the canary last, and the load of each.
  std::vector<std::shared_ptr<Peer>> ready;
  std::vector<policy::PeerLoad> loads;
  size_t ready_serving = 0;  // of these, those not of the canary
  // Of a service with resources: for each shard the owner, by its place in the table.
  struct ShardOwner {
    uint32_t peer = kNoPeer;
    uint64_t generation = 0;
  };
  static constexpr uint32_t kNoPeer = UINT32_MAX;
  std::vector<ShardOwner> shards;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_PEER_H_
