// Sockets for the floors: addresses are "127.0.0.1:PORT" (port 0: any) or "unix:/path".
//
// Functions; any thread. Trouble ends the program.
#ifndef BENCH_COMMON_SOCKETS_H_
#define BENCH_COMMON_SOCKETS_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bench/common/load.h"

namespace lever::bench {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool tcp() const { return storage.ss_family == AF_INET; }
};

inline Address ParseAddress(const std::string& text) {
  Address address;
  if (text.starts_with("unix:")) {
    auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
    local->sun_family = AF_UNIX;
    if (text.size() - 5 >= sizeof(local->sun_path)) Die("path too long: " + text);
    std::memcpy(local->sun_path, text.data() + 5, text.size() - 5);
    address.size = sizeof(*local);
    return address;
  }
  auto* inet = reinterpret_cast<sockaddr_in*>(&address.storage);
  const size_t colon = text.rfind(':');
  inet->sin_family = AF_INET;
  if (colon == std::string::npos ||
      ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &inet->sin_addr) != 1) {
    Die("not an address: " + text);
  }
  inet->sin_port = htons(static_cast<uint16_t>(std::stoi(text.substr(colon + 1))));
  address.size = sizeof(*inet);
  return address;
}

inline void NoDelay(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Listens, and prints "listening ADDRESS".
inline int ListenOn(const std::string& text) {
  Address address = ParseAddress(text);
  const int socket = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket, address.get(), address.size) != 0 || ::listen(socket, 4096) != 0) {
    Die("cannot listen on " + text + ": " + std::strerror(errno));
  }
  std::string bound = text;
  if (address.tcp()) {
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage), &address.size);
    bound = "127.0.0.1:" +
            std::to_string(ntohs(reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port));
  }
  Commands::Print("listening " + bound + "\n");
  return socket;
}

inline int ConnectTo(const std::string& text) {
  const Address address = ParseAddress(text);
  const int socket = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(socket, address.get(), address.size) != 0) {
    Die("cannot connect to " + text + ": " + std::strerror(errno));
  }
  if (address.tcp()) NoDelay(socket);
  return socket;
}

}  // namespace lever::bench

#endif  // BENCH_COMMON_SOCKETS_H_
