// Attaching: how an instance, started or not, makes itself known to its host.
//
// AttachSession (attach_session.h) is the half on the loop of the instance's connection; whoever
// keeps the fleet implements AttachRegistry. Everything between them is posted, so that neither
// waits for the other.
#ifndef LIBLEVER_HOST_FLEET_ATTACH_H_
#define LIBLEVER_HOST_FLEET_ATTACH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/shard_messages.h"
#include "liblever/route/token.h"

namespace lever::fleet {

// Who is on the other end of a connection.
struct Caller {
  // "lever://env/service" of an attached instance; empty for anybody else.
  std::string identity;
  std::string environment;
  std::string service;
  uint64_t instance_key = 0;  // 0: not an instance
  // Tells it apart where a caller stays with one version of a service (policy::DrawOfCaller()): the
  // same for all instances of a service, and for all calls over a connection from outside.
  uint64_t number = 0;
};

// The attach session's half on the control loop; fleet/attach_session.h is the other.
class AttachPeer {
 public:
  virtual ~AttachPeer() = default;
  // Calls find the instance from now on. Any thread, as are the others.
  virtual void TellServing() = 0;
  // `reason` goes to the instance's log.
  virtual void RequestDrain(int64_t timeout_ns, std::string reason) = 0;
  virtual void TellShards(ShardOrdersData orders) = 0;
  virtual void TellRenewed(uint64_t id) = 0;
  virtual void TellState(StateAnswerData answer) = 0;
  virtual void End(Status status) = 0;
};

struct AttachHello {
  Caller caller;  // of the connection; instance_key tells a started instance
  std::string environment;
  std::string service;
  int64_t pid = 0;
  std::string runtime;
  std::string listen;
  std::string listen_key_hash;
  bool is_private = false;
  uint32_t concurrency_max = 0;
  bool has_resources = false;
};

struct AttachWelcome {
  uint64_t instance_key = 0;
  std::string environment;
  std::string service;
  uint64_t version = 0;
  std::string instance;
  std::string config_json;
  std::string secrets_json;
  int64_t drain_timeout_ns = 0;
  std::string introduction_path;  // empty: it has its socket
  std::string nonce;
  uint32_t concurrency_max = 0;
  uint32_t shards = 0;  // of a service with resources
  std::vector<route::TokenKey> token_keys;
};

struct LoadReportData {
  uint32_t calls = 0;
  uint32_t streams = 0;
  uint64_t calls_total = 0;
  uint64_t latency_ns = 0;
  int64_t last_active_ns = 0;  // CLOCK_BOOTTIME
  uint64_t ended_total = 0;
  uint64_t errors_total = 0;  // of them
};

// What the shards of a service with resources have in flight at one instance.
struct ShardLoadsData {
  struct Load {
    uint32_t shard = 0;
    uint32_t calls_milli = 0;
    uint32_t streams = 0;
  };
  int64_t window_ns = 0;
  std::vector<Load> loads;
};

// Any thread: everything is posted to whoever keeps the fleet.
class AttachRegistry {
 public:
  virtual ~AttachRegistry() = default;
  // `done` runs on `loop`. `peer` is kept until AttachEnded().
  virtual void Attach(AttachHello hello, std::shared_ptr<AttachPeer> peer, Loop* loop,
                      std::function<void(StatusOr<AttachWelcome>)> done) = 0;
  virtual void AttachReady(uint64_t instance_key) = 0;
  virtual void AttachLoad(uint64_t instance_key, LoadReportData report) = 0;
  virtual void AttachShardLoads(uint64_t instance_key, ShardLoadsData loads) = 0;
  virtual void AttachRenew(uint64_t instance_key, uint64_t id) = 0;
  virtual void AttachReleased(uint64_t instance_key, ShardReleasedData released) = 0;
  virtual void AttachState(uint64_t instance_key, StateRequestData request) = 0;
  virtual void AttachDraining(uint64_t instance_key) = 0;
  virtual void AttachDrained(uint64_t instance_key, uint32_t cut_off) = 0;
  virtual void AttachEnded(uint64_t instance_key, Status status) = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_ATTACH_H_
