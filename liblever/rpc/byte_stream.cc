#include "liblever/rpc/byte_stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace lever::rpc {
namespace {

IoResult FromReturn(ssize_t moved) {
  IoResult result;
  if (moved > 0) {
    result.bytes = static_cast<size_t>(moved);
  } else if (moved < 0) {
    result.error = errno == EWOULDBLOCK ? EAGAIN : errno;
  }
  return result;
}

class PlainSocket final : public ByteStream {
 public:
  explicit PlainSocket(UniqueFd socket) : socket_(std::move(socket)) {
    const int on = 1;
    // Fails on a unix socket, which has no Nagle to turn off.
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  int fd() const override { return socket_.get(); }

  IoResult Read(std::span<uint8_t> into) override {
    ssize_t moved;
    do {
      moved = ::recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
    } while (moved < 0 && errno == EINTR);
    IoResult result = FromReturn(moved);
    // A stream socket that gives less than it was asked for has no more (epoll(7)).
    result.drained = result.bytes > 0 && result.bytes < into.size();
    return result;
  }

  IoResult Write(std::span<const iovec> pieces) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    ssize_t moved;
    do {
      moved = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (moved < 0 && errno == EINTR);
    return FromReturn(moved);
  }

  bool ShutdownWrite() override {
    ::shutdown(socket_.get(), SHUT_WR);
    return true;
  }

 private:
  UniqueFd socket_;
};

}  // namespace

std::unique_ptr<ByteStream> SocketStream(UniqueFd socket) {
  return std::make_unique<PlainSocket>(std::move(socket));
}

std::string PeerName(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  char text[INET6_ADDRSTRLEN];
  switch (address.ss_family) {
    case AF_INET: {
      const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
      ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
      return std::string(text) + ":" + std::to_string(ntohs(in->sin_port));
    }
    case AF_INET6: {
      const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
      ::inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
      return "[" + std::string(text) + "]:" + std::to_string(ntohs(in->sin6_port));
    }
    default:
      return "unix";
  }
}

}  // namespace lever::rpc
