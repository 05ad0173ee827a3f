// A gRPC call that the host passes on to a program outside of Lever.
//
// Metadata pass as they are, both ways, and so do messages, compressed or not: of the headers only those
// of one hop are the host's own (te, grpc-timeout with what is left of it, :scheme). Nothing of Lever's
// is added.
//
// Threads: those of its loop. It owns itself, from Start() until both of its streams have closed.
//
// Invariants, beside those of relay_core.h
//  1. The host sends again only what HTTP/2 says was not processed (never written, REFUSED_STREAM, above
//     the last id of GOAWAY), the latter two under the upstream's retry budget. What the outside program
//     answers is its own business.
#ifndef LIBLEVER_HOST_GATEWAY_UPSTREAM_RELAY_H_
#define LIBLEVER_HOST_GATEWAY_UPSTREAM_RELAY_H_

#include <string>

#include "liblever/host/gateway/relay_core.h"
#include "liblever/host/gateway/upstream.h"

namespace lever::gateway {

class UpstreamRelay final : private UpstreamWaiter, private RelayCore<UpstreamRelay> {
 public:
  // Takes over a request for the upstream's service.
  static void Start(Loop* loop, Upstream* upstream, RelayCounters* counters, rpc::Stream& stream);

 private:
  friend class RelayCore<UpstreamRelay>;

  UpstreamRelay(Loop* loop, Upstream* upstream, RelayCounters* counters, rpc::Stream& stream)
      : RelayCore(loop, counters, stream), upstream_(upstream) {}
  ~UpstreamRelay() override = default;

  void OnUpstream(rpc::Connection* connection) override { Attempt(connection); }
  void OnNoUpstream(const Status& status) override { EndCaller(status); }

  // What RelayCore asks for.
  void FindPeer() { upstream_->Find(this); }
  void StopFinding() { upstream_->Cancel(this); }
  void LeavePeer() {}
  void BuildHeaders(rpc::HeaderList* headers);
  bool RefusedUnrun() const { return false; }
  bool RefusedFull() const { return false; }
  void WaitForRoom() {}
  void OnKept(size_t) {}
  bool MayResend(Sent sent);
  void OnAnswered() { upstream_->retry_budget().OnSuccess(); }
  std::string PeerName() const { return upstream_->name(); }

  Upstream* const upstream_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_UPSTREAM_RELAY_H_
