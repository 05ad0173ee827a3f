// The host's control plane: which services there are, which of their instances run, and who is
// connected to whom. All of it lives on one loop, the control loop.
//
// Threads: the functions under «any thread» post to the control loop and return at once; their answers
// come back on the loop that is named. All others are for the control loop.
//
// Invariants
//  1. Calls that wait for an instance share the starts of its service; policy/scale.h says how many.
//  2. What changes for the data loops is posted to every Directory, in order.
//  3. An instance is killed when its driver says nothing within its deadlines; no driver blocks another
//     service.
#ifndef LIBLEVER_HOST_SCALE_CONTROL_H_
#define LIBLEVER_HOST_SCALE_CONTROL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/fleet/driver.h"
#include "liblever/host/scale/directory.h"
#include "liblever/policy/shard.h"
#include "liblever/policy/shard_wishes.h"
#include "liblever/route/watch_messages.h"

namespace lever::scale {

// One deployed version of a service, as the control plane needs it.
struct ServiceSpec {
  std::string environment;
  std::string service;
  uint64_t version = 0;
  std::string bundle;  // the hash of its content
  std::string description;
  std::vector<std::string> entry;  // argv, if it has no jsEntry or pyEntry
  std::string js_entry;
  std::string py_entry;
  bool is_private = false;
  uint32_t instances_min = 0;
  uint32_t instances_max = 100;
  uint32_t standby = 0;  // instances that are started and get no calls, of the version that serves
  bool start_first = false;  // serves only when an instance is ready, also where none runs
  uint32_t concurrency_max = 0;
  uint32_t queue_max = kQueueMaxDefault;  // calls that wait, on a host
  uint32_t load_max = 10;    // what the balancer prefers others above
  double load_target = 10;   // the same, for scaling
  double stream_load = 0.1;  // what a stream counts for there
  uint64_t ram_bytes = 0;  // what an instance reserves of the host's memory
  uint64_t ram_limit_bytes = 0;
  // As fleet::InstanceSpec has them.
  uint32_t cpu_millis = 0;
  uint32_t processes_max = 0;
  uint32_t descriptors_max = 0;
  fleet::SandboxWish sandbox = fleet::SandboxWish::kHost;
  bool network = false;
  uint32_t shards = policy::kShardsDefault;
  int64_t idle_timeout_ns = 0;
  int64_t start_timeout_ns = 0;
  int64_t drain_timeout_ns = 0;
  std::string health;  // what a new instance answers before it takes calls; empty: nothing
  std::string config_json = "null";
  std::string secrets_json;  // an object of texts; empty: none. Never shown, never logged

  ServiceName name() const { return {environment, service}; }
};

enum class InstancePhase : uint8_t { kStarting, kStandby, kReady, kStalled, kDraining, kStopped };
std::string_view InstancePhaseName(InstancePhase phase);

// One row of `lever ps`.
struct InstanceStatus {
  std::string environment;
  std::string service;
  std::string id;
  uint64_t version = 0;
  InstancePhase phase = InstancePhase::kStarting;
  bool attached = false;  // a program that attached itself
  int64_t pid = 0;
  std::string runtime;
  std::string address;
  uint32_t calls = 0;
  uint32_t streams = 0;
  uint64_t calls_total = 0;
  int64_t age_ns = 0;
  bool canary = false;  // of the service's canary version
  std::string driver;  // what runs it, and how its memory is limited; empty for attached ones
};

struct ServiceStatus {
  ServiceSpec spec;
  uint32_t instances = 0;
  uint32_t instances_wanted = 0;  // by the load, attached programs not counted
  bool deployed = false;  // false: served by attached programs only
  std::string last_error;
  int64_t backoff_until_ns = 0;  // 0: none
};

// Who has a shard of a service with resources.
struct OwnerStatus {
  uint32_t shard = 0;
  std::string instance;  // empty: nobody
  uint64_t generation = 0;
  uint64_t version = 0;
  bool settled = false;
  bool paused = false;
  int64_t age_ns = 0;
  uint32_t calls = 0;
  uint32_t streams = 0;
};

// What ChangeOwner() has begun.
struct OwnerChange {
  uint32_t shard = 0;
  uint64_t generation_before = 0;
  std::string to;  // of a move
};

// What a canary is: a new version that gets a share of the calls, or of the shards of resources,
// beside the one that serves (policy/canary.h).
struct CanaryTerms {
  uint32_t share = 0;   // of policy::kShareParts
  bool sticky = false;  // each caller stays with one of the two versions
  bool operator==(const CanaryTerms&) const = default;
};
// Whether it gets its share as soon as its first instance is ready, or is the canary whatever
// becomes of its first start.
enum class CanaryStart : uint8_t { kWhenReady, kAtOnce };

// What has become of a version that was watched.
struct WatchResult {
  bool taken_back = false;  // the version before serves again
  Status why;               // OK: the version is kept
};

struct ControlCounters {
  uint64_t introductions = 0;      // direct connections made, the host's own not counted
  uint64_t instances_started = 0;
  uint64_t ram_bytes = 0;           // that instances may reserve together; 0: without a bound
  uint64_t ram_reserved_bytes = 0;  // that they have
};

// How the host gets at an instance that has no plain address: a socket to it, or its address with TLS.
using HostWay = std::variant<UniqueFd, route::AddressWay>;

class Control : public fleet::AttachRegistry {
 public:
  ~Control() override = default;

