// The server side: listeners and the calls that come in.
//
// Threads: those of its loop. A host opens one Server a loop, on the same address with SO_REUSEPORT.
#ifndef LIBLEVER_RPC_SERVER_H_
#define LIBLEVER_RPC_SERVER_H_

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "liblever/rpc/call.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/connection.h"

namespace lever::rpc {

// Decides what becomes of an incoming gRPC call: sets the call's handler, or finishes it.
class CallDispatcher {
 public:
  virtual ~CallDispatcher() = default;
  // The request's headers have come; call.path() says what is wanted. Must call call.set_handler(),
  // and may Read(), Write() and Finish() at once.
  virtual void OnCall(Call& call) = 0;
};

// Turns the requests of one server connection into gRPC calls, and answers those that are not gRPC
// with 415. For connections whose socket came from elsewhere, too (Adopt).
class Server {
 public:
  static std::unique_ptr<Server> Make(Loop* loop, CallDispatcher* dispatcher,
                                      const ConnectionOptions& options = {});
  virtual ~Server() = default;

  virtual Status Listen(const Endpoint& endpoint) = 0;
  // The address that the last Listen() bound, with the port that was chosen.
  virtual const Endpoint& bound() const = 0;
  // Serves a connected socket. `tag` is what connection_tag() gives for its calls (who is calling).
  virtual Status Adopt(UniqueFd socket, std::shared_ptr<void> tag = nullptr) = 0;
  // The tag of the connection that `call` came over; null without.
  virtual void* connection_tag(const Call& call) const = 0;

  // For a gateway that dispatches requests itself and hands over those that are gRPC calls for us.
  virtual void Serve(Stream& stream) = 0;

  virtual size_t open_calls() const = 0;
  // GOAWAY on every connection, no new ones; `drained` is called when the last has ended.
  virtual void Drain(std::function<void()> drained) = 0;
  virtual void Close(const Status& status) = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_SERVER_H_
