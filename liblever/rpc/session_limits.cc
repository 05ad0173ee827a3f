// What a peer may cost: frames that are worth nothing, resets, header blocks, frames that are left
// open, and the bytes that are held for it. docs/limits.md says what happens at each limit.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/held_bytes.h"
#include "liblever/rpc/session.h"

namespace lever::rpc {
namespace {

// What nghttp2 says of a frame beyond SETTINGS_MAX_FRAME_SIZE.
constexpr std::string_view kFrameTooLarge = "too large frame size";

}  // namespace

// ---- Frames ----

// Goes from frame to frame through what comes in, before nghttp2 sees it: of frames that it ignores,
// nghttp2 tells nothing, and when it hears of the others it has done its work already.
//
// Stops before a frame that begins when the turn's work is used up. Returns how far it came.
size_t Session::FollowFrames(std::span<const uint8_t> all) {
  std::span<const uint8_t> bytes = all;
  while (!bytes.empty() && !limit_failed_) {
    if (frame_left_ > 0) {
      const size_t skipped = std::min<size_t>(bytes.size(), frame_left_);
      frame_left_ -= static_cast<uint32_t>(skipped);
      bytes = bytes.subspan(skipped);
      continue;
    }
    if (frame_header_size_ == 0 && work_left_ <= 0) break;
    if (frame_header_size_ == 0 && !header_block_open_) {
      frame_began_ns_ = now_ns_;
      in_headers_ = false;
    }
    const size_t taken = std::min(bytes.size(), kFrameHeaderBytes - frame_header_size_);
    std::memcpy(frame_header_ + frame_header_size_, bytes.data(), taken);
    frame_header_size_ += static_cast<uint8_t>(taken);
    bytes = bytes.subspan(taken);
    if (frame_header_size_ < kFrameHeaderBytes) break;
    frame_header_size_ = 0;
    NoteFrame();
  }
  return all.size() - bytes.size();
}

// A frame has begun: its header is read, nothing else of it yet.
void Session::NoteFrame() {
  const auto byte = [this](size_t at) { return static_cast<uint32_t>(frame_header_[at]); };
  frame_left_ = byte(0) << 16 | byte(1) << 8 | byte(2);
  const uint32_t type = byte(3);
  const uint32_t flags = byte(4);
  work_left_ -= type == NGHTTP2_DATA ? kFrameWorkData : kFrameWork + frame_left_ / kFrameWorkBytes;
  in_headers_ = type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION;
  switch (type) {
    case NGHTTP2_DATA:
      if (frame_left_ == 0) {
        if ((flags & NGHTTP2_FLAG_END_STREAM) == 0) SpendControlFrame();
      } else if ((flags & NGHTTP2_FLAG_PADDED) == 0) {
        control_frames_.Earn(kControlFramesEarned);
      }
      return;
    case NGHTTP2_HEADERS: {
      const uint32_t id = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
      return NoteHeaders(static_cast<int32_t>(id & INT32_MAX), flags);
    }
    case NGHTTP2_CONTINUATION: return NoteContinuation(flags);
    case NGHTTP2_RST_STREAM:
      ++sums_.resets_received;
      SpendReset();
      return;
    default:
      // PRIORITY, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, and what nobody knows.
      SpendControlFrame();
      return;
  }
}

void Session::NoteHeaders(int32_t stream_id, uint32_t flags) {
  header_block_bytes_ = frame_left_;
  continuations_ = 0;
  header_block_open_ = (flags & NGHTTP2_FLAG_END_HEADERS) == 0;
  const bool opens = role_ == Role::kServer && stream_id > last_incoming_id_;
  if (opens) last_incoming_id_ = stream_id;
  if (opens || Find(stream_id) != nullptr) {
    control_frames_.Earn(kControlFramesEarned);
  } else if (late_headers_ > 0) {
    --late_headers_;
  } else {
    // Of a stream that is closed: it is decoded for HPACK's table, and that is work.
    SpendControlFrame();
  }
}

void Session::NoteContinuation(uint32_t flags) {
  header_block_bytes_ += frame_left_;
  header_block_open_ = (flags & NGHTTP2_FLAG_END_HEADERS) == 0;
  if (++continuations_ > kContinuationsMax) {
    FailLimit(&LocalCounters().limit_continuations, "too many CONTINUATION frames");
  } else if (header_block_bytes_ > kHeaderBlockBytesMax) {
    FailLimit(&LocalCounters().limit_header_block, "a header block above the limit");
  }
}

int64_t Session::InputDeadline() const {
  if (frame_left_ == 0 && frame_header_size_ == 0 && !header_block_open_) return kNever;
  const bool headers = in_headers_ || header_block_open_;
  return DeadlineAfter(frame_began_ns_, headers ? kHeadersTimeoutNs : kFrameTimeoutNs);
}

// ---- Budgets ----

void Session::SpendControlFrame() {
  if (control_frames_.Spend(now_ns_)) return;
  FailLimit(&LocalCounters().limit_control_frames, "too many frames without content");
}

void Session::SpendReset() {
  if (options_.callers == ConnectionOptions::Callers::kMany) return;
  work_share_ = std::max(kFrameWorkFirst, work_share_ - kFrameWorkLost);
  if (resets_.Spend(now_ns_)) return;
  FailLimit(&LocalCounters().limit_resets, "too many resets");
}

// The session is terminated after nghttp2 has returned: from inside of it, some frames that follow in the
// same input would fail an assertion of its (version 1.52).
void Session::FailLimit(std::atomic<uint64_t>* counter, std::string_view what) {
  if (limit_failed_) return;
  limit_failed_ = true;
  Count(*counter);
  failure_ = what;
}

int Session::Verdict() const { return limit_failed_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0; }

void Session::EndAtLimit() {
  if (!limit_failed_ || limit_told_) return;
  limit_told_ = true;
  nghttp2_session_terminate_session(h2_, NGHTTP2_ENHANCE_YOUR_CALM);
}

void Session::CountReceiveError(ssize_t nghttp2_error) {
  CounterBlock& counters = LocalCounters();
  if (std::exchange(failure_counted_, true)) return;
  switch (nghttp2_error) {
    case NGHTTP2_ERR_FLOODED: return Count(counters.limit_control_frames);
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: return Count(counters.limit_continuations);
    default: return Count(counters.protocol_errors);
  }
}

void Session::NoteGoawaySent(const nghttp2_goaway& goaway) {
  ++sums_.goaways_sent;
  goaway_error_ = peer_left_ ? static_cast<uint32_t>(NGHTTP2_NO_ERROR) : goaway.error_code;
  if (goaway_error_ == NGHTTP2_NO_ERROR || limit_failed_) return;
  if (std::exchange(failure_counted_, true)) return;
  const std::string_view why(reinterpret_cast<const char*>(goaway.opaque_data),
                             goaway.opaque_data_len);
  if (why == kFrameTooLarge) {
    Count(LocalCounters().limit_frame_bytes);
  } else {
    Count(LocalCounters().protocol_errors);
  }
  if (failure_.empty()) failure_ = why;
}

// Resets that nghttp2 sends for a peer's mistakes are the peer's, however few frames they cost it.
void Session::NoteResetSent(uint32_t error_code) {
  ++sums_.resets_sent;
  late_headers_ += kLateHeadersPerReset;
  switch (error_code) {
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_STREAM_CLOSED:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_COMPRESSION_ERROR:
    case NGHTTP2_REFUSED_STREAM:
    case NGHTTP2_ENHANCE_YOUR_CALM: break;
    default: return;
  }
  if (resets_spent_ > 0) {
    --resets_spent_;
  } else {
    SpendReset();
  }
}

// ---- What is held ----

bool Session::MayHoldMuch(const Stream* stream) {
  if (role_ == Role::kClient) return true;
  if (stream != nullptr && stream->held_bytes() <= kFrameBytesMax) return true;
  if (held_ > kConnectionHeldBytesMax) {
    Count(LocalCounters().limit_connection_bytes);
    return false;
  }
  const int64_t unpublished = static_cast<int64_t>(held_) - held_published_;
  const int64_t process = ProcessHeldBytes().load(std::memory_order_relaxed) + unpublished;
  if (process <= static_cast<int64_t>(kProcessHeldBytesMax)) return true;
  Count(LocalCounters().limit_process_bytes);
  return false;
}

bool Session::SetKept(Stream* stream, size_t bytes) {
  const size_t before = stream->kept_;
  held_ += bytes - before;
  stream->kept_ = bytes;
  if (bytes <= before || MayHold(stream)) return true;
  held_ -= bytes - before;
  stream->kept_ = before;
  return false;
}

void Session::PublishHeld() {
  const int64_t change = static_cast<int64_t>(held_) - held_published_;
  if (std::abs(change) < static_cast<int64_t>(kHeldFoldBytes)) return;
  held_published_ += change;
  ProcessHeldBytes().fetch_add(change, std::memory_order_relaxed);
}

}  // namespace lever::rpc
