// The host's front on one loop: takes connections on the host's port, finds out what they speak, and
// hands each request to who serves it.
//
//   HTTP/2, application/grpc  lever.v1.Lever -> Relay; services of upstreams -> UpstreamRelay;
//                             the host's own services -> their handlers
//   HTTP/2, anything else     the HTTP API
//   HTTP/1.1                  the HTTP API
//   TLS on a plain port       closed, and logged once
//
// Over TLS ALPN tells, and where a client offers none, the first bytes.
//
// Threads: those of its loop.
#ifndef LIBLEVER_HOST_GATEWAY_FRONT_H_
#define LIBLEVER_HOST_GATEWAY_FRONT_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/host/gateway/relay.h"
#include "liblever/host/gateway/router.h"
#include "liblever/host/gateway/upstream.h"
#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/server.h"
#include "liblever/rpc/tls.h"

namespace lever::rpc {
class TlsStream;
}  // namespace lever::rpc

namespace lever::gateway {

// Serves what is not gRPC.
class HttpFront {
 public:
  virtual ~HttpFront() = default;
  // A request over HTTP/2 that is not gRPC. Must set the stream's handler.
  virtual void ServeStream(rpc::Stream& stream, const HttpPeer& peer) = 0;
  // A connection that speaks HTTP/1.1, or nonsense; `already_read` is what it began with.
  virtual void ServeHttp1(std::unique_ptr<rpc::ByteStream> socket, const HttpPeer& peer,
                          std::span<const uint8_t> already_read) = 0;
  // Connections of HTTP/1.1 that are open.
  virtual size_t connections() const = 0;
  // They end after what they serve; they end now.
  virtual void Drain() = 0;
  virtual void Close() = 0;
};

// A method of the host's own services. Must set the call's handler, or finish it.
using MethodHandler = std::function<void(rpc::Call& call, const fleet::Caller& caller)>;

class Front final : private rpc::CallDispatcher {
 public:
  Front(Loop* loop, Router* router, RelayCounters* counters);
  ~Front() override;

  void set_http(HttpFront* http) { http_ = http; }
  // They outlive it.
  void set_upstreams(const Upstreams* upstreams) { upstreams_ = upstreams; }
  // `path` as in "/lever.v1.Host/Attach". Before connections come.
  void AddMethod(std::string path, MethodHandler handler);
  // How many connections Take() serves at a time; one more is closed at once. A host deals its
  // connections out to its loops in turn, and gives each an equal part of rpc::kConnectionsMax.
  void set_connections_max(size_t connections) { connections_max_ = connections; }
  // Serves a socket that was accepted elsewhere, from anybody; null: plain.
  void Take(UniqueFd socket, std::shared_ptr<rpc::TlsServerContext> tls = nullptr);
  // Serves a connected socket, whose other end is `caller`, with HTTP/2.
  Status Adopt(UniqueFd socket, fleet::Caller caller, std::span<const uint8_t> already_read = {});

  // Of all kinds, those included that have not shown yet what they speak.
  size_t connections() const;
  // No new connections; those that are open finish what they have.
  void Drain();
  void Close(const Status& status);

 private:
  enum class Origin : uint8_t { kOutside, kInstance };
  class Handshake;
  class Sniffer;
  class Http2;

  void OnCall(rpc::Call& call) override;
  void Sniff(std::unique_ptr<rpc::ByteStream> socket);
  void OnSniffed(Sniffer* sniffer, bool http2);
  void OnEncrypted(Handshake* handshake, StatusOr<std::unique_ptr<rpc::TlsStream>> stream);
  void ServeHttp1(std::unique_ptr<rpc::ByteStream> socket, std::span<const uint8_t> already_read);
  void ServeHttp2(std::unique_ptr<rpc::ByteStream> socket, std::span<const uint8_t> already_read);
  void DropSniffer(Sniffer* sniffer);
  Status Open(std::unique_ptr<rpc::ByteStream> socket, HttpPeer peer, Origin origin,
              std::span<const uint8_t> already_read);
  void OnRequest(rpc::Stream& stream, const HttpPeer& peer);
  void OnHttp2Closed(Http2* connection);

  Loop* loop_;
  Router* router_;
  RelayCounters* counters_;
  const Upstreams* upstreams_ = nullptr;
  HttpFront* http_ = nullptr;  // null: nothing but gRPC is served
  std::unique_ptr<rpc::Server> server_;
  const fleet::Caller* serving_ = nullptr;  // during rpc::Server::Serve()
  boost::unordered_flat_map<std::string, MethodHandler> methods_;
  boost::unordered_flat_map<Handshake*, std::unique_ptr<Handshake>> handshakes_;
  boost::unordered_flat_map<Sniffer*, std::unique_ptr<Sniffer>> sniffers_;
  boost::unordered_flat_map<Http2*, std::unique_ptr<Http2>> connections_;
  uint64_t outside_ = 0;  // connections from there so far
  size_t connections_max_ = rpc::kConnectionsMax;
  bool tls_logged_ = false;
  bool full_logged_ = false;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_FRONT_H_
