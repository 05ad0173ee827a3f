#include "liblever/route/introduction.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "liblever/route/wire.h"

namespace lever::route {
namespace {

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A descriptor from elsewhere may be anything.
bool IsStreamSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

StatusOr<std::unique_ptr<IntroductionSocket>> IntroductionSocket::Over(
    Loop* loop, UniqueFd socket, IntroductionHandler* handler) {
  LEVER_RETURN_IF_ERROR(SetNonBlocking(socket.get()));
  const int fd = socket.get();
  std::unique_ptr<IntroductionSocket> introductions(
      new IntroductionSocket(loop, std::move(socket), handler));
  LEVER_RETURN_IF_ERROR(loop->Watch(fd, EPOLLIN | EPOLLRDHUP, introductions.get()));
  return introductions;
}

StatusOr<std::unique_ptr<IntroductionSocket>> IntroductionSocket::Connect(
    Loop* loop, const std::string& path, std::string_view nonce, IntroductionHandler* handler) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return InvalidArgument("the host's introduction path does not fit in a socket address");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoStatus(errno, "socket");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return ErrnoStatus(errno, "connect to the host's introduction socket");
  }
  LEVER_RETURN_IF_ERROR(SendWithFds(socket.get(), BytesOf(WriteNonce(nonce)), {}));
  return Over(loop, std::move(socket), handler);
}

IntroductionSocket::~IntroductionSocket() { loop_->Unwatch(this); }

void IntroductionSocket::Refuse(uint64_t id) {
  // Dropped if the buffer is full: see invariant 2.
  [[maybe_unused]] const Status sent = SendWithFds(socket_.get(), BytesOf(WriteFailed(id)), {});
}

void IntroductionSocket::Lost(uint64_t id) {
  if (id != 0) Refuse(id);
  handler_->OnIntroductionLost(*this, id);
}

uint32_t IntroductionSocket::OnReady(uint32_t events) {
  std::array<uint8_t, kIntroductionBytesMax> buffer;
  for (int packet = 0; packet < kPacketsPerTurn; ++packet) {
    // Zeroed, so that what is left of a broken packet can be read without its size.
    buffer.fill(0);
    StatusOr<FdMessage> message = ReceiveWithFds(socket_.get(), buffer, 1);
    const auto* text = reinterpret_cast<const char*>(buffer.data());
    if (!message.ok()) {
      const lever_status code = message.status().code();
      if (code == LEVER_WOULD_BLOCK) return 0;
      if (code == LEVER_DATA_LOSS || code == LEVER_INVALID_ARGUMENT) {
        Lost(IntroductionIdOf({text, buffer.size()}));
        continue;
      }
      handler_->OnIntroductionsClosed(*this);
      return 0;
    }
    StatusOr<Introduction> introduction = ParseIntroduction({text, message->size});
    UniqueFd& socket = message->fds[0];
    if (!introduction.ok()) {
      Lost(IntroductionIdOf({text, message->size}));
    } else if (!IsStreamSocket(socket.get()) || !SetNonBlocking(socket.get()).ok()) {
      Lost(introduction->id);
    } else {
      handler_->OnIntroduction(*this, std::move(introduction).value(), std::move(socket));
    }
  }
  return events;
}

}  // namespace lever::route
