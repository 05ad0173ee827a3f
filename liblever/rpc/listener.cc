#include "liblever/rpc/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/rpc/counters.h"

namespace lever::rpc {
namespace {

Status ListenError(int error, const Endpoint& endpoint) {
  const std::string what = "cannot listen on " + endpoint.ToString();
  if (error == EADDRINUSE) return AlreadyExists(what + ": the address is in use");
  return ErrnoStatus(error, what);
}

StatusOr<UniqueFd> NewSocket(int family, const Endpoint& endpoint) {
  UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ListenError(errno, endpoint);
  return socket;
}

// Whether a socket file is left over from somebody who is gone: connecting is refused.
bool IsStale(const SocketAddress& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return probe.valid() && ::connect(probe.get(), address.get(), address.size) != 0 &&
         errno == ECONNREFUSED;
}

bool OutOfDescriptors(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

StatusOr<std::unique_ptr<Listener>> Listener::Open(Loop* loop, const Endpoint& endpoint,
                                                   const ListenOptions& options,
                                                   Accepted accepted) {
  if (endpoint.tls && options.tls == nullptr) {
    return InvalidArgument("cannot listen on " + endpoint.ToString() + ": TLS is not spoken here");
  }
  std::unique_ptr<Listener> listener(new Listener(loop, std::move(accepted)));
  const bool tcp = endpoint.kind == Endpoint::Kind::kTcp;
  LEVER_RETURN_IF_ERROR(tcp ? listener->OpenTcp(endpoint, options)
                            : listener->OpenUnix(endpoint, options));
  listener->OpenSpare();
  LEVER_RETURN_IF_ERROR(loop->Watch(listener->socket_.get(), EPOLLIN, listener.get()));
  return listener;
}

Status Listener::OpenTcp(const Endpoint& endpoint, const ListenOptions& options) {
  Endpoint numeric = endpoint;
  if (numeric.host_or_path == "localhost") numeric.host_or_path = "127.0.0.1";
  const std::optional<SocketAddress> address = NumericAddress(numeric);
  if (!address) {
    return InvalidArgument("cannot listen on " + endpoint.ToString() +
                           ": write the host as an IP address");
  }
  LEVER_ASSIGN_OR_RETURN(socket_, NewSocket(address->family(), endpoint));
  const int on = 1;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Accepted sockets inherit it.
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (options.reuse_port &&
      ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return ListenError(errno, endpoint);
  }
  if (::bind(socket_.get(), address->get(), address->size) != 0 ||
      ::listen(socket_.get(), options.backlog) != 0) {
    return ListenError(errno, endpoint);
  }
  LEVER_ASSIGN_OR_RETURN(const SocketAddress bound, SocketAddress::BoundTo(socket_.get()));
  bound_ = std::move(numeric);
  bound_.port = bound.port();
  return Status::Ok();
}

Status Listener::OpenUnix(const Endpoint& endpoint, const ListenOptions& options) {
  const std::optional<SocketAddress> address = NumericAddress(endpoint);
  if (!address) return ListenError(ENAMETOOLONG, endpoint);
  LEVER_ASSIGN_OR_RETURN(socket_, NewSocket(AF_UNIX, endpoint));
  const char* path = endpoint.host_or_path.c_str();
  struct stat file;
  if (!endpoint.abstract() && ::lstat(path, &file) == 0 && S_ISSOCK(file.st_mode) &&
      IsStale(*address)) {
    ::unlink(path);
  }
  if (::bind(socket_.get(), address->get(), address->size) != 0) {
    return ListenError(errno, endpoint);
  }
  bound_ = endpoint;
  if (!endpoint.abstract() && ::lstat(path, &file) == 0) {
    owns_path_ = true;
    path_device_ = file.st_dev;
    path_inode_ = file.st_ino;
  }
  if (::listen(socket_.get(), options.backlog) != 0) return ListenError(errno, endpoint);
  return Status::Ok();
}

Listener::~Listener() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  loop_->Unwatch(this);
  struct stat file;
  const char* path = bound_.host_or_path.c_str();
  if (owns_path_ && !loop_->Forked() && ::lstat(path, &file) == 0 && file.st_dev == path_device_ &&
      file.st_ino == path_inode_) {
    ::unlink(path);
  }
}

void Listener::OpenSpare() { spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

uint32_t Listener::OnReady(uint32_t events) {
  bool destroyed = false;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      destroyed_ = &destroyed;
      accepted_(std::move(socket));
      if (destroyed) return 0;
      destroyed_ = nullptr;
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) return 0;
    if (OutOfDescriptors(error) && !RefuseOne()) return 0;
    // Everything else is the trouble of one connection that is gone again (accept(2)).
  }
  return events;
}

bool Listener::RefuseOne() {
  if (refused_ == 0) {
    Log(LogLevel::kWarning, "no descriptor left: refusing connections on " + bound_.ToString());
  }
  spare_.reset();
  UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int error = errno;
  const bool accepted = socket.valid();
  if (accepted) {
    ++refused_;
    Count(LocalCounters().limit_descriptors);
  }
  socket.reset();
  OpenSpare();
  // accept() looks for a descriptor before it looks who waits: only now is it known that nobody does.
  if (error == EAGAIN && !accepted) return false;
  if (accepted || !OutOfDescriptors(error)) return true;
  // Somebody else has taken the spare one. No edge will come for who waits already.
  loop_->Arm(this, loop_->clock().NowNs() + kAcceptRetryNs);
  return false;
}

void Listener::OnTimer() { loop_->MarkReady(this, EPOLLIN); }

}  // namespace lever::rpc
