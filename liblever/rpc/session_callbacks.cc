#include "liblever/rpc/session_callbacks.h"

#include <algorithm>
#include <cstring>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/session.h"

namespace lever::rpc {
namespace {

// The text of a peer's mistake that is kept for the log.
constexpr size_t kFailureBytesMax = 200;

std::string_view Text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

Session* Self(void* self) { return static_cast<Session*>(self); }

}  // namespace

// ---- The tables ----

const nghttp2_session_callbacks* SessionCallbacks::Get() {
  static const nghttp2_session_callbacks* const callbacks = Make();
  return callbacks;
}

const nghttp2_option* SessionCallbacks::Options(ConnectionOptions::Callers callers) {
  static const nghttp2_option* const of_one = MakeOptions(ConnectionOptions::Callers::kOne);
  static const nghttp2_option* const of_many =
      MakeOptions(ConnectionOptions::Callers::kMany);
  return callers == ConnectionOptions::Callers::kOne ? of_one : of_many;
}

nghttp2_option* SessionCallbacks::MakeOptions(ConnectionOptions::Callers callers) {
  nghttp2_option* options = nullptr;
  if (nghttp2_option_new(&options) != 0) return nullptr;
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  nghttp2_option_set_max_outbound_ack(options, kOutboundAcksMax);
  if (callers == ConnectionOptions::Callers::kOne) {
    nghttp2_option_set_stream_reset_rate_limit(options, kResetsBurstBehind, kResetsPerSecond);
  } else {
    // Without this it would be nghttp2's own default.
    nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX);
  }
  nghttp2_option_set_max_continuations(options, kContinuationsMax);
  // What we send is bounded where it comes in; nghttp2 estimates less than is accounted there.
  nghttp2_option_set_max_send_header_block_length(options, 2 * kHeaderListBytesMax);
  return options;
}

nghttp2_session_callbacks* SessionCallbacks::Make() {
  nghttp2_session_callbacks* table = nullptr;
  if (nghttp2_session_callbacks_new(&table) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        return Self(self)->OnBeginHeaders(frame);
      });
  nghttp2_session_callbacks_set_on_header_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t flags, void* self) {
        return Self(self)->OnHeader(frame, Text(name, name_size), Text(value, value_size), flags);
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        Self(self)->OnFrame(frame);
        return Self(self)->Verdict();
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      table, [](nghttp2_session*, uint8_t, int32_t stream_id, const uint8_t* data, size_t size,
                void* self) {
        Self(self)->OnDataChunk(stream_id, data, size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      table, [](nghttp2_session*, int32_t stream_id, uint32_t error_code, void* self) {
        Self(self)->OnStreamClose(stream_id, error_code);
        return 0;
      });
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, int error, void* self) {
        Self(self)->OnInvalidFrame(frame, error);
        return Self(self)->Verdict();
      });
  nghttp2_session_callbacks_set_before_frame_send_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        Self(self)->BeforeFrameSend(frame);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        Self(self)->OnFrameSent(frame);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_not_send_callback(
      table, [](nghttp2_session*, const nghttp2_frame* frame, int error, void* self) {
        Self(self)->OnFrameNotSent(frame, error);
        return 0;
      });
  nghttp2_session_callbacks_set_send_data_callback(
      table, [](nghttp2_session*, nghttp2_frame*, const uint8_t* frame_header, size_t size,
                nghttp2_data_source* source, void* self) {
        Self(self)->SendData(static_cast<Stream*>(source->ptr), frame_header, size);
        return 0;
      });
  nghttp2_session_callbacks_set_error_callback2(
      table, [](nghttp2_session*, int, const char* text, size_t size, void* self) {
        Session* const session = Self(self);
        if (session->limit_failed_) return 0;
        session->failure_.assign(text, std::min(size, kFailureBytesMax));
        return 0;
      });
  return table;
}

ssize_t SessionCallbacks::ReadData(nghttp2_session*, int32_t, uint8_t*, size_t size,
                                   uint32_t* flags, nghttp2_data_source* source, void* self) {
  return Self(self)->ReadData(static_cast<Stream*>(source->ptr), size, flags);
}

// ---- What comes in ----

int Session::OnBeginHeaders(const nghttp2_frame* frame) {
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  const int32_t id = frame->hd.stream_id;
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    ++incoming_;
    // Between the final GOAWAY's making and its leaving: the peer will read that it was not run.
    if (id > last_accepted_id_ || !MayHold(nullptr)) {
      nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    Stream* stream = Take();
    stream->id_ = id;
    nghttp2_session_set_stream_user_data(h2_, id, stream);
    return 0;
  }
  // A final response follows the 1xx ones.
  Stream* stream = Find(id);
  if (stream != nullptr && role_ == Role::kClient && !stream->final_headers_) {
    stream->headers_.Clear();
  }
  return 0;
}

