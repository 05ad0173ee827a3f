// Carries an attack out over a blocking socket.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "liblever/base/clock.h"
#include "tests/misbehave/attacks.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::misbehave {
namespace {

// Pieces that go out together, if they are small.
constexpr uint32_t kBatchPieces = 32;
constexpr size_t kBatchBytes = 64 * 1024;
// How long an answer is waited for, where one is.
constexpr int kAnswerMs = 100;
// How long what is left is watched for the victim's answer to it.
constexpr int kAfterMs = 3000;

// Takes what has come, if it is wanted. False: the victim has closed.
bool Drain(int socket, bool reads) {
  char buffer[65536];
  const int flags = MSG_DONTWAIT | (reads ? 0 : MSG_PEEK);
  for (;;) {
    const ssize_t size = ::recv(socket, buffer, reads ? sizeof(buffer) : 1, flags);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0) return false;
    if (!reads) break;
  }
  // What is not read hides the end; the kernel tells of a reset.
  pollfd watched{socket, 0, 0};
  return ::poll(&watched, 1, 0) == 0 || (watched.revents & (POLLERR | POLLHUP)) == 0;
}

enum class Sent : uint8_t { kAll, kClosed, kBlocked };

// Blocked: the victim reads nothing more for a while, which is an answer, too.
Sent SendAll(int socket, std::string_view bytes, bool reads, int64_t give_up_ns) {
  constexpr int kBlockedMs = 1000;
  int64_t blocked_ns = 0;
  while (!bytes.empty()) {
    const ssize_t size = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size > 0) {
      bytes.remove_prefix(static_cast<size_t>(size));
      blocked_ns = 0;
      continue;
    }
    if (errno != EAGAIN) return Sent::kClosed;
    if (!Drain(socket, reads)) return Sent::kClosed;
    const int64_t now_ns = Clock::System().NowNs();
    if (blocked_ns == 0) blocked_ns = now_ns;
    if (now_ns - blocked_ns > kBlockedMs * kNanosPerMilli || now_ns > give_up_ns) {
      return Sent::kBlocked;
    }
    pollfd watched{socket, static_cast<short>(POLLOUT | (reads ? POLLIN : 0)), 0};
    ::poll(&watched, 1, 10);
  }
  return Sent::kAll;
}

Outcome Carry(int socket, const Attack& attack, uint32_t stream, int64_t limit_ns) {
  const int64_t began_ns = Clock::System().NowNs();
  Outcome outcome;
  const auto ended = [&](bool cut_off) {
    outcome.cut_off = cut_off;
    outcome.took_ns = Clock::System().NowNs() - began_ns;
    return outcome;
  };
  std::string batch = attack.first(stream);
  while (outcome.pieces < attack.pieces_max) {
    for (uint32_t i = 0; i < kBatchPieces && batch.size() < kBatchBytes; ++i) {
      if (outcome.pieces == attack.pieces_max) break;
      batch += attack.piece(outcome.pieces++, stream);
    }
    const Sent sent = SendAll(socket, batch, attack.reads, began_ns + limit_ns);
    if (sent == Sent::kBlocked) return ended(false);
    if (attack.waits && sent == Sent::kAll) {
      pollfd answer{socket, POLLIN, 0};
      ::poll(&answer, 1, kAnswerMs);
    }
    if (sent == Sent::kClosed || !Drain(socket, attack.reads)) return ended(true);
    if (Clock::System().NowNs() - began_ns > limit_ns) return ended(false);
    batch.clear();
  }
  // One that is not to be cut off has nothing to wait for but its answers.
  const int wait_ms = attack.ends == Ends::kCutOff ? kAfterMs : 200;
  for (int passed = 0; passed < wait_ms; passed += 10) {
    if (!Drain(socket, attack.reads)) return ended(true);
    pollfd nothing{-1, 0, 0};
    ::poll(&nothing, 1, 10);
  }
  return ended(false);
}

}  // namespace

UniqueFd Connect(uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    socket.reset();
  }
  return socket;
}

Outcome AttackServer(int socket, const Attack& attack, int64_t limit_ns) {
  const std::string hello = std::string(rpc::kClientMagic) + rpc::Frame(rpc::kFrameSettings, 0, 0) +
                            rpc::Frame(rpc::kFrameSettings, rpc::kFlagAck, 0);
  const int64_t give_up_ns = Clock::System().NowNs() + limit_ns;
  // The server's SETTINGS are there before they are acknowledged.
  pollfd watched{socket, POLLIN, 0};
  if (SendAll(socket, hello.substr(0, hello.size() - 9), true, give_up_ns) != Sent::kAll ||
      ::poll(&watched, 1, kAfterMs) != 1 ||
      SendAll(socket, hello.substr(hello.size() - 9), true, give_up_ns) != Sent::kAll) {
    return {.cut_off = true};
  }
  return Carry(socket, attack, 1, limit_ns);
}

Outcome AttackClient(int socket, const Attack& attack, int64_t limit_ns) {
  const int64_t give_up_ns = Clock::System().NowNs() + limit_ns;
  const std::string hello = rpc::Frame(rpc::kFrameSettings, 0, 0) +
                            rpc::Frame(rpc::kFrameSettings, rpc::kFlagAck, 0);
  if (SendAll(socket, hello, false, give_up_ns) != Sent::kAll) return {.cut_off = true};
  std::string seen;
  while (Clock::System().NowNs() < give_up_ns) {
    char buffer[16384];
    const ssize_t size = ::recv(socket, buffer, sizeof(buffer), 0);
    if (size <= 0) return {.cut_off = true};
    seen.append(buffer, static_cast<size_t>(size));
    for (const rpc::SeenFrame& frame : rpc::Parse(seen)) {
      if (frame.type == rpc::kFrameHeaders) return Carry(socket, attack, frame.stream, limit_ns);
    }
  }
  return {};
}

}  // namespace lever::misbehave
