// What one loop of the host knows of services and their instances: read on every call.
//
// Threads: one Directory a loop, used only by that loop. The control loop posts changes to it. The
// views are immutable and replaced whole; only an instance's load is written while it is read, and
// that is atomic.
//
// Invariants
//  1. The revision of a service's view only rises, also when the service was removed meanwhile; Apply()
//     ignores an older one.
//  2. A view lists ready instances only: what is listed takes calls.
//  3. Observers are called after the change is in place, and may look it up.
//  4. What Find() gives is valid until the next change of the directory.
#ifndef LIBLEVER_HOST_SCALE_DIRECTORY_H_
#define LIBLEVER_HOST_SCALE_DIRECTORY_H_

#include <array>
#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"

namespace lever::scale {

// The name of a service in its environment, for look-ups without a copy.
struct ServiceName {
  std::string_view environment;
  std::string_view service;

  friend bool operator==(const ServiceName&, const ServiceName&) = default;
  // "lever://dev.lever/hello"
  std::string ToString() const;
};

// What an instance reported last, and what the host itself has in flight on it.
struct InstanceLoad {
  std::atomic<uint32_t> calls{0};
  std::atomic<uint32_t> streams{0};
  std::atomic<uint64_t> latency_ns{0};
  std::atomic<uint32_t> relayed{0};  // calls and streams through this host, in flight
};

// Calls of a service that a host holds at most, where it says nothing else.
inline constexpr uint32_t kQueueMaxDefault = 10'000;

// Calls that wait for an instance of one service, or for room in one, over all data loops of the
// host.
struct HeldCalls {
  std::atomic<uint32_t> calls{0};
  std::atomic<uint64_t> bytes{0};           // of their requests
  std::atomic<uint32_t> loops_for_room{0};  // loops that hold calls although instances are there
};

struct InstanceView {
  uint64_t key = 0;  // unique in the life of this host
  std::string id;    // unique in the cluster
  std::string environment;
  std::string service;
  uint64_t version = 0;
  std::string address;        // where the host reaches it plainly; empty: Control::Connect() knows a way
  bool introducible = false;  // others on this machine can be introduced to it
  bool listens = false;       // at an address of its own, for callers with a token
  uint32_t concurrency_max = 0;
  uint32_t load_max = 0;
  std::shared_ptr<InstanceLoad> load;
};

// Who owns the shards of a service with resources.
struct ShardOwners {
  static constexpr uint32_t kNobody = UINT32_MAX;
  struct Owner {
    uint32_t instance = kNobody;  // an index into the view's instances
    uint64_t generation = 0;
  };
  std::vector<Owner> owners;  // one for each shard
};

struct ServiceView {
  std::string environment;
  std::string service;
  uint64_t revision = 0;
  uint64_t version = 0;  // that new calls go to; 0: attached instances only
  bool is_private = false;
  // Whether a call may start an instance; false for a service that only attached programs serve.
  bool startable = false;
  std::string lacks;  // what the host has too little of for another instance, as a sentence; or empty
  uint32_t queue_max = kQueueMaxDefault;  // calls that the host holds at most
  // The same as long as the service is there.
  std::shared_ptr<HeldCalls> held = std::make_shared<HeldCalls>();
  // Those of the canary's come last.
  std::vector<InstanceView> instances;
  uint32_t canary_instances = 0;  // so many of them
  uint64_t canary_version = 0;    // 0: there is none
  uint32_t canary_share = 0;      // of policy::kShareParts
  bool canary_sticky = false;
  // Its instances have resources. Calls of these wait until `shards` says who owns them.
  bool has_resources = false;
  std::shared_ptr<const ShardOwners> shards;  // null: not known

  ServiceName name() const { return {environment, service}; }
};

// A service as a loop's table has it: its view, and of that what each call reads. It is one cache line,
// and its name is the one before it; with the loads of its first instances here a call to a service that
// is called seldom waits for memory twice: for these lines, and for the loads.
struct alignas(64) ListedService {
  explicit ListedService(std::shared_ptr<const ServiceView> listed);

  const InstanceLoad& LoadOf(size_t instance) const {
    return instance < first_loads.size() ? *first_loads[instance] : *instances[instance].load;
  }

  uint32_t serving_instances() const {
    return static_cast<uint32_t>(instances.size()) - canary_instances;
  }

  std::shared_ptr<const ServiceView> view;
  std::span<const InstanceView> instances;           // the view's
  std::array<const InstanceLoad*, 2> first_loads{};  // null where there are fewer instances
  uint32_t canary_instances;                         // the view's
  uint16_t canary_share;
  bool canary_sticky;
  bool is_private;
};
static_assert(sizeof(ListedService) == 64);

class DirectoryObserver {
 public:
  virtual ~DirectoryObserver() = default;
  virtual void OnServiceChanged(const std::shared_ptr<const ServiceView>& view) {}
  virtual void OnServiceRemoved(ServiceName name) {}
  // An instance that held calls were waiting for could not be started.
  virtual void OnStartFailed(ServiceName name, const Status& status) {}
};

class Directory {
 public:
  // Null if there is no such service.
  const ListedService* Find(ServiceName name) const;
  bool HasEnvironment(std::string_view environment) const;

  void Apply(std::shared_ptr<const ServiceView> view);
  void Remove(ServiceName name, uint64_t revision);
  void StartFailed(ServiceName name, const Status& status);
  void ApplyEnvironments(std::shared_ptr<const std::vector<std::string>> environments);

  // Observers outlive the directory or take themselves out; not from inside a callback.
  void AddObserver(DirectoryObserver* observer);
  void RemoveObserver(DirectoryObserver* observer);

 private:
  struct Key {
    std::string environment;
    std::string service;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& key) const { return (*this)(ServiceName{key.environment, key.service}); }
    size_t operator()(const ServiceName& name) const;
  };
  struct Equal {
    using is_transparent = void;
    static ServiceName Name(const Key& key) { return {key.environment, key.service}; }
    static ServiceName Name(const ServiceName& name) { return name; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Name(a) == Name(b);
    }
  };

  boost::unordered_flat_map<Key, ListedService, Hash, Equal> services_;
  std::shared_ptr<const std::vector<std::string>> environments_;  // sorted
  std::vector<DirectoryObserver*> observers_;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_DIRECTORY_H_
