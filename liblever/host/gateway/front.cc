#include "liblever/host/gateway/front.h"

#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/gateway/grpc_reply.h"
#include "liblever/host/gateway/upstream_relay.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/grpc_status.h"
#include "liblever/rpc/tls_handshake.h"

namespace lever::gateway {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kTlsHandshake = 0x16;

bool IsGrpcWeb(std::string_view type) {
  constexpr std::string_view kGrpcWeb = "application/grpc-web";
  return type.size() >= kGrpcWeb.size() &&
         ::strncasecmp(type.data(), kGrpcWeb.data(), kGrpcWeb.size()) == 0;
}

// Ends a request with a status and nothing else.
void Refuse(rpc::Stream& stream, std::string_view http_status) {
  rpc::HeaderList headers;
  headers.Add(":status", http_status);
  stream.set_handler(IgnoreRequest());
  stream.SendHeaders(headers, rpc::Stream::End::kYes);
}

// How a connection came, which its own end of the socket tells: a host that listens on all
// addresses is reached over loopback, too.
CameOver CameOverOf(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return CameOver::kLoopback;
  }
  if (address.ss_family == AF_UNIX) return CameOver::kUnixSocket;
  if (address.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    const bool loopback = (ntohl(in->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    return loopback ? CameOver::kLoopback : CameOver::kNetwork;
  }
  const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
  const uint8_t* bytes = in->sin6_addr.s6_addr;
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && bytes[12] == IN_LOOPBACKNET;
  const bool loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) != 0;
  return mapped || loopback ? CameOver::kLoopback : CameOver::kNetwork;
}

HttpPeer PeerOf(const rpc::ByteStream& socket) {
  HttpPeer peer;
  peer.came_over = CameOverOf(socket.fd());
  peer.encrypted = socket.encrypted() ? Encrypted::kYes : Encrypted::kNo;
  return peer;
}

}  // namespace

// A connection in its TLS handshake.
class Front::Handshake {
 public:
  explicit Handshake(Front* front) : front_(front) {}
  Status Start(UniqueFd socket, rpc::TlsServerContext& tls) {
    LEVER_ASSIGN_OR_RETURN(
        handshake_, rpc::TlsHandshake::Accept(
                        front_->loop_, rpc::SocketStream(std::move(socket)), tls,
                        rpc::TlsOffer::kHttp2OrHttp1, [this](auto stream) {
                          front_->OnEncrypted(this, std::move(stream));
                        }));
    return Status::Ok();
  }

 private:
  Front* front_;
  std::unique_ptr<rpc::TlsHandshake> handshake_;
};

// Takes the first bytes of a connection, to see what it speaks.
class Front::Sniffer final : public IoSource, public Timer {
 public:
  Sniffer(Front* front, std::unique_ptr<rpc::ByteStream> socket)
      : front_(front), socket_(std::move(socket)) {}
  ~Sniffer() override {
    front_->loop_->Disarm(this);
    front_->loop_->Unwatch(this);
  }
  Status Start() {
    front_->loop_->Arm(this, DeadlineAfter(front_->loop_->now_ns(), rpc::kPrefaceTimeoutNs));
    LEVER_RETURN_IF_ERROR(front_->loop_->Watch(socket_->fd(), EPOLLIN | EPOLLRDHUP, this));
    if (socket_->HasBufferedInput()) front_->loop_->MarkReady(this, EPOLLIN);
    return Status::Ok();
  }
  std::unique_ptr<rpc::ByteStream> TakeSocket() {
    front_->loop_->Unwatch(this);
    return std::move(socket_);
  }
  std::string TakeSeen() { return std::move(seen_); }

  uint32_t OnReady(uint32_t events) override {
    for (;;) {
      std::array<uint8_t, kHttp2Preface.size()> bytes;
      const rpc::IoResult result =
          socket_->Read(std::span(bytes).first(bytes.size() - seen_.size()));
      if (result.bytes == 0) {
        if (result.error != EAGAIN) front_->DropSniffer(this);
        return 0;
      }
      seen_.append(reinterpret_cast<const char*>(bytes.data()), result.bytes);
      if (static_cast<uint8_t>(seen_[0]) == kTlsHandshake && !socket_->encrypted()) {
        if (!std::exchange(front_->tls_logged_, true)) {
          Log(LogLevel::kWarning, "TLS on a plain port: the connection was closed");
        }
        front_->DropSniffer(this);
        return 0;
      }
      const bool same = kHttp2Preface.starts_with(seen_);
      if (same && seen_.size() < kHttp2Preface.size()) continue;
      front_->OnSniffed(this, same);
      return 0;
    }
  }
  void OnTimer() override {
    rpc::Count(rpc::LocalCounters().preface_timeouts);
    front_->DropSniffer(this);
  }

