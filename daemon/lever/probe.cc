#include "daemon/lever/probe.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>

#include "liblever/base/fd.h"
#include "liblever/rpc/endpoint.h"

namespace lever::cli {
namespace {

// On one machine a connection is refused before connect() is back, or directly after it.
constexpr int kWaitMs = 100;

bool IsThisMachine(const rpc::SocketAddress& address) {
  if (address.family() == AF_UNIX) return true;
  if (address.family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address.get());
    return (ntohl(in->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address.get());
  return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

// 0, or why the connection failed.
int TryConnect(const rpc::SocketAddress& address) {
  const UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return 0;
  if (::connect(socket.get(), address.get(), address.size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd watched{socket.get(), POLLOUT, 0};
  if (::poll(&watched, 1, kWaitMs) <= 0) return 0;
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

Status ProbeHost(std::string_view host) {
  LEVER_ASSIGN_OR_RETURN(const rpc::Endpoint endpoint, rpc::Endpoint::Parse(host));
  const std::optional<rpc::SocketAddress> address = rpc::NumericAddress(endpoint);
  if (!address || !IsThisMachine(*address)) return Status::Ok();
  const int error = TryConnect(*address);
  if (error != ECONNREFUSED && error != ENOENT && error != EACCES) return Status::Ok();
  return Unavailable("cannot connect to " + endpoint.ToString() + ": " +
                     std::generic_category().message(error))
      .WithExecuted(LEVER_EXECUTED_NO);
}

}  // namespace lever::cli
