#include "liblever/rpc/session.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstring>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/held_bytes.h"
#include "liblever/rpc/session_callbacks.h"

// Where nghttp2 would read `stderr`, in a function that nobody calls: see cmake/LeverBuild.cmake.
extern "C" {
std::FILE* lever_nghttp2_stderr = nullptr;
}

namespace lever::rpc {
namespace {

ConnectionOptions ForCallers(ConnectionOptions options) {
  if (options.callers == ConnectionOptions::Callers::kMany) options.streams_max *= kCallersOfRelay;
  return options;
}

// What a peer may ask of a turn before it has earned anything: all of it where it is no stranger.
int64_t FirstWork(const ConnectionOptions& options) {
  const bool stranger =
      options.role == Role::kServer && options.callers == ConnectionOptions::Callers::kOne;
  return stranger ? kFrameWorkFirst : kFrameWorkPerTurn;
}

// Events that a connection keeps room for, and an idle one.
constexpr size_t kEventsKept = 256;
constexpr size_t kEventsKeptIdle = 8;
// A connection stops taking new streams this many ids before the last, so that those that wait
// already still get theirs.
constexpr uint32_t kIdsKept = 1'000'000;

constexpr uint8_t kKeepalivePing[8] = {'l', 'e', 'v', 'e', 'r', 'k', 'a', '1'};

// A header list as nghttp2 wants it, without copying the text.
class FieldArray {
 public:
  explicit FieldArray(const HeaderList& list) {
    fields_.resize(list.size(), boost::container::default_init);
    nghttp2_nv* out = fields_.data();
    for (size_t i = 0; i < list.size(); ++i, ++out) {
      const HeaderView field = list[i];
      int flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
      if (field.indexing == Indexing::kNever) flags |= NGHTTP2_NV_FLAG_NO_INDEX;
      *out = {Bytes(field.name), Bytes(field.value), field.name.size(), field.value.size(),
              static_cast<uint8_t>(flags)};
    }
  }
  const nghttp2_nv* data() const { return fields_.data(); }
  size_t size() const { return fields_.size(); }

 private:
  static uint8_t* Bytes(std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }

