// A call of lever.v1.Lever that goes through the host to an instance of a service.
//
// Threads: those of its loop. A Relay owns itself, from Start() until both of its streams have
// closed.
//
// Invariants, beside those of relay_core.h
//  1. For a caller that does not retry by itself (no lever-attempt) the host sends again what surely
//     did not run, under the budget of the service (policy/retry.h). For one that does, the host only
//     looks for another instance while not a byte of the call was written to one.
//  2. What was never written is outside of the budget.
//  3. What an instance refused because it is full waits for room, whoever retries: that is what the
//     host is asked for.
#ifndef LIBLEVER_HOST_GATEWAY_RELAY_H_
#define LIBLEVER_HOST_GATEWAY_RELAY_H_

#include <memory>
#include <optional>
#include <string>

#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/relay_core.h"
#include "liblever/host/gateway/router.h"

namespace lever::gateway {

class Relay final : public RoutedCall, private RelayCore<Relay> {
 public:
  using RelayCore::kAttemptsMax;

  // Takes over a request for lever.v1.Lever.
  static void Start(Loop* loop, Router* router, RelayCounters* counters,
                    const fleet::Caller& caller, rpc::Stream& stream);

 private:
  friend class RelayCore<Relay>;
  // RoutedCall has its own, private.
  using RelayCore::deadline_ns_;
  using RelayCore::loop_;

  Relay(Loop* loop, Router* router, RelayCounters* counters, const fleet::Caller& caller,
        rpc::Stream& stream)
      : RelayCore(loop, counters, stream), router_(router), caller_(caller.identity) {}
  ~Relay() override = default;

  Status ReadRequest(const fleet::Caller& caller);
  void OnRouted(const std::shared_ptr<Backend>& backend) override;
  void OnRefused(const Status& status) override { EndCaller(status); }

  // What RelayCore asks for.
  void FindPeer() {
    router_->Route(this, {environment_, service_}, deadline_ns_, resource_hash_, wish_);
  }
  void StopFinding() { router_->Cancel(this); }
  void LeavePeer();
  void BuildHeaders(rpc::HeaderList* headers);
  bool RefusedUnrun() const;
  bool RefusedFull() const;
  void WaitForRoom();
  void OnKept(size_t bytes) { SetHeldBytes(bytes); }
  bool MayResend(Sent sent);
  void OnAnswered() { backend_->retry_budget().OnSuccess(); }
  std::string PeerName() const { return "the instance"; }

  Router* router_;
  std::shared_ptr<Backend> backend_;
  int64_t began_ns_ = 0;
  std::string environment_;
  std::string service_;
  std::string caller_;
  std::optional<uint64_t> resource_hash_;
  VersionWish wish_;
  bool host_retries_ = false;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_RELAY_H_
