// Programs outside of Lever that are reached through the host: a gRPC service by its full name, and the
// address that serves it. An Upstream is one loop's connections to one of them.
//
// Connecting, back-off and the replacement of draining connections are rpc::Channel's. There is one
// connection until the peer's limit of concurrent streams is reached on it, then another, up to
// kConnectionsMax; beyond that streams wait their turn on the one with the fewest.
//
// Threads: those of its loop.
//
// Invariants
//  1. Each Find() completes once: OnUpstream(), OnNoUpstream(), or by Cancel(). It may complete before
//     Find() returns.
//  2. At most kWaitingMax calls wait for a connection, for one attempt to connect: its end is theirs.
#ifndef LIBLEVER_HOST_GATEWAY_UPSTREAM_H_
#define LIBLEVER_HOST_GATEWAY_UPSTREAM_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/policy/retry.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/tls.h"

namespace lever::gateway {

struct UpstreamOptions {
  std::string service;  // "grpc.testing.TestService"
  std::string address;  // as rpc::Endpoint takes it; "tls:" before it for TLS
};

// Reads "SERVICE=ENDPOINT". INVALID_ARGUMENT for what is neither, and for services that are the host's
// own.
StatusOr<UpstreamOptions> ParseUpstream(std::string_view text);

// A call that wants a connection. Neither copied nor moved.
class UpstreamWaiter : public internal::ListHook {
 public:
  virtual ~UpstreamWaiter() = default;
  virtual void OnUpstream(rpc::Connection* connection) = 0;
  // It surely did not run.
  virtual void OnNoUpstream(const Status& status) = 0;
};

class Upstream {
 public:
  // Keepalive is slower than with Lever's own peers: gRPC servers end a connection whose client sends
  // PINGs more than every five minutes while nothing else goes over it ("too_many_pings").
  static constexpr int64_t kKeepaliveTimeNs = (5 * 60 + 10) * kNanosPerSecond;
  static constexpr size_t kConnectionsMax = 8;
  static constexpr size_t kWaitingMax = 10'000;

  // `tls` for an endpoint that says so, else null.
  Upstream(Loop* loop, const UpstreamOptions& options, rpc::Endpoint endpoint,
           std::shared_ptr<rpc::TlsClientContext> tls);

  // "grpc.testing.TestService at 127.0.0.1:50051", for messages.
  const std::string& name() const { return name_; }
  bool encrypted() const { return tls_ != nullptr; }
  policy::RetryBudget& retry_budget() { return retry_budget_; }
  void Find(UpstreamWaiter* waiter);
  void Cancel(UpstreamWaiter* waiter);

 private:
  using WaiterList =
      boost::intrusive::list<UpstreamWaiter, boost::intrusive::constant_time_size<false>>;

  // A connection for a stream now; null if one is worth waiting for.
  rpc::Connection* Free() const;
  // Of those that take streams, the one with the fewest; a full one only where all are.
  rpc::Connection* Least() const;
  // Has one more connect, unless one is on its way.
  void Grow();
  void OnState(rpc::Channel::State before, rpc::Channel::State state, const Status& status);
  void GiveOut();
  void Refuse(const Status& status);

  Loop* const loop_;
  const rpc::Endpoint endpoint_;
  const std::shared_ptr<rpc::TlsClientContext> tls_;
  const std::string name_;
  policy::RetryBudget retry_budget_;
  WaiterList waiters_;
  size_t waiting_ = 0;
  // Last: their end may still call back.
  std::vector<std::unique_ptr<rpc::Channel>> channels_;
};

// Those of one loop, by service.
class Upstreams {
 public:
  explicit Upstreams(Loop* loop) : loop_(loop) {}
  // INVALID_ARGUMENT: a service that is there already, or not an address. FAILED_PRECONDITION: TLS, and no
  // roots are found.
  Status Add(const UpstreamOptions& options);
  bool empty() const { return by_service_.empty(); }
  // Who serves the method of a path, "/grpc.testing.TestService/UnaryCall"; null: none of these.
  Upstream* Find(std::string_view path) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  Loop* const loop_;
  boost::unordered_flat_map<std::string, std::unique_ptr<Upstream>, Hash, std::equal_to<>>
      by_service_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_UPSTREAM_H_