int Session::OnHeader(const nghttp2_frame* frame, std::string_view name, std::string_view value,
                      uint8_t flags) {
  Stream* stream = Find(frame->hd.stream_id);
  if (stream == nullptr) return 0;
  const bool trailers = role_ == Role::kServer ? stream->announced_ : stream->final_headers_;
  HeaderList& list = trailers ? stream->trailers_ : stream->headers_;
  const size_t bytes = list.AccountedBytes() + name.size() + value.size() + 32;
  if (bytes > options_.header_list_bytes_max || list.size() == kHeaderFieldsMax) {
    Count(LocalCounters().limit_header_block);
    // The rest is decoded, for HPACK's table, without our hearing of it.
    nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_ENHANCE_YOUR_CALM);
    SpendReset();
    ++resets_spent_;
    return limit_failed_ ? NGHTTP2_ERR_CALLBACK_FAILURE : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  list.Add(name, value,
           (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0 ? Indexing::kNever : Indexing::kAllowed);
  return 0;
}

void Session::OnFrame(const nghttp2_frame* frame) {
  const bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_DATA: {
      const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      if ((frame->hd.flags & NGHTTP2_FLAG_PADDED) != 0) {
        // The others were noted when they began.
        if (frame->hd.length > frame->data.padlen || end) {
          control_frames_.Earn(kControlFramesEarned);
        } else {
          SpendControlFrame();
        }
      }
      if (!end) return;
      Stream* stream = Find(frame->hd.stream_id);
      if (stream != nullptr) OnRemoteEnd(stream);
      return;
    }
    case NGHTTP2_HEADERS:
      OnHeadersFrame(frame);
      return;
    case NGHTTP2_SETTINGS:
      if (!ack && !settings_received_) {
        settings_received_ = true;
        Record(SessionEvent::Kind::kReady);
      }
      return;
    case NGHTTP2_PING:
      if (ack && std::memcmp(frame->ping.opaque_data, SessionCallbacks::kDrainPing, 8) == 0) {
        Record(SessionEvent::Kind::kDrainPong);
      }
      return;
    case NGHTTP2_GOAWAY:
      OnGoawayFrame(frame->goaway);
      return;
    default:
      return;
  }
}

void Session::OnHeadersFrame(const nghttp2_frame* frame) {
  Stream* stream = Find(frame->hd.stream_id);
  if (stream == nullptr) return;
  if (role_ == Role::kServer && !stream->announced_) {
    stream->announced_ = true;
    ++sums_.streams_opened;
    ++connection_->open_streams_;
    Record(SessionEvent::Kind::kRequest, stream);
  } else if (role_ == Role::kClient && !stream->final_headers_) {
    const std::string_view status = stream->headers_.Find(":status").value_or("");
    if (!status.starts_with('1')) {
      stream->final_headers_ = true;
      Record(SessionEvent::Kind::kHeaders, stream);
    } else {
      // What it earned as a frame of headers is taken back.
      for (uint32_t i = 0; i < 1 + kControlFramesEarned; ++i) SpendControlFrame();
    }
  }
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) OnRemoteEnd(stream);
}

void Session::OnGoawayFrame(const nghttp2_goaway& goaway) {
  Count(LocalCounters().goaways_received);
  if (goaway.error_code != NGHTTP2_NO_ERROR) {
    peer_complaint_ = nghttp2_http2_strerror(goaway.error_code);
    const std::string_view text =
        Text(goaway.opaque_data, std::min(goaway.opaque_data_len, kFailureBytesMax));
    if (!text.empty()) peer_complaint_.append(": ").append(text);
  }
  Record(SessionEvent::Kind::kGoaway);
}

void Session::OnRemoteEnd(Stream* stream) {
  stream->remote_end_received_ = true;
  Record(SessionEvent::Kind::kRemoteEnd, stream);
}

void Session::OnDataChunk(int32_t stream_id, const uint8_t* data, size_t size) {
  received_data_bytes_ += size;
  Stream* stream = Find(stream_id);
  if (stream == nullptr) return;
  stream->unread_ += size;
  held_ += size;
  if (!MayHold(stream)) {
    Reset(stream, kHttp2EnhanceYourCalm);
    return;
  }
  receiving_->Ref();
  events_.push_back(SessionEvent{SessionEvent::Kind::kData, stream, Slice(data, size, receiving_)});
}

