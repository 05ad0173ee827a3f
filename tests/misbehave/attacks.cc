#include "tests/misbehave/attacks.h"

#include "liblever/rpc/limits.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::misbehave {
namespace {

using rpc::Frame;
using rpc::Number;

constexpr auto kPushPromise = static_cast<rpc::FrameType>(5);
constexpr auto kUnknown = static_cast<rpc::FrameType>(0x42);
constexpr size_t kMiB = size_t{1} << 20;

std::string Nothing(uint32_t) { return {}; }

// The piece is the same whatever stream there is.
Attack Flood(std::string name, std::string counter, std::string frame) {
  Attack attack;
  attack.name = std::move(name);
  attack.counter = std::move(counter);
  attack.first = Nothing;
  attack.piece = [frame = std::move(frame)](uint32_t, uint32_t) { return frame; };
  return attack;
}

// Frames that are worth nothing, from either side.
void AddWorthlessFrames(std::vector<Attack>* attacks) {
  const char* const why = "limit_control_frames";
  attacks->push_back(Flood("ping", why, Frame(rpc::kFramePing, 0, 0, "12345678")));
  attacks->push_back(Flood("ping_ack", why, Frame(rpc::kFramePing, rpc::kFlagAck, 0, "12345678")));
  attacks->push_back(Flood("settings", why, Frame(rpc::kFrameSettings, 0, 0)));
  attacks->push_back(Flood("priority", why,
                           Frame(rpc::kFramePriority, 0, 1, Number(0) + std::string(1, '\x10'))));
  attacks->push_back(Flood("window_update", why, Frame(rpc::kFrameWindowUpdate, 0, 0, Number(1))));
  attacks->push_back(Flood("unknown_frames", why, Frame(kUnknown, 0, 0, "?")));
  attacks->push_back(Flood("frame_too_large", "limit_frame_bytes",
                           Frame(kUnknown, 0, 0, std::string(rpc::kFrameBytesMax + 1, 'x'))));
}

// A header block that HPACK makes large out of little: one long field, and references to it.
std::string Bomb() {
  std::string block("\x40\x01\x62\x7f\xa1\x1e", 6);  // literal, indexed: "b", 4000 bytes
  block += std::string(4000, 'x');
  return block + std::string(100, '\xbe');
}

}  // namespace

std::string Field(std::string_view name, std::string_view value) {
  std::string field(1, '\0');
  field += static_cast<char>(name.size());
  field += name;
  field += static_cast<char>(value.size());
  return field.append(value);
}

