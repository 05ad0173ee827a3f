#include "liblever/base/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace lever {
namespace {

// Room for the most descriptors that a message may carry, aligned as cmsghdr needs it.
union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * kFdsPerMessageMax)];
};

// Every descriptor in the control messages of `message`.
std::vector<UniqueFd> TakeFds(msghdr* message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) {
    const int saved = errno;
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Status SetNonBlocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, "fcntl(F_GETFL)");
  if ((flags & O_NONBLOCK) != 0) return Status::Ok();
  if (::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return ErrnoStatus(errno, "fcntl(F_SETFL)");
  return Status::Ok();
}

Status SetInherit(int fd, Inherit inherit) {
  const int flags = inherit == Inherit::kYes ? 0 : FD_CLOEXEC;
  if (::fcntl(fd, F_SETFD, flags) != 0) return ErrnoStatus(errno, "fcntl(F_SETFD)");
  return Status::Ok();
}

Status SendWithFds(int socket, std::span<const uint8_t> bytes, std::span<const int> fds) {
  // An empty message cannot be told from the end of the connection.
  if (bytes.empty()) return InvalidArgument("a message with descriptors needs at least one byte");
  if (fds.size() > kFdsPerMessageMax) {
    return InvalidArgument("more than " + std::to_string(kFdsPerMessageMax) + " descriptors");
  }
  iovec vector{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ControlBuffer control{};
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    // Only a stream socket sends a part; the descriptors have gone with it and cannot be called
    // back.
    if (static_cast<size_t>(sent) != bytes.size()) return DataLoss("sendmsg: a part was sent");
    return Status::Ok();
  }
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
      return {LEVER_WOULD_BLOCK, "sendmsg: the socket's buffer is full"};
    case EPIPE:
    case ECONNRESET:
      return Unavailable("sendmsg: the peer has closed the socket");
    // Too many descriptors of this user are in flight, unreceived.
    case ETOOMANYREFS:
      return ResourceExhausted("sendmsg: too many descriptors in flight");
    default:
      return ErrnoStatus(errno, "sendmsg");
  }
}

StatusOr<FdMessage> ReceiveWithFds(int socket, std::span<uint8_t> buffer, size_t fd_count) {
  if (fd_count > kFdsPerMessageMax) return InvalidArgument("too many descriptors asked for");
  iovec vector{buffer.data(), buffer.size()};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  ssize_t received;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    if (errno == EAGAIN) return Status(LEVER_WOULD_BLOCK, "recvmsg: nothing there");
    if (errno == ECONNRESET) return Unavailable("recvmsg: the peer has closed the socket");
    return ErrnoStatus(errno, "recvmsg");
  }
  FdMessage result;
  result.fds = TakeFds(&message);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return DataLoss("recvmsg: the message was truncated");
  }
  if (received == 0 && result.fds.empty()) {
    return Unavailable("recvmsg: the peer has closed the socket");
  }
  if (result.fds.size() != fd_count) {
    return InvalidArgument("a message with " + std::to_string(result.fds.size()) +
                           " descriptors, not " + std::to_string(fd_count));
  }
  result.size = static_cast<size_t>(received);
  return result;
}

}  // namespace lever
