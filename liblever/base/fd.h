// Descriptors: owned by one object each, and passed from process to process.
//
// A UniqueFd is a value that moves; the functions have no state. Any thread.
#ifndef LIBLEVER_BASE_FD_H_
#define LIBLEVER_BASE_FD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "liblever/base/status.h"

namespace lever {

// Owns a descriptor and closes it at its end.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Gives the descriptor away without closing it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  // Closes what it had. errno is kept.
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// A connected pair of unix sockets, close-on-exec and non-blocking. `type` is SOCK_STREAM or
// SOCK_SEQPACKET.
StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair(int type);

Status SetNonBlocking(int fd);
// Whether the descriptor survives exec.
enum class Inherit : bool { kNo, kYes };
Status SetInherit(int fd, Inherit inherit);

// A descriptor passed with SCM_RIGHTS may be anything the sender chose: whoever receives one checks
// what it is before use.
inline constexpr size_t kFdsPerMessageMax = 16;

// Sends `bytes` and `fds` (at most kFdsPerMessageMax) as one message; `bytes` must not be empty.
// Never waits and never raises SIGPIPE. WOULD_BLOCK if the socket's buffer is full, UNAVAILABLE if
// the peer has gone. The caller's descriptors stay its own.
Status SendWithFds(int socket, std::span<const uint8_t> bytes, std::span<const int> fds);

struct FdMessage {
  size_t size = 0;            // bytes written to the caller's buffer
  std::vector<UniqueFd> fds;  // exactly as many as were asked for, close-on-exec
};

// Receives one message of a SOCK_SEQPACKET socket that must carry exactly `fd_count` descriptors.
// Never waits: WOULD_BLOCK if there is none, UNAVAILABLE at the end. DATA_LOSS if the message or
// its descriptors were truncated, INVALID_ARGUMENT if their number is another; every descriptor
// that came is closed then, and the next message can be received.
StatusOr<FdMessage> ReceiveWithFds(int socket, std::span<uint8_t> buffer, size_t fd_count);

}  // namespace lever

#endif  // LIBLEVER_BASE_FD_H_
