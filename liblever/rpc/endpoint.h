// Where a channel connects and a server listens.
//
// Values and functions; any thread.
#ifndef LIBLEVER_RPC_ENDPOINT_H_
#define LIBLEVER_RPC_ENDPOINT_H_

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace lever::rpc {

// "127.0.0.1:8080", "[::1]:8080", "host.name:8080", "unix:/path", "unix-abstract:name"; "tls:" before
// it says that TLS is spoken there.
struct Endpoint {
  enum class Kind : uint8_t { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  // An IPv6 address without its brackets; an abstract name with a NUL byte before it.
  std::string host_or_path;
  uint16_t port = 0;
  // Whoever connects or listens without TLS all the same refuses.
  bool tls = false;

  static StatusOr<Endpoint> Parse(std::string_view text);
  std::string ToString() const;
  bool abstract() const { return kind == Kind::kUnix && host_or_path.starts_with('\0'); }
};

// An address as the kernel takes it.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  // The address that `socket` is bound to.
  static StatusOr<SocketAddress> BoundTo(int socket);
  uint16_t port() const;
};

// Whether `text` is an IPv4 address in four decimal parts or an IPv6 address, and nothing else.
bool IsIpAddress(std::string_view text);

// The address of an endpoint that needs no name service: a unix socket or a numeric address.
// Nothing for a host name.
std::optional<SocketAddress> NumericAddress(const Endpoint& endpoint);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_ENDPOINT_H_
