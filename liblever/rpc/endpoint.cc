#include "liblever/rpc/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace lever::rpc {
namespace {

constexpr std::string_view kTlsPrefix = "tls:";
constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kAbstractPrefix = "unix-abstract:";
// RFC 1035 section 2.3.4.
constexpr size_t kHostBytesMax = 253;
// A path is closed by a NUL, an abstract name begins with one.
constexpr size_t kUnixBytesMax = sizeof(sockaddr_un::sun_path) - 1;

Status Bad(std::string_view text, std::string_view why) {
  return InvalidArgument("the address '" + std::string(text) + "' " + std::string(why));
}

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

// Hexadecimal groups, dotted quads, and a zone after '%'.
bool IsIpv6Character(char c) { return IsHostCharacter(c) || c == ':' || c == '%'; }

StatusOr<Endpoint> ParseUnix(std::string_view text, std::string_view path, bool abstract) {
  if (path.empty()) return Bad(text, "names no socket");
  if (path.size() > kUnixBytesMax) {
    return Bad(text, "is too long for a unix socket: " + std::to_string(kUnixBytesMax) +
                         " bytes are the limit");
  }
  if (path.find('\0') != std::string_view::npos) return Bad(text, "contains a NUL byte");
  Endpoint endpoint{.kind = Endpoint::Kind::kUnix, .host_or_path = {}, .port = 0, .tls = false};
  if (abstract) endpoint.host_or_path.push_back('\0');
  endpoint.host_or_path.append(path);
  return endpoint;
}

}  // namespace

StatusOr<Endpoint> Endpoint::Parse(std::string_view text) {
  if (text.starts_with(kTlsPrefix)) {
    const std::string_view plain = text.substr(kTlsPrefix.size());
    if (plain.starts_with(kTlsPrefix)) return Bad(text, "says tls: twice");
    LEVER_ASSIGN_OR_RETURN(Endpoint endpoint, Parse(plain));
    endpoint.tls = true;
    return endpoint;
  }
  if (text.starts_with(kUnixPrefix)) {
    return ParseUnix(text, text.substr(kUnixPrefix.size()), false);
  }
  if (text.starts_with(kAbstractPrefix)) {
    return ParseUnix(text, text.substr(kAbstractPrefix.size()), true);
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Bad(text, "has no port: write HOST:PORT");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return Bad(text, "has no IPv6 address in its []");
  } else if (host.find(':') != std::string_view::npos) {
    return Bad(text, "is ambiguous: write an IPv6 address as [ADDRESS]:PORT");
  }
  if (host.empty()) return Bad(text, "has no host");
  const auto is_allowed = bracketed ? IsIpv6Character : IsHostCharacter;
  if (host.size() > kHostBytesMax || !std::all_of(host.begin(), host.end(), is_allowed)) {
    return Bad(text, "has no valid host");
  }
  uint16_t port = 0;
  const char* end = digits.data() + digits.size();
  const auto [parsed, error] = std::from_chars(digits.data(), end, port);
  if (error != std::errc() || parsed != end) return Bad(text, "has no port of 0 to 65535");
  Endpoint endpoint{
      .kind = Kind::kTcp, .host_or_path = std::string(host), .port = port, .tls = false};
  if (bracketed && !NumericAddress(endpoint)) return Bad(text, "has no IPv6 address in its []");
  return endpoint;
}

std::string Endpoint::ToString() const {
  if (tls) {
    Endpoint plain = *this;
    plain.tls = false;
    return std::string(kTlsPrefix) + plain.ToString();
  }
  if (abstract()) return std::string(kAbstractPrefix) + host_or_path.substr(1);
  if (kind == Kind::kUnix) return std::string(kUnixPrefix) + host_or_path;
  const bool ipv6 = host_or_path.find(':') != std::string::npos;
  return (ipv6 ? "[" + host_or_path + "]" : host_or_path) + ":" + std::to_string(port);
}

StatusOr<SocketAddress> SocketAddress::BoundTo(int socket) {
  SocketAddress address;
  address.size = sizeof(address.storage);
  auto* storage = reinterpret_cast<sockaddr*>(&address.storage);
  if (::getsockname(socket, storage, &address.size) != 0) return ErrnoStatus(errno, "getsockname");
  return address;
}

uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  if (family() == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  return 0;
}

bool IsIpAddress(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  // inet_pton() would read up to a NUL.
  if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) return false;
  std::copy(text.begin(), text.end(), terminated.begin());
  std::array<uint8_t, 16> address;
  return ::inet_pton(AF_INET, terminated.data(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, terminated.data(), address.data()) == 1;
}

std::optional<SocketAddress> NumericAddress(const Endpoint& endpoint) {
  SocketAddress address;
  if (endpoint.kind == Endpoint::Kind::kUnix) {
    auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
    un->sun_family = AF_UNIX;
    const std::string& path = endpoint.host_or_path;
    if (path.size() > sizeof(un->sun_path)) return std::nullopt;
    std::memcpy(un->sun_path, path.data(), path.size());
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                          (endpoint.abstract() ? 0 : 1));
    return address;
  }
  // For numbers getaddrinfo asks nobody; it also knows the zones of IPv6.
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(endpoint.port);
  if (::getaddrinfo(endpoint.host_or_path.c_str(), port.c_str(), &hints, &found) != 0) {
    return std::nullopt;
  }
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return address;
}

}  // namespace lever::rpc
