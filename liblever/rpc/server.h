// The server side: listeners and the calls that come in.
//
// Threads: those of its loop. A host opens one Server a loop, on the same address with
// ListenOptions::reuse_port.
//
// Invariants
//  1. A request that is not a gRPC call for us is answered here and never dispatched: 415 for
//     another content type, 405 for another method than POST, and as surely not run UNIMPLEMENTED
//     for another codec or an encoding other than gzip, INTERNAL for fields that cannot be read.
//  2. Without descriptors left a listener refuses connections, counts them, and does not spin.
//  3. OnEnd() comes for every call that was dispatched, also when the server is destroyed.
//  4. Beyond ConnectionOptions::connections_max a connection that was accepted is closed at once.
//  5. What comes over a connection that has not been admitted yet, where that is asked for, is dispatched
//     like anything else: the dispatcher knows it by its missing tag, and refuses it.
#ifndef LIBLEVER_RPC_SERVER_H_
#define LIBLEVER_RPC_SERVER_H_

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "liblever/rpc/call.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/tls.h"

namespace lever::rpc {

// Decides what becomes of an incoming gRPC call: sets the call's handler, or finishes it.
class CallDispatcher {
 public:
  virtual ~CallDispatcher() = default;
  // The request's headers have come; call.path() says what is wanted. Must call call.set_handler(),
  // and may Read(), Write() and Finish() at once.
  virtual void OnCall(Call& call) = 0;
};

struct ListenOptions {
  // TCP: several sockets, one for each loop, share the address, also of other processes of the
  // user.
  bool reuse_port = false;
  int backlog = 4096;
  // Null: plain. Otherwise TLS, with HTTP/2 by ALPN.
  std::shared_ptr<TlsServerContext> tls;
  // Not 0: each connection has to be admitted (Server::Admit()) within so long, and is closed otherwise.
  int64_t admission_timeout_ns = 0;
};

// Turns the requests of one server connection into gRPC calls, and answers those that are not gRPC
// with 415. For connections whose socket came from elsewhere, too (Adopt).
class Server {
 public:
  static std::unique_ptr<Server> Make(Loop* loop, CallDispatcher* dispatcher,
                                      const ConnectionOptions& options = {});
  // Closes its listeners and connections. The calls that are open end as CANCELLED later in the
  // turn.
  virtual ~Server() = default;

  // May be called for several endpoints. The host is a number or localhost. A unix socket's path
  // that nobody listens on any more is replaced; ALREADY_EXISTS if somebody does.
  virtual Status Listen(const Endpoint& endpoint, const ListenOptions& options = {}) = 0;
  // The address that the last Listen() bound, with the port that was chosen.
  virtual const Endpoint& bound() const = 0;
  // Serves a connected socket. `tag` is what connection_tag() gives for its calls (who is calling);
  // `callers` of kMany: a relay that we trust is at the other end.
  using Callers = ConnectionOptions::Callers;
  virtual Status Adopt(UniqueFd socket, std::shared_ptr<void> tag = nullptr,
                       Callers callers = Callers::kOne) = 0;
  // The tag of the connection that `call` came over; null without.
  virtual void* connection_tag(const Call& call) const = 0;

  // Only inside OnCall(): the connection that the call came over is admitted. `tag` is from now on what
  // connection_tag() gives for its calls, this one too; at `until_ns` it drains.
  virtual void Admit(Call& call, std::shared_ptr<void> tag, int64_t until_ns) = 0;

  // For a gateway that dispatches requests itself and hands over those that are gRPC calls for us:
  // takes the stream over in OnRequest(). `tag` as for Adopt().
  virtual void Serve(Stream& stream, std::shared_ptr<void> tag = nullptr) = 0;

  virtual size_t open_calls() const = 0;
  // Those included that are in their TLS handshake.
  virtual size_t open_connections() const = 0;
  // Connections that were closed at once because the process had no descriptor for them.
  virtual uint64_t refused_connections() const = 0;
  // GOAWAY on every connection, no new ones; `drained` is called when the last of them and of the
  // calls has ended, not from inside.
  virtual void Drain(std::function<void()> drained) = 0;
  // Ends all calls with `status`, and all connections.
  virtual void Close(const Status& status) = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_SERVER_H_