  // ---- Any thread ----
  // So many calls are held for a service now, by one `holder`: a data loop's address, or that of whatever
  // else holds calls. The answer is a change of the Directory or its StartFailed().
  virtual void Demand(ServiceName name, const void* holder, uint32_t held_calls) = 0;
  // A way of the host's own to an instance; `done` runs on `loop`.
  virtual void Connect(uint64_t instance_key, Loop* loop,
                       std::function<void(StatusOr<HostWay>)> done) = 0;

  // Introductions between two others. A watcher gets a key (and a nonce, if it has no socket yet).
  struct WatcherTicket {
    uint64_t key = 0;
    std::string introduction_path;
    std::string nonce;
  };
  virtual void AddWatcher(fleet::Caller caller, Loop* loop, std::function<void(WatcherTicket)> done) = 0;
  virtual void RemoveWatcher(uint64_t watcher_key) = 0;
  // Makes a socketpair, gives one end to the instance, the other to the watcher under `id`; or where that
  // cannot be, or is not wanted, finds an address and a token. Without an address the socket is on its way.
  virtual void Introduce(uint64_t watcher_key, uint64_t id, std::string instance,
                         route::IntroduceBy by, Loop* loop,
                         std::function<void(StatusOr<route::AddressWay>)> done) = 0;

  // For the admin service; `done` runs on `loop`.
  virtual void ListInstances(Loop* loop,
                             std::function<void(std::vector<InstanceStatus>)> done) = 0;
  // NOT_FOUND: no such service; FAILED_PRECONDITION: no instance of it has had resources.
  virtual void ListOwners(ServiceName name, Loop* loop,
                          std::function<void(StatusOr<std::vector<OwnerStatus>>)> done) = 0;
  // Of the shard that has the resource, whose name is decoded; see ShardController::Change(). Errors as
  // of both.
  virtual void ChangeOwner(ServiceName name, std::string resource, policy::ShardChange change,
                           std::string to, Loop* loop, std::function<void(StatusOr<OwnerChange>)> done) = 0;
  virtual void ListServices(Loop* loop, std::function<void(std::vector<ServiceStatus>)> done) = 0;

  virtual ControlCounters Counters() const = 0;

  // ---- The control loop ----
  virtual Loop& loop() = 0;
  // A version becomes the one that new calls go to: at once if nothing runs and it has no
  // `start_first`, else when as many of its instances are ready as the load needs of the version that
  // serves; `done` tells which, or why one of them never became ready (the old one goes on).
  virtual void Deploy(ServiceSpec spec, std::function<void(Status)> done) = 0;
  // Beside the version that serves; one that is the canary already gets other terms. `done` when its
  // first instance is ready, or why it never became so: then there is none. FAILED_PRECONDITION:
  // nothing is deployed. While there is one, each of the two versions keeps an instance.
  virtual void SetCanary(ServiceSpec spec, CanaryTerms terms, CanaryStart start,
                         std::function<void(Status)> done) = 0;
  // Its instances drain, and all calls go to the version that serves. Deploy() of the canary's
  // version promotes it: all calls go to it from the same moment on.
  virtual void EndCanary(ServiceName name) = 0;
  // The canary, or the version that serves since the deploy that has just been answered, is
  // watched for so long (policy/version_watch.h) against the one beside it, or that it took over
  // from. `done`, once: it is kept, since the time is over, a later deploy takes its place, or there
  // is nothing to go back to; or it was taken back, and the version before serves (again); or that
  // one did not start, and the bad one is kept.
  virtual void Watch(ServiceName name, int64_t watch_ns, std::function<void(WatchResult)> done) = 0;
  // Ends the watch, if there is one: the version is kept. False: it is being taken back.
  virtual bool EndWatch(ServiceName name) = 0;
  // The service is gone: its calls are NOT_FOUND, its instances drain.
  virtual void Remove(ServiceName name, std::function<void(Status)> done) = 0;
  virtual void SetEnvironments(std::vector<std::string> environments) = 0;
  // Drains every instance, then kills what is left; `done` when all are gone.
  virtual void Shutdown(std::function<void()> done) = 0;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_CONTROL_H_