 private:
  Front* front_;
  std::unique_ptr<rpc::ByteStream> socket_;
  std::string seen_;
};

// One HTTP/2 connection.
class Front::Http2 final : public rpc::ConnectionHandler {
 public:
  Http2(Front* front, HttpPeer peer) : front_(front), peer_(std::move(peer)) {}
  Status Start(std::unique_ptr<rpc::ByteStream> socket, Origin origin,
               std::span<const uint8_t> already_read) {
    rpc::ConnectionOptions options;
    options.role = rpc::Role::kServer;
    // Instances keep their connection; whoever calls from outside opens another with his next call.
    if (origin == Origin::kOutside) options.idle_timeout_ns = rpc::kIdleTimeoutNs;
    LEVER_ASSIGN_OR_RETURN(connection_,
                           rpc::Connection::Over(front_->loop_, std::move(socket), options, this,
                                                 already_read));
    return Status::Ok();
  }
  rpc::Connection& connection() { return *connection_; }

  void OnRequest(rpc::Stream& stream) override { front_->OnRequest(stream, peer_); }
  void OnClosed(rpc::Connection& connection, const Status& status) override {
    front_->OnHttp2Closed(this);
  }

 private:
  Front* front_;
  HttpPeer peer_;
  std::unique_ptr<rpc::Connection> connection_;
};

Front::Front(Loop* loop, Router* router, RelayCounters* counters)
    : loop_(loop), router_(router), counters_(counters), server_(rpc::Server::Make(loop, this)) {}

Front::~Front() = default;

void Front::AddMethod(std::string path, MethodHandler handler) {
  methods_.emplace(std::move(path), std::move(handler));
}

size_t Front::connections() const {
  return handshakes_.size() + sniffers_.size() + connections_.size() +
         (http_ != nullptr ? http_->connections() : 0);
}

void Front::Take(UniqueFd socket, std::shared_ptr<rpc::TlsServerContext> tls) {
  if (connections() >= connections_max_) {
    rpc::Count(rpc::LocalCounters().limit_connections);
    if (!std::exchange(full_logged_, true)) {
      Log(LogLevel::kWarning, "too many connections: new ones are closed at once");
    }
    return;
  }
  full_logged_ = false;
  if (tls == nullptr) return Sniff(rpc::SocketStream(std::move(socket)));
  auto handshake = std::make_unique<Handshake>(this);
  if (!handshake->Start(std::move(socket), *tls).ok()) return;
  Handshake* key = handshake.get();
  handshakes_.emplace(key, std::move(handshake));
}

void Front::OnEncrypted(Handshake* handshake, StatusOr<std::unique_ptr<rpc::TlsStream>> stream) {
  const auto found = handshakes_.find(handshake);
  // Gone when this returns: it is still on the stack here.
  const std::unique_ptr<Handshake> last = std::move(found->second);
  handshakes_.erase(found);
  if (!stream.ok()) return;
  const rpc::TlsProtocol protocol = (*stream)->protocol();
  std::unique_ptr<rpc::ByteStream> socket = std::move(*stream);
  switch (protocol) {
    case rpc::TlsProtocol::kHttp2: return ServeHttp2(std::move(socket), {});
    case rpc::TlsProtocol::kHttp1: return ServeHttp1(std::move(socket), {});
    case rpc::TlsProtocol::kNone: return Sniff(std::move(socket));
  }
}

void Front::Sniff(std::unique_ptr<rpc::ByteStream> socket) {
  auto sniffer = std::make_unique<Sniffer>(this, std::move(socket));
  if (!sniffer->Start().ok()) return;
  Sniffer* key = sniffer.get();
  sniffers_.emplace(key, std::move(sniffer));
}

