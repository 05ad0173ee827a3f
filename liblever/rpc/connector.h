// One attempt to connect a socket to an endpoint: its name is looked up, its addresses are tried
// one after the other, each with its share of the time.
//
// Threads: those of its loop. Destroying it gives the attempt up.
#ifndef LIBLEVER_RPC_CONNECTOR_H_
#define LIBLEVER_RPC_CONNECTOR_H_

#include <functional>
#include <memory>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/rpc/resolver.h"

namespace lever::rpc {

// A unix socket whose backlog is full says so at once; it is asked again after this long.
inline constexpr int64_t kBacklogRetryNs = 5 * kNanosPerMilli;

class Connector final : private IoSource, private Timer {
 public:
  // Called once with a connected socket, or with UNAVAILABLE naming endpoint and errno; Start() may
  // call it. It may destroy the connector.
  using Done = std::function<void(StatusOr<UniqueFd>)>;

  // `deadline_ns` is for all of it.
  Connector(Loop* loop, Endpoint endpoint, int64_t deadline_ns, Done done);
  ~Connector() override;

  void Start();

 private:
  void Try(Addresses addresses);
  void TryNext(Status last);
  void TryAgain();
  void OnConnectResult(int error);
  void Finish(StatusOr<UniqueFd> result);
  void CloseSocket();
  Status Failed(int error) const;

  uint32_t OnReady(uint32_t events) override;
  void OnTimer() override;

  Loop* const loop_;
  const Endpoint endpoint_;
  const int64_t deadline_ns_;
  Done done_;
  std::unique_ptr<Resolution> resolution_;
  Addresses addresses_;
  size_t next_ = 0;
  UniqueFd socket_;
  int64_t try_until_ns_ = kNever;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CONNECTOR_H_
