#include "liblever/rpc/connector.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace lever::rpc {

Connector::Connector(Loop* loop, Endpoint endpoint, int64_t deadline_ns, Done done)
    : loop_(loop),
      endpoint_(std::move(endpoint)),
      deadline_ns_(deadline_ns),
      done_(std::move(done)) {}

Connector::~Connector() { CloseSocket(); }

void Connector::Start() {
  if (auto address = NumericAddress(endpoint_); address.has_value()) return Try({*address});
  loop_->Arm(this, deadline_ns_);
  resolution_ = Resolution::Start(loop_, endpoint_.host_or_path, endpoint_.port,
                                  [this](StatusOr<Addresses> found) {
                                    if (!found.ok()) return Finish(std::move(found).status());
                                    Try(std::move(found).value());
                                  });
}

void Connector::Try(Addresses addresses) {
  addresses_ = std::move(addresses);
  TryNext(Failed(EADDRNOTAVAIL));
}

void Connector::TryNext(Status last) {
  CloseSocket();
  if (next_ == addresses_.size()) return Finish(std::move(last));
  const auto left = static_cast<int64_t>(addresses_.size() - next_);
  const int64_t now_ns = loop_->clock().NowNs();
  try_until_ns_ = now_ns + std::max<int64_t>((deadline_ns_ - now_ns) / left, 0);
  TryAgain();
}

void Connector::TryAgain() {
  const SocketAddress& address = addresses_[next_];
  socket_.reset(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.valid()) return OnConnectResult(errno);
  if (endpoint_.kind == Endpoint::Kind::kTcp) {
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  int result;
  do {
    result = ::connect(socket_.get(), address.get(), address.size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return OnConnectResult(0);
  if (errno == EAGAIN && endpoint_.kind == Endpoint::Kind::kUnix) {
    CloseSocket();
    loop_->Arm(this, std::min(try_until_ns_, loop_->clock().NowNs() + kBacklogRetryNs));
    return;
  }
  if (errno != EINPROGRESS) return OnConnectResult(errno);
  const Status watched = loop_->Watch(socket_.get(), EPOLLOUT, this);
  if (!watched.ok()) return Finish(watched);
  loop_->Arm(this, try_until_ns_);
}

void Connector::OnConnectResult(int error) {
  loop_->Disarm(this);
  if (error == 0) {
    loop_->Unwatch(this);
    return Finish(std::move(socket_));
  }
  ++next_;
  TryNext(Failed(error));
}

uint32_t Connector::OnReady(uint32_t events) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  OnConnectResult(error);
  return 0;
}

void Connector::OnTimer() {
  if (addresses_.empty()) {
    return Finish(Unavailable(endpoint_.ToString() +
                              ": the host's name could not be looked up in " + "time"));
  }
  const bool backlog_full = !socket_.valid();
  if (loop_->clock().NowNs() >= try_until_ns_) {
    return OnConnectResult(backlog_full ? EAGAIN : ETIMEDOUT);
  }
  if (backlog_full) return TryAgain();
  loop_->Arm(this, try_until_ns_);
}

void Connector::Finish(StatusOr<UniqueFd> result) {
  loop_->Disarm(this);
  const Done done = std::exchange(done_, nullptr);
  done(std::move(result));
}

void Connector::CloseSocket() {
  loop_->Unwatch(this);
  socket_.reset();
}

Status Connector::Failed(int error) const {
  const std::string reason = std::generic_category().message(error);
  return Unavailable("cannot connect to " + endpoint_.ToString() + ": " + reason);
}

}  // namespace lever::rpc
