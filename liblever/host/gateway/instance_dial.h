// One attempt to connect to an instance at its own address: over TLS it has to have the key that it told
// the host of, and is shown the host's token.
//
// Threads: those of its loop. Destroying it gives the attempt up.
#ifndef LIBLEVER_HOST_GATEWAY_INSTANCE_DIAL_H_
#define LIBLEVER_HOST_GATEWAY_INSTANCE_DIAL_H_

#include <functional>
#include <memory>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/route/watch_messages.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/connector.h"
#include "liblever/rpc/tls_handshake.h"

namespace lever::gateway {

// An instance's address is near; whoever waits for it has other instances, or a deadline.
inline constexpr int64_t kInstanceDialTimeoutNs = 5 * kNanosPerSecond;

class InstanceDial final : private Timer {
 public:
  // Called once, also from inside Start(): a connection that takes calls, or UNAVAILABLE with what went wrong.
  // It may destroy the dial.
  using Done = std::function<void(StatusOr<std::unique_ptr<rpc::Connection>>)>;

  // A `way` without a key is a plain address. The connection is `handler`'s from its first moment on.
  InstanceDial(Loop* loop, route::AddressWay way, rpc::ConnectionHandler* handler, Done done);
  ~InstanceDial() override;

  void Start();

 private:
  Status Begin();
  void OnConnected(StatusOr<UniqueFd> socket);
  Status Shake(UniqueFd socket);
  void OnSecured(StatusOr<std::unique_ptr<rpc::TlsStream>> stream);
  Status ShowToken(std::unique_ptr<rpc::ByteStream> stream);
  StatusOr<std::unique_ptr<rpc::Connection>> Open(std::unique_ptr<rpc::ByteStream> stream);
  void Fail(const Status& why);
  void Finish(StatusOr<std::unique_ptr<rpc::Connection>> result);
  void OnTimer() override;

  Loop* const loop_;
  const route::AddressWay way_;
  rpc::ConnectionHandler* const handler_;
  Done done_;
  std::string host_;  // of the address
  std::shared_ptr<rpc::TlsClientContext> tls_;
  std::unique_ptr<rpc::Connector> connector_;
  std::unique_ptr<rpc::TlsHandshake> handshake_;
  std::unique_ptr<rpc::Connection> connection_;  // until the token was taken
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_INSTANCE_DIAL_H_
