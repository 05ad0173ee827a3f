// Finds an instance for a call on one loop, and has one started if there is none.
//
// Threads: those of its loop.
//
// Invariants
//  1. Each Route() completes once: OnRouted(), OnRefused(), or by Cancel(). It may complete before
//     Route() returns.
//  2. A call is held for at most kHoldMaxNs, and no longer than its deadline; at most
//     kHeldPerServiceMax of a service and kHeldMax in all. What is refused here surely did not run.
//  3. Calls held for one service share its starts: they are released together when an instance is ready,
//     and fail together when none could be started.
//  4. How many are held is told to the control plane at once when the first is, then at most every
//     kTellNs.
#ifndef LIBLEVER_HOST_GATEWAY_ROUTER_H_
#define LIBLEVER_HOST_GATEWAY_ROUTER_H_

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
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

namespace lever::gateway {

class Router;

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

 private:
  friend class Router;
  using HeldHook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

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
  policy::ShardGeneration owner_;  // generation 0: none
  bool waits_for_owner_ = false;   // it is held although there are instances
  HeldHook held_hook_;
  bool counted_ = false;  // in the router's numbers of held calls
};

class Router final : private scale::DirectoryObserver {
 public:
  static constexpr int64_t kHoldMaxNs = 60 * kNanosPerSecond;
  static constexpr uint32_t kHeldPerServiceMax = 10'000;
  static constexpr uint32_t kHeldMax = 100'000;
  static constexpr int64_t kTellNs = 20 * kNanosPerMilli;
  // Connections that failed for one call before it is refused.
  static constexpr uint32_t kConnectFailuresMax = 3;
  // An instance whose connection failed is passed over for this long where there is another.
  static constexpr int64_t kAvoidNs = 1 * kNanosPerSecond;

  Router(Loop* loop, scale::Directory* directory, scale::Control* control, uint64_t random_seed);
  ~Router() override;

  // Checks the name and the caller's permission: NOT_FOUND, PERMISSION_DENIED, unexecuted.
  Status Check(scale::ServiceName name, const fleet::Caller& caller) const;
  // `resource_hash` (policy::ResourceHash()) of a call to a resource: it goes to the owner, and is held
  // until there is one.
  void Route(RoutedCall* call, scale::ServiceName name, int64_t deadline_ns,
             std::optional<uint64_t> resource_hash = std::nullopt);
  void Cancel(RoutedCall* call);

  uint32_t held() const { return held_; }
  uint64_t held_total() const { return held_total_.load(std::memory_order_relaxed); }

 private:
  friend class RoutedCall;
  using HeldList = boost::intrusive::list<
      RoutedCall,
      boost::intrusive::member_hook<RoutedCall, RoutedCall::HeldHook, &RoutedCall::held_hook_>,
      boost::intrusive::constant_time_size<false>>;
  // It is not known what the control plane believes.
  static constexpr uint32_t kToldUnknown = UINT32_MAX;
  struct Held {
    std::string environment;
    std::string service;
    HeldList calls;
    uint32_t count = 0;
    uint32_t for_owner = 0;  // of these, that more instances would not help
    uint32_t told = 0;

    uint32_t demand() const { return count - for_owner; }
  };

  void TryRoute(RoutedCall* call);
  // The owner of the call's resource; null: it is not known.
  const scale::InstanceView* FindOwner(RoutedCall* call, const scale::ListedService& service) const;
  std::shared_ptr<Backend> Pick(const scale::ListedService& service);
  std::shared_ptr<Backend> BackendOf(const scale::InstanceView& instance);
  void Hold(RoutedCall* call);
  void Unhold(RoutedCall* call);
  void Refuse(RoutedCall* call, const Status& status);
  // Takes all calls that are held for a service.
  void TakeHeld(scale::ServiceName name, HeldList* out);
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
  boost::unordered_flat_map<std::string, std::unique_ptr<Held>> held_by_service_;
  FunctionTimer tell_timer_{[this] { Tell(); }};
  uint32_t held_ = 0;
  std::atomic<uint64_t> held_total_{0};
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_ROUTER_H_
