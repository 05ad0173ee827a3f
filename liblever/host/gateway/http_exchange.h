// One HTTP request and its reply, whatever version carries them: what a transport (HTTP/1.1,
// HTTP/2) and what serves the request know of each other.
//
// Threads: those of its loop.
//
// Invariants
//  1. An exchange has one HttpHandler, set before Serve() returns, which gets exactly one
//     OnClosed(), last: when the reply is out of its hands, or the client is gone. Neither touches
//     the other after it.
//  2. No function of HttpExchange calls the handler; it is called later in the turn.
//  3. The transport gives no more of the body while kHttpWindowBytes of it are not consumed.
//  4. The handler ends the reply once, or hears before that the client is gone.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_EXCHANGE_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/http_rules.h"
#include "liblever/rpc/headers.h"

namespace lever::gateway {

// Who is on the other end, and how it came.
struct HttpPeer {
  fleet::Caller caller;
  CameOver came_over = CameOver::kNetwork;
  Encrypted encrypted = Encrypted::kNo;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // A piece of the request's body; the view is good during the call. It counts until Consume().
  virtual void OnBody(std::string_view data) = 0;
  virtual void OnBodyEnd() = 0;
  // The reply's queue has room again after Writable() was false.
  virtual void OnWritable() {}
  virtual void OnClosed() = 0;
};

struct HttpHead {
  int status = 200;
  rpc::HeaderList fields;
  // The body's size where it is known; without, the body ends with End().
  std::optional<uint64_t> content_length;
};

class HttpExchange {
 public:
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  // The request: ":method", ":path", ":authority", and its fields, names in small letters.
  virtual const rpc::HeaderList& request() const = 0;
  virtual void set_handler(HttpHandler* handler) = 0;

  // The reply's head. Once.
  virtual void SendHead(const HttpHead& head) = 0;
  // A piece of the reply's body; pieces of one turn go out together at its end.
  virtual void Write(Slice data) = 0;
  virtual void End() = 0;
  virtual bool Writable() const = 0;
  // `bytes` of the body that was given are worked off.
  virtual void Consume(size_t bytes) = 0;

 protected:
  HttpExchange() = default;
  ~HttpExchange() = default;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_EXCHANGE_H_