  boost::container::small_vector<nghttp2_nv, 24> fields_;
};

// nghttp2's memory, out of a loop's pool.
nghttp2_mem MemoryOf(BlockPool* blocks) {
  static constexpr auto kPool = [](void* self) { return static_cast<BlockPool*>(self); };
  return {
      .mem_user_data = blocks,
      .malloc = [](size_t size, void* self) { return kPool(self)->Allocate(size); },
      .free = [](void* block, void* self) { kPool(self)->Release(block); },
      .calloc = [](size_t count, size_t size, void* self) -> void* {
        if (size != 0 && count > SIZE_MAX / size) return nullptr;
        void* const block = kPool(self)->Allocate(count * size);
        return block == nullptr ? nullptr : std::memset(block, 0, count * size);
      },
      .realloc = [](void* block, size_t size, void* self) {
        return kPool(self)->Resize(block, size);
      },
  };
}

}  // namespace

// ---- Life ----

StatusOr<std::unique_ptr<Session>> Session::Open(Connection* connection,
                                                 const ConnectionOptions& options, int64_t now_ns) {
  std::unique_ptr<Session> session(new Session(connection, options, now_ns));
  LEVER_RETURN_IF_ERROR(session->Init());
  return session;
}

Session::Session(Connection* connection, const ConnectionOptions& options, int64_t now_ns)
    : connection_(connection),
      role_(options.role),
      options_(ForCallers(options)),
      now_ns_(now_ns),
      control_frames_(kControlFramesBurst, kControlFramesPerSecond, now_ns),
      resets_(kResetsBurst, kResetsPerSecond, now_ns),
      work_share_(FirstWork(options)),
      work_left_(work_share_),
      frame_left_(options.role == Role::kServer ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {}

Status Session::Init() {
  const auto make =
      role_ == Role::kClient ? nghttp2_session_client_new3 : nghttp2_session_server_new3;
  nghttp2_mem memory = MemoryOf(&connection_->loop().blocks());
  const nghttp2_option* const options = SessionCallbacks::Options(options_.callers);
  if (make(&h2_, SessionCallbacks::Get(), this, options, &memory) != 0) {
    return ResourceExhausted("no memory for an HTTP/2 session");
  }
  boost::container::small_vector<nghttp2_settings_entry, 6> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<uint32_t>(options_.header_list_bytes_max)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  if (role_ == Role::kClient) {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.streams_max});
  }
  int result = nghttp2_submit_settings(h2_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  if (result == 0) {
    result = nghttp2_session_set_local_window_size(h2_, NGHTTP2_FLAG_NONE, 0,
                                                   static_cast<int32_t>(kConnectionWindowBytes));
  }
  return result == 0 ? Status::Ok() : Fail(result);
}

Session::~Session() {
  ProcessHeldBytes().fetch_sub(held_published_, std::memory_order_relaxed);
  nghttp2_session_del(h2_);
  live_.clear_and_dispose([](Stream* stream) { delete stream; });
  for (Stream* stream : pool_) delete stream;
}

Status Session::Fail(ssize_t nghttp2_error) const {
  std::string text = "HTTP/2: ";
  text.append(nghttp2_strerror(static_cast<int>(nghttp2_error)));
  if (!failure_.empty()) text.append(": ").append(failure_);
  return Unavailable(std::move(text));
}

Status Session::failure() const {
  if (goaway_error_ == NGHTTP2_NO_ERROR) return Status::Ok();
  std::string text = "the peer broke HTTP/2: ";
  text.append(nghttp2_http2_strerror(goaway_error_));
  if (!failure_.empty()) text.append(": ").append(failure_);
  return Unavailable(std::move(text));
}

bool Session::Ended() const {
  return nghttp2_session_want_read(h2_) == 0 && nghttp2_session_want_write(h2_) == 0;
}

// ---- In ----

Status Session::Receive(std::span<const uint8_t> bytes, Buffer* owner, int64_t now_ns,
                        size_t* taken) {
  *taken = bytes.size();
  // nghttp2 has stopped in the middle of the input, and only says goodbye now.
  if (limit_failed_) return Status::Ok();
  now_ns_ = now_ns;
  const size_t followed = FollowFrames(bytes);
  sums_.bytes_received += followed;
  // A limit ends it, and nothing of what came is looked at any more.
  if (limit_failed_) return Status::Ok();
  *taken = followed;
  bytes = bytes.first(followed);
  receiving_ = owner;
  received_data_bytes_ = 0;
  const ssize_t result = nghttp2_session_mem_recv(h2_, bytes.data(), bytes.size());
  receiving_ = nullptr;
  if (limit_failed_) return Status::Ok();
  if (result < 0) {
    CountReceiveError(result);
    return Fail(result);
  }
  if (received_data_bytes_ > 0) {
    const int consumed = nghttp2_session_consume_connection(h2_, received_data_bytes_);
    if (consumed != 0) return Fail(consumed);
  }
  return Status::Ok();
}

bool Session::NextEvent(SessionEvent* event) {
  if (next_event_ == events_.size()) {
    if (next_event_ == 0) return false;
    events_.clear();
    next_event_ = 0;
    if (events_.capacity() > kEventsKept) events_.shrink_to_fit();
    return false;
  }
  *event = std::move(events_[next_event_++]);
  return true;
}

// ---- Out ----

Status Session::Collect() {
  paused_ = false;
  for (;;) {
    EndAtLimit();
    SubmitWaiting();
    for (;;) {
      const uint8_t* data = nullptr;
      const ssize_t size = nghttp2_session_mem_send(h2_, &data);
      if (size < 0) return Fail(size);
      if (size == 0) break;
      out_.Append({data, static_cast<size_t>(size)});
    }
    if (paused_) return Status::Ok();
    // What was sent may have been the peer's last reset.
    if (limit_failed_ && !limit_told_) continue;
    // A round is over: those that gave way go on, and streams that have ended made room for others.
    const bool others = !yielded_.empty();
    while (!yielded_.empty()) {
      Stream& stream = yielded_.front();
      yielded_.pop_front();
      Resume(&stream);
    }
    if (!others && !MaySubmitNext()) return Status::Ok();
  }
}

// Whether a stream waits that may be started now.
bool Session::MaySubmitNext() {
  if (waiting_.empty() || discard_data_) return false;
  if (started_ >= peer_streams_max()) return false;
  if (out_.bytes() < kConnectionOutBytesMax) return true;
  paused_ = true;
  return false;
}

void Session::SubmitWaiting() {
  // As serialised they are smaller than they are counted, so that the output's bound holds.
  size_t submitted_bytes = 0;
  while (submitted_bytes < kConnectionOutBytesMax && MaySubmitNext()) {
    Stream& stream = waiting_.front();
    waiting_.pop_front();
    submitted_bytes += stream.send_headers_.AccountedBytes();
    Submit(&stream);
  }
}

void Session::Submit(Stream* stream) {
  const FieldArray fields(stream->send_headers_);
  nghttp2_data_provider body;
  body.source.ptr = stream;
  body.read_callback = SessionCallbacks::ReadData;
  const bool has_body =
      !stream->local_ended_ || !stream->queue_.empty() || stream->has_send_trailers_;
  const int32_t id = nghttp2_submit_request(h2_, nullptr, fields.data(), fields.size(),
                                            has_body ? &body : nullptr, stream);
  if (id < 0) {
    RecordClosed(stream, kHttp2RefusedStream);
    return;
  }
  stream->id_ = id;
  stream->headers_submitted_ = true;
  ++started_;
}

void Session::EndTurn() {
  while (!unflushed_.empty()) {
    unflushed_.front().queue_.Compact();
    unflushed_.pop_front();
  }
  out_.EndTurn();
}

// ---- Streams ----

Stream* Session::Take() {
  Stream* stream;
  if (pool_.empty()) {
    stream = new Stream();
  } else {
    stream = pool_.back();
    pool_.pop_back();
  }
  stream->connection_ = connection_;
  stream->session_ = this;
  live_.push_back(*stream);
  return stream;
}

void Session::Recycle(Stream* stream) {
  if (stream->live_hook_.is_linked()) stream->live_hook_.unlink();
  if (pool_.size() == kPooledStreamsMax) {
    delete stream;
    return;
  }
  stream->Clear();
  pool_.push_back(stream);
}

Stream* Session::Find(int32_t stream_id) {
  if (stream_id == found_id_) return found_;
  found_ = static_cast<Stream*>(nghttp2_session_get_stream_user_data(h2_, stream_id));
  found_id_ = found_ == nullptr ? 0 : stream_id;
  return found_;
}

void Session::Detach(Stream* stream) {
  if (stream->id_ == 0) return;
  if (found_id_ == stream->id_) found_id_ = 0;
  // Fails where nghttp2 has closed it already.
  nghttp2_session_set_stream_user_data(h2_, stream->id_, nullptr);
}

bool Session::IdsUsedUp() const {
  return nghttp2_session_get_next_stream_id(h2_) >= INT32_MAX - kIdsKept;
}

Stream* Session::NewStream(StreamHandler* handler) {
  Stream* stream = Take();
  ++sums_.streams_opened;
  stream->handler_ = handler;
  stream->announced_ = true;
  return stream;
}

void Session::Launch(Stream* stream, Stream::End end) {
  const size_t bytes = stream->send_headers_.AccountedBytes();
  if (bytes > kHeaderListBytesMax) {
    stream->close_.connection_status =
        ResourceExhausted("headers of " + std::to_string(bytes) + " bytes, above the limit of " +
                          std::to_string(kHeaderListBytesMax));
    RecordClosed(stream, kHttp2InternalError);
    return;
  }
  stream->local_ended_ = end == Stream::End::kYes;
  waiting_.push_back(*stream);
}

void Session::SubmitResponse(Stream* stream, const HeaderList& headers, Stream::End end) {
  stream->send_headers_ = headers;
  stream->headers_submitted_ = true;
  if (end == Stream::End::kYes) stream->local_ended_ = true;
  const FieldArray fields(stream->send_headers_);
  nghttp2_data_provider body;
  body.source.ptr = stream;
  body.read_callback = SessionCallbacks::ReadData;
  const int result = nghttp2_submit_response(h2_, stream->id_, fields.data(), fields.size(),
                                             end == Stream::End::kYes ? nullptr : &body);
  if (result != 0) Reset(stream, kHttp2InternalError);
}

void Session::Queue(Stream* stream, Slice data) {
  if (stream->closing_) return;
  held_ += data.size();
  stream->queue_.Push(std::move(data));
  if (!MayHold(stream)) {
    Reset(stream, kHttp2EnhanceYourCalm);
    return;
  }
  if (!stream->Writable()) stream->was_full_ = true;
  if (!stream->unflushed_hook_.is_linked()) unflushed_.push_back(*stream);
}

void Session::DropQueued(Stream* stream) {
  held_ -= stream->queue_.bytes();
  stream->queue_.Clear();
}

void Session::Resume(Stream* stream) {
  // One that gave way goes on when its round is over.
  if (!stream->deferred_ || stream->place_hook_.is_linked()) return;
  stream->deferred_ = false;
  // Fails only where nghttp2 has closed the stream, which is then about to be reported.
  nghttp2_session_resume_data(h2_, stream->id_);
}

void Session::Reset(Stream* stream, uint32_t error_code) {
  stream->muted_ = true;
  if (stream->id_ != 0) {
    nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, stream->id_, error_code);
  }
  RecordClosed(stream, error_code);
}