std::vector<Attack> AttacksOnServer(std::string_view path, std::string_view request) {
  // POST, http, then literals.
  const std::string block = std::string("\x83\x86", 2) + Field(":path", path) +
                            Field(":authority", "x") + Field("te", "trailers") +
                            Field("content-type", "application/grpc") + std::string(request);
  const auto id = [](uint32_t i) { return 2 * i + 1; };
  const auto headers = [block](uint32_t stream, uint8_t flags = 0) {
    return Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders | flags, stream, block);
  };
  std::vector<Attack> attacks;
  AddWorthlessFrames(&attacks);
  const auto add = [&](std::string name, std::string counter, auto piece) -> Attack& {
    Attack& attack = attacks.emplace_back();
    attack.name = std::move(name);
    attack.counter = std::move(counter);
    attack.first = Nothing;
    attack.piece = [piece](uint32_t i, uint32_t) { return piece(i); };
    return attack;
  };
  add("rapid_reset", "limit_resets", [=](uint32_t i) {
    return headers(id(i)) + Frame(rpc::kFrameReset, 0, id(i), Number(8));
  });
  add("made_you_reset_by_window", "limit_resets", [=](uint32_t i) {
    return headers(id(i)) + Frame(rpc::kFrameWindowUpdate, 0, id(i), Number(0x7fffffff));
  }).waits = true;
  add("made_you_reset_by_length", "limit_resets", [=](uint32_t i) {
    return Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders, id(i),
                 block + Field("content-length", "9")) +
           Frame(rpc::kFrameData, rpc::kFlagEndStream, id(i), "x");
  }).waits = true;
  add("header_bomb", "limit_resets", [=](uint32_t i) {
    return Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders, id(i), block + Bomb());
  });
  add("empty_data", "limit_control_frames", [=](uint32_t i) {
    return i == 0 ? headers(1) : Frame(rpc::kFrameData, 0, 1);
  });
  add("headers_of_closed_streams", "limit_control_frames", [=](uint32_t i) {
    return i == 0 ? headers(1) + Frame(rpc::kFrameReset, 0, 1, Number(8)) : headers(1);
  });
  add("continuations", "limit_continuations", [=](uint32_t i) {
    return i == 0 ? Frame(rpc::kFrameHeaders, 0, 1, block)
                  : Frame(rpc::kFrameContinuation, 0, 1, Field("a", "b"));
  });
  add("header_block", "limit_header_block", [=](uint32_t i) {
    const std::string piece(rpc::kFrameBytesMax, '\x20');
    return i == 0 ? Frame(rpc::kFrameHeaders, 0, 1, piece)
                  : Frame(rpc::kFrameContinuation, 0, 1, piece);
  });
  add("push_promise", "protocol_errors", [](uint32_t) {
    return Frame(kPushPromise, rpc::kFlagEndHeaders, 1, Number(2) + "\x82");
  }).pieces_max = 1;
  add("too_many_streams", "limit_refused_streams", [=](uint32_t i) { return headers(id(i)); })
      .memory_bytes_max = 64 * kMiB;
  // Bodies that never end, each up to its window: held up to what a connection may hold.
  Attack& uploads = add("uploads_left_open", "limit_connection_bytes", [=](uint32_t i) {
    // 16 frames a stream, of a message that is never complete.
    const uint32_t stream = id(i / 16);
    const std::string start = std::string(1, '\0') + Number(4 * 1024 * 1024);
    std::string body = i % 16 == 0 ? start : std::string();
    body.resize(15'000, 'x');
    return (i % 16 == 0 ? headers(stream) : std::string()) +
           Frame(rpc::kFrameData, 0, stream, body);
  });
  uploads.ends = Ends::kHeld;
  uploads.pieces_max = 16 * 900;
  // A relay has a copy of what it may have to send again.
  uploads.memory_bytes_max = 2 * rpc::kConnectionHeldBytesMax + 32 * kMiB;
  // Calls whose answers nobody makes room for.
  Attack& zero_window = add("zero_window", "", [=](uint32_t i) {
    return headers(id(i)) + Frame(rpc::kFrameData, rpc::kFlagEndStream, id(i),
                                  std::string("\0\0\0\0\2\x0a\0", 7));
  });
  zero_window.first = [](uint32_t) {
    return Frame(rpc::kFrameSettings, 0, 0, Number(4, 2) + Number(0));
  };
  zero_window.ends = Ends::kHeld;
  zero_window.pieces_max = 900;
  zero_window.memory_bytes_max = 64 * kMiB;
  // Answers that nobody reads from the socket.
  Attack& slow_reader = add("never_reads", "", [=](uint32_t i) {
    constexpr uint32_t kBytes = 12'000;
    const std::string prefix = std::string(1, '\0') + Number(kBytes);
    return headers(id(i)) +
           Frame(rpc::kFrameData, rpc::kFlagEndStream, id(i), prefix + std::string(kBytes, 'x'));
  });
  slow_reader.first = [](uint32_t) {
    return Frame(rpc::kFrameWindowUpdate, 0, 0, Number(0x7fff0000 - 65'535));
  };
  slow_reader.ends = Ends::kHeld;
  slow_reader.reads = false;
  slow_reader.pieces_max = 900;
  slow_reader.memory_bytes_max = 64 * kMiB;
  return attacks;
}

std::vector<Attack> AttacksOnClient() {
  std::vector<Attack> attacks;
  AddWorthlessFrames(&attacks);
  const auto add = [&](std::string name, std::string counter, auto piece) -> Attack& {
    Attack& attack = attacks.emplace_back();
    attack.name = std::move(name);
    attack.counter = std::move(counter);
    attack.first = Nothing;
    attack.piece = piece;
    return attack;
  };
  add("interim_responses", "limit_control_frames", [](uint32_t, uint32_t stream) {
    return Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders, stream, Field(":status", "103"));
  });
  add("empty_data", "limit_control_frames", [](uint32_t i, uint32_t stream) {
    return i == 0 ? Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders, stream, rpc::kResponseBlock)
                  : Frame(rpc::kFrameData, 0, stream);
  });
  add("goaways", "limit_control_frames", [](uint32_t, uint32_t) {
    return Frame(rpc::kFrameGoaway, 0, 0, Number(0x7fffffff) + Number(0));
  });
  add("headers_of_closed_streams", "limit_control_frames", [](uint32_t i, uint32_t stream) {
    const std::string reply = Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders | rpc::kFlagEndStream,
                                    stream, rpc::kResponseBlock);
    return i == 0 ? Frame(rpc::kFrameReset, 0, stream, Number(8)) : reply;
  });
  add("continuations", "limit_continuations", [](uint32_t i, uint32_t stream) {
    return i == 0 ? Frame(rpc::kFrameHeaders, 0, stream, rpc::kResponseBlock)
                  : Frame(rpc::kFrameContinuation, 0, stream, Field("a", "b"));
  });
  add("push_promise", "protocol_errors", [](uint32_t, uint32_t stream) {
    return Frame(kPushPromise, rpc::kFlagEndHeaders, stream, Number(2) + "\x82");
  }).pieces_max = 1;
  add("window_overflow", "protocol_errors", [](uint32_t, uint32_t) {
    return Frame(rpc::kFrameWindowUpdate, 0, 0, Number(0x7fffffff));
  }).pieces_max = 2;
  return attacks;
}

}  // namespace lever::misbehave
