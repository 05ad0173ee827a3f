// The other end of a socketpair, in hand-made frames: what no well-behaved peer sends.
#ifndef TESTS_RPC_CONNECTION_RAW_PEER_H_
#define TESTS_RPC_CONNECTION_RAW_PEER_H_

#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"

namespace lever::rpc {

enum FrameType : uint8_t {
  kFrameData = 0,
  kFrameHeaders = 1,
  kFramePriority = 2,
  kFrameReset = 3,
  kFrameSettings = 4,
  kFramePing = 6,
  kFrameGoaway = 7,
  kFrameWindowUpdate = 8,
  kFrameContinuation = 9,
};
constexpr uint8_t kFlagEndStream = 1;
constexpr uint8_t kFlagAck = 1;
constexpr uint8_t kFlagEndHeaders = 4;
constexpr uint8_t kFlagPadded = 8;

constexpr std::string_view kClientMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// HPACK, static table only: POST, http, "/", ":authority: x".
constexpr std::string_view kRequestBlock("\x83\x86\x84\x41\x01x", 6);
// ":status: 200"
constexpr std::string_view kResponseBlock("\x88", 1);

inline std::string Number(uint32_t value, int bytes = 4) {
  std::string text;
  while (bytes-- > 0) text += static_cast<char>(value >> (8 * bytes));
  return text;
}

inline std::string Frame(FrameType type, uint8_t flags, uint32_t stream,
                         std::string_view payload = {}) {
  std::string frame = Number(static_cast<uint32_t>(payload.size()), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  return frame.append(Number(stream)).append(payload);
}

struct SeenFrame {
  size_t offset = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

// The whole frames in `bytes`, after the client's magic if it is there.
inline std::vector<SeenFrame> Parse(std::string_view bytes) {
  std::vector<SeenFrame> frames;
  size_t at = bytes.starts_with(kClientMagic) ? kClientMagic.size() : 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  while (bytes.size() - at >= 9) {
    const size_t size = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    if (bytes.size() - at - 9 < size) break;
    SeenFrame& frame = frames.emplace_back();
    frame.offset = at;
    frame.type = byte(at + 3);
    frame.flags = byte(at + 4);
    frame.stream = static_cast<uint32_t>(byte(at + 5)) << 24 | byte(at + 6) << 16 |
                   byte(at + 7) << 8 | byte(at + 8);
    frame.payload = bytes.substr(at + 9, size);
    at += 9 + size;
  }
  return frames;
}

class RawPeer {
 public:
  explicit RawPeer(UniqueFd socket) : socket_(std::move(socket)) {}

  // Sends what fits without waiting; how much that was, or -1 once the other end has gone.
  ssize_t Send(std::string_view bytes) {
    const ssize_t sent =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
  }
  // Reads what there is.
  void Read() {
    char buffer[65536];
    ssize_t size;
    while ((size = ::recv(socket_.get(), buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
      seen.append(buffer, static_cast<size_t>(size));
    }
    if (size == 0 || errno != EAGAIN) ended = true;
  }
  // The frames of that type that have come.
  std::vector<SeenFrame> Frames(FrameType type) {
    Read();
    std::vector<SeenFrame> found;
    for (SeenFrame& frame : Parse(seen)) {
      if (frame.type == type) found.push_back(std::move(frame));
    }
    return found;
  }
  void Close() { socket_.reset(); }

  std::string seen;
  bool ended = false;

 private:
  UniqueFd socket_;
};

}  // namespace lever::rpc

#endif  // TESTS_RPC_CONNECTION_RAW_PEER_H_
