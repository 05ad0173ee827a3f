#include "liblever/host/gateway/front.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
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

}  // namespace

// Looks at the first bytes of a connection without taking them.
class Front::Sniffer final : public IoSource, public Timer {
 public:
  Sniffer(Front* front, UniqueFd socket) : front_(front), socket_(std::move(socket)) {}
  ~Sniffer() override {
    front_->loop_->Disarm(this);
    front_->loop_->Unwatch(this);
  }
  Status Start() {
    front_->loop_->Arm(this, DeadlineAfter(front_->loop_->now_ns(), rpc::kPrefaceTimeoutNs));
    return front_->loop_->Watch(socket_.get(), EPOLLIN | EPOLLRDHUP, this);
  }
  UniqueFd TakeSocket() {
    front_->loop_->Unwatch(this);
    return std::move(socket_);
  }

  uint32_t OnReady(uint32_t events) override {
    std::array<char, kHttp2Preface.size()> bytes;
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_PEEK);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR ? uint32_t{EPOLLIN} : 0;
    if (size <= 0) {
      front_->DropSniffer(this);
      return 0;
    }
    if (static_cast<uint8_t>(bytes[0]) == kTlsHandshake) {
      if (!std::exchange(front_->tls_logged_, true)) {
        Log(LogLevel::kWarning, "TLS on a plain port: the connection was closed");
      }
      front_->DropSniffer(this);
      return 0;
    }
    const std::string_view seen(bytes.data(), static_cast<size_t>(size));
    const bool same = kHttp2Preface.starts_with(seen);
    if (same && seen.size() < kHttp2Preface.size()) {
      // The rest of the preface makes another edge; a peer that has closed makes none.
      if ((events & EPOLLRDHUP) != 0) front_->DropSniffer(this);
      return 0;
    }
    front_->OnSniffed(this, same);
    return 0;
  }
  void OnTimer() override {
    rpc::Count(rpc::LocalCounters().preface_timeouts);
    front_->DropSniffer(this);
  }

 private:
  Front* front_;
  UniqueFd socket_;
};

// One HTTP/2 connection.
class Front::Http2 final : public rpc::ConnectionHandler {
 public:
  Http2(Front* front, HttpPeer peer) : front_(front), peer_(std::move(peer)) {}
  Status Start(UniqueFd socket, Origin origin, std::span<const uint8_t> already_read) {
    rpc::ConnectionOptions options;
    options.role = rpc::Role::kServer;
    // Instances keep their connection; whoever calls from outside opens another with his next call.
    if (origin == Origin::kOutside) options.idle_timeout_ns = rpc::kIdleTimeoutNs;
    LEVER_ASSIGN_OR_RETURN(connection_,
                           rpc::Connection::Open(front_->loop_, std::move(socket), options, this,
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
  return sniffers_.size() + connections_.size() + (http_ != nullptr ? http_->connections() : 0);
}

void Front::Take(UniqueFd socket) {
  if (connections() >= connections_max_) {
    rpc::Count(rpc::LocalCounters().limit_connections);
    if (!std::exchange(full_logged_, true)) {
      Log(LogLevel::kWarning, "too many connections: new ones are closed at once");
    }
    return;
  }
  full_logged_ = false;
  const int on = 1;
  // Fails on a unix socket, which needs it no more than it has it.
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  auto sniffer = std::make_unique<Sniffer>(this, std::move(socket));
  if (!sniffer->Start().ok()) return;
  Sniffer* key = sniffer.get();
  sniffers_.emplace(key, std::move(sniffer));
}

void Front::OnSniffed(Sniffer* sniffer, bool http2) {
  UniqueFd socket = sniffer->TakeSocket();
  DropSniffer(sniffer);
  HttpPeer peer;
  peer.came_over = CameOverOf(socket.get());
  if (!http2) {
    if (http_ != nullptr) http_->ServeHttp1(std::move(socket), peer);
    return;
  }
  const Status opened = Open(std::move(socket), std::move(peer), Origin::kOutside, {});
  if (!opened.ok()) Log(LogLevel::kWarning, "a connection failed: " + opened.ToString());
}

void Front::DropSniffer(Sniffer* sniffer) { sniffers_.erase(sniffer); }

Status Front::Adopt(UniqueFd socket, fleet::Caller caller, std::span<const uint8_t> already_read) {
  return Open(std::move(socket), HttpPeer{std::move(caller), CameOver::kUnixSocket},
              Origin::kInstance, already_read);
}

Status Front::Open(UniqueFd socket, HttpPeer peer, Origin origin,
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
  if (http_ != nullptr) http_->Drain();
  for (const auto& [key, connection] : connections_) connection->connection().Drain();
}

void Front::Close(const Status& status) {
  sniffers_.clear();
  if (http_ != nullptr) http_->Close();
  for (const auto& [key, connection] : connections_) connection->connection().Close(status);
}

}  // namespace lever::gateway
