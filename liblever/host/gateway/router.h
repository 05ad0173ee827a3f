// Finds an instance for a call on one loop, and has one started if there is none.
//
// Threads: those of its loop.
//
// Invariants
//  1. Each Route() completes once: OnRouted(), OnRefused(), or by Cancel(). It may complete before
//     Route() returns.
//  2. A call is held for at most kHoldMaxNs, and no longer than its deadline. Of a service the host
//     holds at most its maxQueue and kHeldBytesPerServiceMax, so that one service's storm leaves
//     room for the others; a loop holds at most kHeldMax in all. What is refused here surely did
//     not run.
//  3. Calls held for one service share its starts: they are released in the order in which they
//     came when an instance is ready and has room (all at once where it has no maxConcurrency), and
//     fail together when none could be started. A call that comes while others wait for room waits
//     behind them. A call of a resource waits for its owner, or for room in it, whatever other
//     instances have.
//  4. How many are held is told to the control plane at once when the first is, then at most every
//     kTellNs; without those that more instances would not help: calls of resources whose owner is
//     not known, or is full while others have room.
#ifndef LIBLEVER_HOST_GATEWAY_ROUTER_H_
#define LIBLEVER_HOST_GATEWAY_ROUTER_H_

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/base/random.h"
#include "liblever/host/gateway/backend.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/directory.h"
#include "liblever/policy/address.h"
#include "liblever/policy/retry.h"
#include "liblever/policy/shard.h"
#include "liblever/rpc/headers.h"

namespace lever::gateway {

class Router;
struct HeldQueue;

// What decides which version a call goes to while one is a canary.
struct VersionWish {
  std::optional<bool> canary;  // the caller's own choice
  uint64_t caller = 0;         // fleet::Caller::number
};

// INVALID_ARGUMENT: what its lever-canary says is neither true nor false.
StatusOr<VersionWish> ReadVersionWish(const rpc::HeaderList& request, const fleet::Caller& caller);

// A call that wants an instance. Neither copied nor moved.
class RoutedCall : private BackendWaiter, private Timer {
 public:
  ~RoutedCall() override;
  // The backend has a connection that takes a stream now.
  virtual void OnRouted(const std::shared_ptr<Backend>& backend) = 0;
  virtual void OnRefused(const Status& status) = 0;

  // After OnRouted(): the value of lever-gen that tells the instance as what it was chosen, or empty for
  // what is not of a resource. `believed` is what the caller says itself: a newer one is kept.
  std::string GenerationHeader(std::optional<std::string_view> believed) const;

 protected:
  // So much of its request is kept. It is refused later, never from inside this, if that is too
  // much for its service.
  void SetHeldBytes(size_t bytes);

 private:
  friend class Router;
  friend struct HeldQueue;
  using HeldHook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  enum class HeldFor : uint8_t {
    kInstance,     // any, or room in any
    kOwner,        // of its resource, of whom nothing is known
    kRoomAtOwner,  // it is full
  };

  void OnConnected(Backend& backend) override;
  void OnConnectFailed(Backend& backend, const Status& status) override;
  void OnTimer() override;

  Router* router_ = nullptr;  // while it waits
  std::string environment_;
  std::string service_;
  int64_t deadline_ns_ = kNever;
  int64_t hold_until_ns_ = kNever;
  uint32_t connect_failures_ = 0;
  std::optional<uint64_t> resource_hash_;
  VersionWish wish_;
  uint64_t draw_ = 0;              // which version it goes to, if nothing else says so
  policy::ShardGeneration owner_;  // generation 0: none
  HeldHook held_hook_;
  HeldQueue* queue_ = nullptr;  // that it is counted in
  size_t held_bytes_ = 0;
  size_t counted_bytes_ = 0;
  HeldFor held_for_ = HeldFor::kInstance;
  bool in_demand_ = true;  // while it is held: more instances would help
  bool admitted_ = false;  // has its place, also where no more are held
  bool first_ = false;     // goes before those that came later
  bool too_large_ = false;
};

// The calls of one service that a loop holds.
struct HeldQueue {
  using Calls = boost::intrusive::list<
      RoutedCall,
      boost::intrusive::member_hook<RoutedCall, RoutedCall::HeldHook, &RoutedCall::held_hook_>,
      boost::intrusive::constant_time_size<false>>;
  // It is not known what the control plane believes.
  static constexpr uint32_t kToldUnknown = UINT32_MAX;

  scale::ServiceName name() const { return {environment, service}; }

  std::string environment;
  std::string service;
  std::shared_ptr<scale::HeldCalls> shared;  // what all loops hold of it
  // How many of them more instances would help.
  uint32_t demand() const { return count - without_demand; }
  bool IsWaitedFor(uint64_t owner_key) const {
    const auto found = at_owner.find(owner_key);
    return found != at_owner.end() && !found->second.empty();
  }

