// One loop's connection to one instance.
//
// Threads: those of its loop. A Backend is made at the first call to the instance and lives until the
// instance has left the directory and nothing is in flight on it.
//
// Invariants
//  1. Connection() is null or a connection that takes new streams.
//  2. What waits for the connection gets exactly one OnConnected() or OnConnectFailed().
#ifndef LIBLEVER_HOST_GATEWAY_BACKEND_H_
#define LIBLEVER_HOST_GATEWAY_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/host/gateway/instance_dial.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/directory.h"
#include "liblever/policy/retry.h"
#include "liblever/rpc/connection.h"

namespace lever::gateway {

class Backend;

// Who waits for a backend's connection.
class BackendWaiter : public internal::ListHook {
 public:
  virtual ~BackendWaiter() = default;
  virtual void OnConnected(Backend& backend) = 0;
  virtual void OnConnectFailed(Backend& backend, const Status& status) = 0;
};

// Who gives a backend its calls.
class BackendOwner {
 public:
  virtual ~BackendOwner() = default;
  // A call has left an instance that takes only so many.
  virtual void OnRoom() = 0;
};

class Backend final : public rpc::ConnectionHandler, public std::enable_shared_from_this<Backend> {
 public:
  // What others have in flight on an instance that refused is taken to halve each time.
  static constexpr int64_t kOthersHalveNs = 20 * kNanosPerMilli;

  // `retry_budget` is of all instances of the service on this loop. `owner` hears nothing after
  // Retire().
  Backend(Loop* loop, scale::Control* control, scale::InstanceView instance,
          std::shared_ptr<policy::RetryBudget> retry_budget, BackendOwner* owner);
  ~Backend() override;

  const scale::InstanceView& instance() const { return instance_; }
  policy::RetryBudget& retry_budget() { return *retry_budget_; }
  // Null unless it takes new streams now.
  rpc::Connection* connection() const;
  // Connects if need be, and calls the waiter on the loop, never from inside this.
  void Await(BackendWaiter* waiter);
  // A call of this loop begins or ends on it.
  void Begin() {
    ++in_flight_;
    instance_.load->relayed.fetch_add(1, std::memory_order_relaxed);
  }
  void End(int64_t latency_ns);
  uint32_t in_flight() const { return in_flight_; }
  int64_t latency_ns() const { return latency_ns_; }
  // When connecting failed last; kNever without.
  int64_t failed_ns() const { return failed_ns_; }

  // Whether the instance takes another call, as far as this host knows: by what goes through it,
  // and by what the instance refused last, since others may call it directly.
  bool HasRoom() const;
  // It has refused a call of this loop, which has not ended on it yet, because it is full.
  void OnFull();

  // The instance has left the directory: no new calls, ends when the last has.
  void Retire();
  bool Idle() const { return in_flight_ == 0 && waiters_.empty(); }
  // Whoever gives it calls is going.
  void LoseOwner() { owner_ = nullptr; }

  void OnReady(rpc::Connection& connection) override {}
  void OnRequest(rpc::Stream& stream) override;
  void OnDraining(rpc::Connection& connection) override;
  void OnClosed(rpc::Connection& connection, const Status& status) override;

 private:
  using WaiterList =
      boost::intrusive::list<BackendWaiter, boost::intrusive::constant_time_size<false>>;

  void Connect();
  void OnWay(StatusOr<scale::HostWay> way);
  void Dial(route::AddressWay way);
  StatusOr<std::unique_ptr<rpc::Connection>> Over(UniqueFd socket);
  void OnConnection(StatusOr<std::unique_ptr<rpc::Connection>> opened);
  void TellWaiters(const Status& status);

  Loop* loop_;
  scale::Control* control_;
  scale::InstanceView instance_;
  const std::shared_ptr<policy::RetryBudget> retry_budget_;
  std::unique_ptr<InstanceDial> dial_;  // to an address; of the latest attempt
  std::unique_ptr<rpc::Connection> connection_;
  // Drained by its peer; kept until its streams have ended.
  std::vector<std::unique_ptr<rpc::Connection>> old_connections_;
  bool connecting_ = false;
  bool retired_ = false;
  uint32_t in_flight_ = 0;
  int64_t latency_ns_ = 0;  // moving average
  int64_t failed_ns_ = kNever;
  BackendOwner* owner_;
  uint32_t others_ = 0;  // in flight on it, not through this host, when it refused last
  int64_t others_ns_ = 0;
  WaiterList waiters_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_BACKEND_H_
