#include "liblever/rpc/tls_handshake.h"

#include <string_view>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/limits.h"

namespace lever::rpc {
namespace {

constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP;

// For who asks in plain HTTP.
constexpr std::string_view kUseHttps =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 39\r\n"
    "connection: close\r\n\r\nthis port speaks TLS: use https://HOST\n";

void LogFailure(int64_t now_ns, const std::string& peer, const std::string& why) {
  static constinit LogLimiter limiter(kPeerLogIntervalNs);
  limiter.Log(LogLevel::kWarning, now_ns,
              "a TLS handshake with " + (peer.empty() ? "a peer" : peer) + " failed: " + why);
}

}  // namespace

TlsHandshake::TlsHandshake(Loop* loop, std::unique_ptr<TlsStream> stream, TlsSide side, Done done)
    : loop_(loop),
      stream_(std::move(stream)),
      side_(side),
      peer_(PeerName(stream_->fd())),
      done_(std::move(done)) {}

TlsHandshake::~TlsHandshake() {
  loop_->Disarm(this);
  loop_->Unwatch(this);
}

StatusOr<std::unique_ptr<TlsHandshake>> TlsHandshake::Accept(Loop* loop,
                                                             std::unique_ptr<ByteStream> socket,
                                                             TlsServerContext& context,
                                                             TlsOffer offer, Done done) {
  LEVER_ASSIGN_OR_RETURN(auto stream,
                         TlsStream::Server(std::move(socket), context, offer, loop->clock()));
  std::unique_ptr<TlsHandshake> handshake(
      new TlsHandshake(loop, std::move(stream), TlsSide::kServer, std::move(done)));
  loop->Arm(handshake.get(), DeadlineAfter(loop->now_ns(), kTlsHandshakeTimeoutNs));
  LEVER_RETURN_IF_ERROR(handshake->Start());
  return handshake;
}

StatusOr<std::unique_ptr<TlsHandshake>> TlsHandshake::Connect(Loop* loop,
                                                              std::unique_ptr<ByteStream> socket,
                                                              TlsClientContext& context,
                                                              const std::string& host, Done done) {
  const std::string& other_name = context.options().server_name;
  LEVER_ASSIGN_OR_RETURN(
      auto stream, TlsStream::Client(std::move(socket), context,
                                     other_name.empty() ? host : other_name, loop->clock()));
  std::unique_ptr<TlsHandshake> handshake(
      new TlsHandshake(loop, std::move(stream), TlsSide::kClient, std::move(done)));
  LEVER_RETURN_IF_ERROR(handshake->Start());
  return handshake;
}

Status TlsHandshake::Start() { return loop_->Watch(stream_->fd(), kInterest, this); }

uint32_t TlsHandshake::OnReady(uint32_t events) {
  switch (stream_->Handshake()) {
    case TlsStream::Step::kWaits: return 0;
    case TlsStream::Step::kDone:
      Count(LocalCounters().tls_handshakes);
      Finish(std::move(stream_));
      return 0;
    case TlsStream::Step::kFailed: break;
  }
  if (stream_->plain_http() && side_ == TlsSide::kServer) {
    // As good as it goes.
    const iovec piece{const_cast<char*>(kUseHttps.data()), kUseHttps.size()};
    (void)stream_->inner().Write({&piece, 1});
  }
  Failed(stream_->trouble());
  return 0;
}

void TlsHandshake::OnTimer() {
  Count(LocalCounters().tls_handshake_timeouts);
  Failed("it was not done in time");
}

void TlsHandshake::Failed(const std::string& why) {
  Count(LocalCounters().tls_handshake_failures);
  if (side_ == TlsSide::kServer && stream_->heard()) LogFailure(loop_->now_ns(), peer_, why);
  Finish(Unavailable("TLS: " + why));
}

void TlsHandshake::Finish(StatusOr<std::unique_ptr<TlsStream>> result) {
  loop_->Disarm(this);
  loop_->Unwatch(this);
  const Done done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace lever::rpc