  Calls calls;                         // that any instance will do for
  Calls ownerless;                     // that wait for the owner of their resource to be known
  std::map<uint64_t, Calls> at_owner;  // that wait for room in it, by its key
  uint32_t count = 0;                  // of all of these
  uint32_t without_demand = 0;
  uint32_t told = 0;
  bool for_room = false;  // instances are there, and full
};

class Router final : private scale::DirectoryObserver, private BackendOwner {
 public:
  static constexpr int64_t kHoldMaxNs = 60 * kNanosPerSecond;
  // Of requests of a service that wait, on a host: 1/16 of rpc::kProcessHeldBytesMax.
  static constexpr uint64_t kHeldBytesPerServiceMax = 64 * 1024 * 1024;
  static constexpr uint32_t kHeldMax = 100'000;
  static constexpr int64_t kTellNs = 20 * kNanosPerMilli;
  // Connections that failed for one call before it is refused.
  static constexpr uint32_t kConnectFailuresMax = 3;
  // An instance whose connection failed is passed over for this long where there is another.
  static constexpr int64_t kAvoidNs = 1 * kNanosPerSecond;
  // So often it is looked for room that nobody tells of: calls of other loops, or not through this
  // host.
  static constexpr int64_t kRoomPollNs = 20 * kNanosPerMilli;
  // Where several loops hold calls of a service each leaves room that it sees for up to this time,
  // and looks for room as often, so that none of them starves.
  static constexpr int64_t kGiveWayNs = 2 * kNanosPerMilli;

  Router(Loop* loop, scale::Directory* directory, scale::Control* control, uint64_t random_seed);
  ~Router() override;

  // Checks the name and the caller's permission: NOT_FOUND, PERMISSION_DENIED, unexecuted.
  Status Check(scale::ServiceName name, const fleet::Caller& caller) const;
  // `resource_hash` (policy::ResourceHash()) of a call to a resource: it goes to the owner, and is held
  // until there is one.
  void Route(RoutedCall* call, scale::ServiceName name, int64_t deadline_ns,
             std::optional<uint64_t> resource_hash = std::nullopt, VersionWish wish = {});
  // An instance without room has refused it: it waits before those that came later.
  void RouteAgain(RoutedCall* call);
  void Cancel(RoutedCall* call);

  uint32_t held() const { return held_; }
  uint64_t held_total() const { return held_total_.load(std::memory_order_relaxed); }

 private:
  friend class RoutedCall;
  using HeldFor = RoutedCall::HeldFor;

  void TryRoute(RoutedCall* call);
  void TryRouteToOwner(RoutedCall* call, const scale::ListedService& service);
  // The owner of the call's resource; null: it is not known.
  const scale::InstanceView* FindOwner(RoutedCall* call, const scale::ListedService& service) const;
  // The connection is there, or is waited for.
  void Use(RoutedCall* call, const std::shared_ptr<Backend>& backend);
  // Of the instances of one version.
  struct Group {
    uint32_t first = 0;
    uint32_t count = 0;
  };
  static bool WantsCanary(const RoutedCall& call, const scale::ListedService& service);
  // Null: all are full that it may go to.
  std::shared_ptr<Backend> PickFor(const RoutedCall& call, const scale::ListedService& service);
  std::shared_ptr<Backend> Pick(const scale::ListedService& service, Group group);
  std::shared_ptr<Backend> PickAmongAll(const scale::ListedService& service, Group group);
  bool Failed(const Backend& backend) const;
  std::shared_ptr<Backend> BackendOf(const scale::InstanceView& instance);
  HeldQueue* FindQueue(scale::ServiceName name) const;
  HeldQueue& QueueOf(const scale::ServiceView& view);
  // RESOURCE_EXHAUSTED: as much waits as may.
  Status RoomToWait(const HeldQueue& queue, const scale::ServiceView& view,
                    const RoutedCall& call) const;
  static Status TooLargeTogether(scale::ServiceName name);
  // `owner` is for who waits for room in it.
  void Hold(RoutedCall* call, const scale::ListedService& service, HeldFor held_for,
            const Backend* owner = nullptr);
  void Unhold(RoutedCall* call);
  // Those of resources look for their owners anew.
  void RouteHeldOfResources(HeldQueue* queue, const scale::ServiceView& view);
  void SetForRoom(HeldQueue* queue, bool for_room);
  // Those for which there is room now.
  void Release(HeldQueue* queue);
  void CountBytes(RoutedCall* call);
  void Refuse(RoutedCall* call, const Status& status);
  void RefuseAll(HeldQueue* queue, const Status& status);
  void OnRoom() override;
  void LookForRoomIn(int64_t in_ns);
  void LookForRoom();
  void TellSoon();
  void Tell();

  void OnServiceChanged(const std::shared_ptr<const scale::ServiceView>& view) override;
  void OnServiceRemoved(scale::ServiceName name) override;
  void OnStartFailed(scale::ServiceName name, const Status& status) override;

  Loop* loop_;
  scale::Directory* directory_;
  scale::Control* control_;
  Random random_;
  boost::unordered_flat_map<uint64_t, std::shared_ptr<Backend>> backends_;
  // By service: outlives instances, so that one that comes and fails again and again is spared.
  boost::unordered_flat_map<std::string, std::shared_ptr<policy::RetryBudget>> retry_budgets_;
  boost::unordered_flat_map<std::string, std::unique_ptr<HeldQueue>> held_by_service_;
  FunctionTimer tell_timer_{[this] { Tell(); }};
  FunctionTimer room_timer_{[this] { LookForRoom(); }};
  uint32_t queues_for_room_ = 0;
  bool contended_ = false;  // other loops hold calls of a service for which this one does
  uint32_t held_ = 0;
  std::atomic<uint64_t> held_total_{0};
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_ROUTER_H_