void Session::Consume(Stream* stream, size_t bytes) {
  const size_t read = std::min(bytes, stream->unread_);
  stream->unread_ -= read;
  held_ -= read;
  if (stream->remote_end_received_) return;
  nghttp2_session_consume_stream(h2_, stream->id_, bytes);
}

void Session::RecordClosed(Stream* stream, uint32_t error_code) {
  if (stream->closing_) return;
  stream->closing_ = true;
  stream->close_.error_code = error_code;
  if (role_ == Role::kClient && stream->headers_position_ == Stream::kNotWritten) {
    stream->close_.never_written = true;
    stream->close_.unprocessed = true;
  }
  Detach(stream);
  if (stream->place_hook_.is_linked()) stream->place_hook_.unlink();
  if (stream->unflushed_hook_.is_linked()) stream->unflushed_hook_.unlink();
  held_ -= stream->held_bytes();
  stream->unread_ = stream->kept_ = 0;
  stream->queue_.Clear();
  Record(SessionEvent::Kind::kStreamClosed, stream);
}

void Session::CloseAll(uint32_t error_code, const Status& status) {
  for (auto at = live_.begin(); at != live_.end();) {
    Stream& stream = *at++;
    if (!stream.announced_) {
      Detach(&stream);
      Recycle(&stream);
      continue;
    }
    stream.muted_ = true;
    if (stream.closing_) continue;
    stream.close_.connection_status = status;
    // In the output, but no byte of it was taken; and nobody claims to have answered it.
    const bool answered = stream.final_headers_ || stream.remote_end_received_;
    if (stream.headers_position_ >= out_.written() && !answered) {
      stream.headers_position_ = Stream::kNotWritten;
    }
    RecordClosed(&stream, error_code);
  }
}