void Session::OnStreamClose(int32_t stream_id, uint32_t error_code) {
  --(role_ == Role::kClient ? started_ : incoming_);
  if (error_code == NGHTTP2_NO_ERROR) EarnWork(kFrameWorkEarned);
  Stream* stream = Find(stream_id);
  if (stream == nullptr) return;
  if (!stream->announced_) {
    Detach(stream);
    Recycle(stream);
    return;
  }
  if (error_code == NGHTTP2_NO_ERROR && !stream->remote_end_received_) {
    // RST_STREAM with NO_ERROR from the peer, which may say so only after its own end.
    if (role_ == Role::kClient) error_code = kHttp2ProtocolError;
    if (role_ == Role::kServer && !stream->local_ended_) error_code = kHttp2Cancel;
  }
  if (error_code == NGHTTP2_REFUSED_STREAM && role_ == Role::kClient) {
    stream->close_.unprocessed = true;
  }
  RecordClosed(stream, error_code);
}

void Session::OnInvalidFrame(const nghttp2_frame* frame, int nghttp2_error) {
  // Above the limit that the peer has acknowledged it is a mistake, which ends the connection.
  if (nghttp2_error == NGHTTP2_ERR_REFUSED_STREAM ||
      (frame->hd.type == NGHTTP2_HEADERS && incoming_ >= options_.streams_max)) {
    Count(LocalCounters().limit_refused_streams);
  }
  // A grpc-go client that closes its connection says goodbye with the last stream of its own, where
  // the server's belongs. With no stream open nothing is amiss.
  peer_left_ = frame->hd.type == NGHTTP2_GOAWAY && role_ == Role::kServer &&
               frame->goaway.error_code == NGHTTP2_NO_ERROR && live_.empty();
  if (failure_.empty()) failure_ = nghttp2_strerror(nghttp2_error);
  if (frame->hd.stream_id == 0) return;
  SpendReset();
  ++resets_spent_;
}

// ---- What goes out ----

void Session::BeforeFrameSend(const nghttp2_frame* frame) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return;
  Stream* stream = Find(frame->hd.stream_id);
  if (stream != nullptr) stream->headers_position_ = out_.appended();
}

void Session::OnFrameSent(const nghttp2_frame* frame) {
  switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
      NoteResetSent(frame->rst_stream.error_code);
      return;
    case NGHTTP2_GOAWAY:
      NoteGoawaySent(frame->goaway);
      return;
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: {
      if (role_ == Role::kClient || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
      // The response is complete: what the request still has to say is not wanted (RFC 9113, 8.1).
      Stream* stream = Find(frame->hd.stream_id);
      if (stream != nullptr && !stream->remote_end_received_) {
        nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, stream->id_, NGHTTP2_NO_ERROR);
      }
      return;
    }
    default:
      return;
  }
}

void Session::OnFrameNotSent(const nghttp2_frame* frame, int nghttp2_error) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat == NGHTTP2_HCAT_REQUEST) return;
  // A response or trailers that nghttp2 will not send; without this the stream would stay for ever.
  if (Find(frame->hd.stream_id) == nullptr) return;
  nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
}

ssize_t Session::ReadData(Stream* stream, size_t size, uint32_t* flags) {
  if (out_.bytes() >= kConnectionOutBytesMax) {
    paused_ = true;
    return NGHTTP2_ERR_PAUSE;
  }
  const size_t queued = stream->queue_.bytes();
  if (discard_data_ || (queued == 0 && !stream->local_ended_)) {
    stream->deferred_ = true;
    stream->quantum_used_ = 0;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (queued > 0 && stream->quantum_used_ >= kStreamQuantumBytes) {
    stream->deferred_ = true;
    stream->quantum_used_ = 0;
    yielded_.push_back(*stream);
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t taken = std::min(size, queued);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (taken == queued && stream->local_ended_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->has_send_trailers_) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      if (SubmitTrailers(stream) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
  }
  return static_cast<ssize_t>(taken);
}

void Session::SendData(Stream* stream, const uint8_t* frame_header, size_t size) {
  constexpr size_t kFrameHeaderBytes = 9;
  out_.Append({frame_header, kFrameHeaderBytes});
  out_.AppendFrom(&stream->queue_, size);
  stream->quantum_used_ += size;
  EarnWork(kFrameWorkData);
  held_ -= size;
  if (stream->local_ended_) stream->progress_ns_ = connection_->loop().now_ns();
  control_frames_.Earn(kControlFramesEarned +
                       static_cast<uint32_t>(size / kControlFrameBytesEarned));
  if (stream->was_full_ && stream->queued_bytes() < kStreamQueuedBytesLow) {
    stream->was_full_ = false;
    Record(SessionEvent::Kind::kWritable, stream);
  }
}

}  // namespace lever::rpc
