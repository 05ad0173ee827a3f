// A client's way to one endpoint: connects when there is something to send, reconnects with
// back-off, and holds calls that come while it connects.
//
// Threads: those of its loop. Invariants:
//  1. Exactly one OnEnd() for every call that StartCall() returned, whether or not it got a
//     connection.
//  2. A call that found no connection within its deadline, or whose connect failed, ends
//     UNAVAILABLE, never_written, executed NO.
//  3. After a GOAWAY new calls go to a new connection; those on the old one finish there.
//  4. A call goes to a connection whose peer's SETTINGS have come, so that nothing was written of
//     what waits for an attempt that fails. A call that comes during back-off waits for the next
//     attempt; who would rather go elsewhere looks at state().
//  5. Attempts begin at least the back-off's delay apart, also if the connection worked meanwhile.
#ifndef LIBLEVER_RPC_CHANNEL_H_
#define LIBLEVER_RPC_CHANNEL_H_

#include <functional>
#include <memory>
#include <string>

#include "liblever/rpc/call.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/rpc/tls.h"

namespace lever::rpc {

// Calls that may wait for a connection of one channel; beyond it they end RESOURCE_EXHAUSTED,
// never_written.
inline constexpr size_t kWaitingCallsMax = 16 * 1024;

class Channel {
 public:
  // Connects to an endpoint, again and again as needed. `jitter_seed` 0: of the machine's
  // randomness. With `tls` over TLS, where the time to connect includes the handshake; an endpoint
  // that says "tls:" is never connected to without.
  static std::unique_ptr<Channel> To(Loop* loop, Endpoint endpoint,
                                     const ConnectionOptions& options = {},
                                     uint64_t jitter_seed = 0,
                                     std::shared_ptr<TlsClientContext> tls = nullptr);
  // Connects to an endpoint at once, and does not reconnect: what ends the connection closes the channel.
  static std::unique_ptr<Channel> Once(Loop* loop, Endpoint endpoint,
                                       const ConnectionOptions& options = {},
                                       std::shared_ptr<TlsClientContext> tls = nullptr);
  // Over a socket that is connected already (a socketpair that was handed in); it does not
  // reconnect.
  static StatusOr<std::unique_ptr<Channel>> Over(Loop* loop, UniqueFd socket,
                                                 const ConnectionOptions& options = {});
  // Closes its connections. The calls that are open end as CANCELLED later in the turn.
  virtual ~Channel() = default;

  enum class State : uint8_t { kIdle, kConnecting, kReady, kBackoff, kClosed };
  virtual State state() const = 0;
  // Called at each change of state, with what led to it where that was trouble. It must not destroy
  // the channel.
  virtual void OnStateChange(std::function<void(State, const Status&)> callback) = 0;

  // Starts a gRPC call; never null. While there is no connection yet the call waits: what is
  // written to it is queued, Cancel() works, and its deadline runs. The handler gets OnEnd() in any
  // case, never from inside this function.
  virtual Call* StartCall(const CallOptions& options, CallHandler* handler) = 0;
  // The connection, if it is ready: for callers that start streams themselves and without delay.
  virtual Connection* ready_connection() const = 0;
  // Makes it connect now, without regard to the back-off.
  virtual void Connect() = 0;
  // The same for who waits for OnStateChange() without a call: an idle channel connects as soon as the
  // back-off allows.
  virtual void ConnectSoon() = 0;

  virtual size_t open_calls() const = 0;
  // Finishes what is open, takes nothing new.
  virtual void Drain() = 0;
  // Ends all calls with `status`.
  virtual void Close(const Status& status) = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CHANNEL_H_