void Session::CloseWaiting() {
  while (!waiting_.empty()) RecordClosed(&waiting_.front(), kHttp2RefusedStream);
}

void Session::CutStalledReplies(int64_t before_ns) {
  for (auto at = live_.begin(); at != live_.end();) {
    Stream& stream = *at++;
    if (stream.closing_ || !stream.local_ended_ || stream.queue_.empty()) continue;
    if (stream.progress_ns_ > before_ns) continue;
    Count(LocalCounters().limit_reply_time);
    Reset(&stream, kHttp2Cancel);
  }
}

void Session::Trim() {
  while (pool_.size() > kPooledStreamsIdle) {
    delete pool_.back();
    pool_.pop_back();
  }
  pool_.shrink_to_fit();
  if (!has_events() && events_.capacity() > kEventsKeptIdle) std::vector<SessionEvent>().swap(events_);
}

// ---- The connection ----

void Session::SubmitShutdownNotice() {
  nghttp2_submit_shutdown_notice(h2_);
  nghttp2_submit_ping(h2_, NGHTTP2_FLAG_NONE, SessionCallbacks::kDrainPing);
}

void Session::SubmitFinalGoaway() {
  last_accepted_id_ = nghttp2_session_get_last_proc_stream_id(h2_);
  nghttp2_submit_goaway(h2_, NGHTTP2_FLAG_NONE, last_accepted_id_, NGHTTP2_NO_ERROR, nullptr, 0);
}

void Session::SubmitKeepalivePing() { nghttp2_submit_ping(h2_, NGHTTP2_FLAG_NONE, kKeepalivePing); }

void Session::Terminate(uint32_t error_code) {
  discard_data_ = true;
  nghttp2_session_terminate_session(h2_, error_code);
}

// Submits the trailers of a stream whose body is written. Also from inside ReadData().
int Session::SubmitTrailers(Stream* stream) {
  const FieldArray fields(stream->send_trailers_);
  return nghttp2_submit_trailer(h2_, stream->id_, fields.data(), fields.size());
}

}  // namespace lever::rpc
