// HTTP/2 frames as somebody reads them who believes nothing: what the end under test has written
// must be frames that a peer can take, and no more DATA than the peer has given it a window for.
//
// One thread.
#ifndef TESTS_FUZZ_SEEN_FRAMES_H_
#define TESTS_FUZZ_SEEN_FRAMES_H_

#include <cstdint>
#include <map>
#include <string_view>

#include "tests/fuzz/fuzz.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::fuzz {

// The connection's window that a peer has given, by the frames that it has sent.
inline uint64_t WindowGiven(std::string_view sent) {
  constexpr uint64_t kInitialWindowBytes = 65535;
  uint64_t window = kInitialWindowBytes;
  for (const rpc::SeenFrame& frame : rpc::Parse(sent)) {
    if (frame.type != rpc::kFrameWindowUpdate || (frame.stream & INT32_MAX) != 0) continue;
    uint32_t by = 0;
    for (const char byte : frame.payload.substr(0, 4)) by = by << 8 | static_cast<uint8_t>(byte);
    window += by & INT32_MAX;
  }
  return window;
}

inline void CheckWritten(std::string_view written, bool client, uint64_t window) {
  constexpr size_t kFrameBytesMax = 16384;
  if (client && !written.empty()) {
    const std::string_view magic = rpc::kClientMagic;
    FUZZ_CHECK(written.substr(0, magic.size()) == magic.substr(0, written.size()), "no preface");
  }
  struct Sent {
    bool headers = false;
    bool ended = false;
  };
  std::map<uint32_t, Sent> streams;
  uint64_t data = 0;
  for (const rpc::SeenFrame& frame : rpc::Parse(written)) {
    const auto where = [&] {
      return "frame of type " + std::to_string(frame.type) + " at " + std::to_string(frame.offset);
    };
    FUZZ_CHECK(frame.payload.size() <= kFrameBytesMax, where());
    Sent& stream = streams[frame.stream];
    switch (frame.type) {
      case rpc::kFrameData:
        FUZZ_CHECK(frame.stream % 2 == 1 && stream.headers && !stream.ended, where());
        data += frame.payload.size();
        stream.ended = (frame.flags & rpc::kFlagEndStream) != 0;
        break;
      case rpc::kFrameHeaders:
        FUZZ_CHECK(frame.stream % 2 == 1 && !stream.ended, where());
        stream.headers = true;
        stream.ended = (frame.flags & rpc::kFlagEndStream) != 0;
        break;
      case rpc::kFrameReset:
        FUZZ_CHECK(frame.stream != 0 && frame.payload.size() == 4, where());
        stream.ended = true;
        break;
      case rpc::kFrameContinuation:
        FUZZ_CHECK(stream.headers, where());
        break;
      case rpc::kFrameSettings:
      case rpc::kFramePing:
      case rpc::kFrameGoaway:
        FUZZ_CHECK(frame.stream == 0, where());
        break;
      case rpc::kFrameWindowUpdate:
        FUZZ_CHECK(frame.payload.size() == 4, where());
        break;
      default:
        FUZZ_CHECK(false, where());
    }
  }
  FUZZ_CHECK(data <= window,
             std::to_string(data) + " bytes of DATA in a window of " + std::to_string(window));
}

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_SEEN_FRAMES_H_