void Front::OnSniffed(Sniffer* sniffer, bool http2) {
  std::unique_ptr<rpc::ByteStream> socket = sniffer->TakeSocket();
  const std::string seen = sniffer->TakeSeen();
  DropSniffer(sniffer);
  const std::span bytes(reinterpret_cast<const uint8_t*>(seen.data()), seen.size());
  if (http2) {
    ServeHttp2(std::move(socket), bytes);
  } else {
    ServeHttp1(std::move(socket), bytes);
  }
}

void Front::ServeHttp1(std::unique_ptr<rpc::ByteStream> socket,
                       std::span<const uint8_t> already_read) {
  if (http_ == nullptr) return;
  HttpPeer peer = PeerOf(*socket);
  peer.caller.number = ++outside_;
  http_->ServeHttp1(std::move(socket), peer, already_read);
}

void Front::ServeHttp2(std::unique_ptr<rpc::ByteStream> socket,
                       std::span<const uint8_t> already_read) {
  HttpPeer peer = PeerOf(*socket);
  peer.caller.number = ++outside_;
  const Status opened =
      Open(std::move(socket), std::move(peer), Origin::kOutside, already_read);
  if (!opened.ok()) Log(LogLevel::kWarning, "a connection failed: " + opened.ToString());
}

void Front::DropSniffer(Sniffer* sniffer) { sniffers_.erase(sniffer); }

Status Front::Adopt(UniqueFd socket, fleet::Caller caller, std::span<const uint8_t> already_read) {
  return Open(rpc::SocketStream(std::move(socket)),
              HttpPeer{std::move(caller), CameOver::kUnixSocket, Encrypted::kNo},
              Origin::kInstance, already_read);
}

Status Front::Open(std::unique_ptr<rpc::ByteStream> socket, HttpPeer peer, Origin origin,
                   std::span<const uint8_t> already_read) {
  auto connection = std::make_unique<Http2>(this, std::move(peer));
  Http2* key = connection.get();
  connections_.emplace(key, std::move(connection));
  const Status started = key->Start(std::move(socket), origin, already_read);
  if (!started.ok()) connections_.erase(key);
  return started;
}

void Front::OnHttp2Closed(Http2* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  // Destroyed in the next turn: its connection is still on the stack here.
  std::shared_ptr<Http2> last = std::move(found->second);
  connections_.erase(found);
  loop_->Post([last] {});
}

void Front::OnRequest(rpc::Stream& stream, const HttpPeer& peer) {
  const std::string_view type = stream.headers().Find("content-type").value_or("");
  if (IsGrpcWeb(type)) return Refuse(stream, "415");
  const rpc::ContentKind kind = rpc::ClassifyContentType(type);
  if (kind == rpc::ContentKind::kOther) {
    if (http_ == nullptr) return Refuse(stream, "415");
    http_->ServeStream(stream, peer);
    return;
  }
  const bool is_grpc = kind == rpc::ContentKind::kGrpc;
  const std::string_view path = stream.headers().Find(":path").value_or("");
  if (is_grpc && (path == route::kInvokePath || path == route::kStreamPath)) {
    Relay::Start(loop_, router_, counters_, peer.caller, stream);
    return;
  }
  if (Upstream* const upstream = upstreams_ == nullptr ? nullptr : upstreams_->Find(path)) {
    // Whatever its codec.
    UpstreamRelay::Start(loop_, upstream, counters_, stream);
    return;
  }
  if (!is_grpc) {
    stream.set_handler(IgnoreRequest());
    SendGrpcStatus(stream,
                   Unimplemented("content-type " + std::string(type) + ": only +proto is spoken")
                       .WithExecuted(LEVER_EXECUTED_NO),
                   HeadersSent::kNo);
    return;
  }
  serving_ = &peer.caller;
  server_->Serve(stream);
  serving_ = nullptr;
}

void Front::OnCall(rpc::Call& call) {
  const auto found = methods_.find(std::string(call.path()));
  if (found == methods_.end()) {
    call.Finish(Unimplemented("the host has no method " + std::string(call.path()))
                    .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  found->second(call, *serving_);
}

void Front::Drain() {
  handshakes_.clear();
  if (http_ != nullptr) http_->Drain();
  for (const auto& [key, connection] : connections_) connection->connection().Drain();
}

void Front::Close(const Status& status) {
  handshakes_.clear();
  sniffers_.clear();
  if (http_ != nullptr) http_->Close();
  for (const auto& [key, connection] : connections_) connection->connection().Close(status);
}

}  // namespace lever::gateway
