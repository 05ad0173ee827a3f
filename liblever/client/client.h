// A client: address -> route -> channel -> call.
//
// It finds the instances of a service in the route table, which a watch on the host feeds; calls go
// straight to an instance over a connection that the host introduced, or through the host while there
// is none. It sends again what surely did not run, within the deadline and a budget.
//
// Threads: a Client belongs to one Loop and is used only by who holds that loop's word.
//
// Invariants
//  1. A call or stream that was accepted has exactly one end (OnDone, OnEnd), never from inside the
//     function that started it; a refused one has none.
//  2. Nothing waits for a route or an introduction: what has no direct way goes through the host now.
//  3. A request is sent again only if it surely did not run, or if it is idempotent; what is sent again
//     beyond redirects is under the budget of policy/retry.h.
//  4. Close() ends everything with CANCELLED; OnClosed() is last, and only then may the client be
//     destroyed.
#ifndef LIBLEVER_CLIENT_CLIENT_H_
#define LIBLEVER_CLIENT_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/clock.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/route/envelope.h"
#include "liblever/route/message_stream.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/tls.h"

namespace lever {
class Loop;
namespace route {
class HostLink;
}  // namespace route
namespace rpc {
class HeaderList;
}  // namespace rpc
}  // namespace lever

namespace lever::client {

class Client;
class UnaryCall;

using route::Kind;
using route::Outcome;
using route::StreamHandler;

// A caller's own deadline_ns of 0: 60 s for a call, none for a stream.
inline constexpr int64_t kDefaultDeadline = 0;

struct Request {
  // "lever://env/service[/resource]/method" or "/service[/resource]/method"; with `grpc` a gRPC path.
  std::string_view address;
  Kind kind = Kind::kValue;  // kValue: an array of arguments; kRaw: the one bytes argument
  SliceList payload;
  bool idempotent = false;  // an outcome that is not known may be sent again
  bool compress = false;    // what is sent, by gzip
  // Pass-through: the payload is the gRPC message itself, and so are the answers (kRaw).
  bool grpc = false;
  int64_t deadline_ns = kDefaultDeadline;  // absolute, on the loop's clock; kNever: none
  // Copied. Names that begin with "lever-" or "grpc-" are dropped. Null: none.
  const rpc::HeaderList* metadata = nullptr;
  // Of a resource's stream: `resume` runs in place of the method, from this point on, as it does by
  // itself where a resource has moved. `consumed` is not used. Null: a new stream.
  const route::ResumePoint* resume = nullptr;
  // Streams: credit from the start.
  uint64_t read_messages = 0;
  uint64_t read_bytes = 0;
};

class UnaryHandler {
 public:
  virtual ~UnaryHandler() = default;
  // The call is gone when this returns.
  virtual void OnDone(UnaryCall& call, Outcome outcome) = 0;
};

class UnaryCall {
 public:
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;
  // OnDone() follows, later, with CANCELLED unless the call was done already.
  virtual void Cancel() = 0;

 protected:
  UnaryCall() = default;
  virtual ~UnaryCall() = default;
};

// A stream of ours: see route/message_stream.h. Its OnEnd() has METHOD_ERROR and the error's payload
// where the method ended it so. One of a resource whose methods can be resumed goes on by itself where
// the resource moves to.
using ClientStream = route::MessageStream;

struct ClientOptions {
  // The way to the host: shared with an attached service (Service::link()), or null: `host` is used.
  std::shared_ptr<route::HostLink> link;
  std::string host;  // "127.0.0.1:8080", "unix:/path", "tls:host:8443"
  rpc::TlsClientOptions tls;
  std::string environment = "dev.lever";
  bool only_through_host = false;
  // No network: a call answers with its own arguments, a stream with its own messages.
  bool echo = false;
  size_t message_bytes_max = rpc::kMessageBytesMax;
};

struct ClientStats {
  uint64_t calls_direct = 0;  // attempts of calls and streams that went straight to an instance
  uint64_t calls_through_host = 0;
  uint64_t retries = 0;
  uint64_t direct_connections = 0;  // open now
};

class ClientHandler {
 public:
  virtual ~ClientHandler() = default;
  virtual void OnClosed(Client& client) = 0;
};

class Client {
 public:
  static StatusOr<std::unique_ptr<Client>> Open(Loop* loop, ClientOptions options,
                                                ClientHandler* handler);
  virtual ~Client() = default;

  // Whether StartCall() and OpenStream() would take the request, for a client that is open. Any thread.
  static Status CheckCall(const Request& request);
  static Status CheckStream(const Request& request);

  // INVALID_ARGUMENT: the address, the kind, or a payload that is not an array of arguments.
  // CANCELLED: the client is closed.
  virtual StatusOr<UnaryCall*> StartCall(Request request, UnaryHandler* handler) = 0;
  virtual StatusOr<ClientStream*> OpenStream(Request request, StreamHandler* handler) = 0;

  virtual ClientStats stats() const = 0;
  virtual const std::string& environment() const = 0;
  // OnClosed() follows, never from inside this function. A second Close() does nothing.
  virtual void Close() = 0;
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_CLIENT_H_
