// The HTTP API of a host on one loop: decides which requests are served, and serves them. Over
// HTTP/1.1 and HTTP/2 alike; http1_connection.h and h2_exchange.h carry the bytes.
//
//   POST /<service>[/<resource>]/<method>   calls it: http_unary.h, http_stream.h
//   OPTIONS                                 what CORS asks first
//   /-/healthz, /-/readyz                   the host's own: it lives, it takes calls
//
// Threads: those of its loop. It is destroyed after the front that it serves.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_API_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_API_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/host/gateway/front.h"
#include "liblever/host/gateway/http_context.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/host/gateway/http_rules.h"

namespace lever::gateway {

class Http1Connection;

class HttpApi final : public HttpFront {
 public:
  HttpApi(Loop* loop, Router* router, RelayCounters* counters, HttpOptions options);
  ~HttpApi() override;

  void ServeStream(rpc::Stream& stream, const HttpPeer& peer) override;
  void ServeHttp1(std::unique_ptr<rpc::ByteStream> socket, const HttpPeer& peer,
                  std::span<const uint8_t> already_read) override;
  size_t connections() const override { return connections_.size(); }
  // Requests that are being served go on; connections end with them, and the host is not ready.
  void Drain() override;
  void Close() override;

  // For the transports: serves a request whose head has come. The exchange has its handler after
  // it.
  void Serve(HttpExchange& exchange, const HttpPeer& peer);
  bool draining() const { return draining_; }
  Loop* loop() const { return context_->loop; }
  // The last word of a connection.
  void OnConnectionClosed(Http1Connection* connection);

 private:
  // Fills the fields that go with every reply. False: the request was refused.
  bool CheckSender(HttpExchange& exchange, const HttpPeer& peer, rpc::HeaderList* extra);
  bool MayNameHost(std::string_view authority, CameOver came_over);
  void ServeOptions(HttpExchange& exchange, rpc::HeaderList extra, std::string_view path);
  void ServeOwn(HttpExchange& exchange, const rpc::HeaderList& extra, std::string_view path);
  void ServeMethod(HttpExchange& exchange, const HttpPeer& peer, rpc::HeaderList extra);

  std::shared_ptr<HttpContext> context_;  // with what outlives this for a moment
  HttpOptions options_;
  bool draining_ = false;
  std::string allowed_authority_;  // the last that may be used over loopback
  boost::unordered_flat_map<Http1Connection*, std::unique_ptr<Http1Connection>> connections_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_API_H_
