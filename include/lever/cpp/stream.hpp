// Blocking streams, for callers and for streaming methods. Part of lever.hpp.
#ifndef LEVER_CPP_STREAM_HPP_
#define LEVER_CPP_STREAM_HPP_

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lever/cpp/error.hpp"
#include "lever/cpp/queue.hpp"
#include "lever/cpp/value.hpp"
#include "lever/lever.h"

namespace lever {
namespace detail {

// What the other side may send ahead of the reader.
inline constexpr uint64_t kReadAheadMessages = 64;
inline constexpr uint64_t kReadAheadBytes = 256 * 1024;
// Of streams that can be resumed: their callers keep what is not read, to send it elsewhere.
inline constexpr uint64_t kResumableAheadMessages = 16;
inline constexpr uint64_t kResumableAheadBytes = 64 * 1024;

// From where a stream goes on, or could; as an event tells it.
inline std::optional<ResumePoint> ResumePointOf(const lever_event& event) {
  if (event.resumed == 0) return std::nullopt;
  return ResumePoint{{static_cast<const char*>(event.resume_token), event.resume_token_size},
                     event.resume_received};
}

// One stream of either side; shared by its handle and, until its last event, by the queue.
class StreamState final : public EventTarget, public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(std::shared_ptr<Queue> queue, uint64_t id) : queue_(std::move(queue)), id_(id) {}

  // Under the queue's mutex.
  void OnEvent(const lever_event& event) override {
    switch (event.type) {
      case LEVER_EVENT_STREAM_MESSAGE:
        if (!abandoned_) {
          messages_.push_back(MakePayload(event.kind, event.slices, event.slice_count));
        }
        break;
      case LEVER_EVENT_STREAM_HALF_CLOSED: half_closed_ = true; break;
      case LEVER_EVENT_WRITABLE: ++writable_; break;
      case LEVER_EVENT_STREAM_MOVING: moving_ = true; break;
      case LEVER_EVENT_STREAM_END:
        ended_ = true;
        status_ = event.status;
        executed_ = event.executed;
        error_ = MakePayload(event.kind, event.slices, event.slice_count);
        message_ = event.message ? event.message : "";
        resume_ = ResumePointOf(event);
        self_.reset();
        break;
      default: break;
    }
  }

  // Keeps it until its last event, for a stream that the queue knows by address.
  void KeepUntilEnd() { self_ = shared_from_this(); }
  void NotOpened() { self_.reset(); }
  void set_id(uint64_t id) { id_ = id; }

  std::optional<Payload> Read() {
    std::unique_lock lock(queue_->mutex());
    queue_->Await(lock,
                  [this] { return !messages_.empty() || half_closed_ || ended_ || moving_; });
    if (moving_ && (!messages_.empty() || !(half_closed_ || ended_))) {
      told_ = true;
      ThrowIfBroken();
      throw Moved();
    }
    if (messages_.empty()) {
      ThrowIfBroken();
      return std::nullopt;
    }
    Payload payload = std::move(messages_.front());
    messages_.pop_front();
    const bool ended = ended_;
    lock.unlock();
    // A bound of no bytes would be none at all.
    const uint64_t bytes = std::max<uint64_t>(payload.bytes.size(), 1);
    if (!ended) lever_stream_read(queue_->get(), id_, 1, bytes);
    return payload;
  }

  // False: the other side has ended the stream with success and reads no more.
  bool Write(const Payload& payload, std::optional<std::string_view> token = {}) {
    const lever_slice slice = SliceOf(payload.bytes);
    if (send_closed_) throw Error(LEVER_FAILED_PRECONDITION, "a write after end()");
    for (;;) {
      std::unique_lock lock(queue_->mutex());
      if (ended_) {
        ThrowIfBroken();
        return false;
      }
      const uint64_t writable = writable_;
      lock.unlock();
      const lever_status status =
          token ? lever_stream_write_resumable(queue_->get(), id_, payload.kind, &slice, 1,
                                               token->data(), token->size())
                : lever_stream_write(queue_->get(), id_, payload.kind, &slice, 1);
      if (status == LEVER_OK) return true;
      lock.lock();
      if (status == LEVER_WOULD_BLOCK) {
        queue_->Await(lock, [&] { return writable_ != writable || ended_; });
      } else if (status == LEVER_INVALID_ARGUMENT && IsValid(payload)) {
        // The id is over: the last event is on its way.
        queue_->Await(lock, [&] { return ended_; });
      } else {
        throw Error(status, lever_status_text(status));
      }
    }
  }

  // Credit for what the other side may send first; an incoming stream has none.
  void ReadAhead(bool resumable) {
    lever_stream_read(queue_->get(), id_, resumable ? kResumableAheadMessages : kReadAheadMessages,
                      resumable ? kResumableAheadBytes : kReadAheadBytes);
  }
  // Whether its resource moves, so that the method is to return; looks for what has come.
  bool Moving() {
    return queue_->Look([this] {
      told_ |= moving_;
      return moving_;
    });
  }
  // The method has returned, or let Moved through. False: it did not do so for a move, which it has heard
  // nothing of, or it has ended the stream before.
  bool MoveOn() {
    std::unique_lock lock(queue_->mutex());
    if (!moving_ || !told_ || ended_ || send_closed_) return false;
    const uint64_t unread = messages_.size();
    lock.unlock();
    send_closed_ = true;
    lever_stream_moved(queue_->get(), id_, unread);
    return true;
  }
  void CloseSend() {
    send_closed_ = true;
    lever_stream_close_send(queue_->get(), id_);
  }
  void Fail(const Payload& error) {
    const lever_slice slice = SliceOf(error.bytes);
    lever_stream_fail(queue_->get(), id_, error.kind, &slice, 1);
  }
  void Cancel(lever_status status, std::string_view message) {
    lever_stream_cancel(queue_->get(), id_, status, message.data(), message.size());
  }
  // Nobody reads it any more.
  void Abandon() {
    const std::lock_guard lock(queue_->mutex());
    abandoned_ = true;
    messages_.clear();
  }
  // Whether it has ended otherwise than with success; looks for what has come.
  bool Broken() const {
    return queue_->Look([this] { return ended_ && status_ != LEVER_OK; });
  }
  bool ended() const {
    const std::lock_guard lock(queue_->mutex());
    return ended_;
  }

 private:
  // Under the queue's mutex.
  void ThrowIfBroken() const {
    if (ended_ && status_ != LEVER_OK) {
      ThrowOutcome(status_, executed_, message_, error_, resume_);
    }
  }
  static bool IsValid(const Payload& payload) {
    const lever_slice slice = SliceOf(payload.bytes);
    return payload.is_raw() || lever_value_check(&slice, 1, nullptr) == LEVER_OK;
  }

  const std::shared_ptr<Queue> queue_;
  uint64_t id_;
  std::shared_ptr<StreamState> self_;
  std::deque<Payload> messages_;
  uint64_t writable_ = 0;
  bool send_closed_ = false;  // of the writer
  bool half_closed_ = false;
  bool abandoned_ = false;
  bool moving_ = false;
  bool told_ = false;  // the method knows that it moves
  bool ended_ = false;
  int32_t status_ = LEVER_OK;
  int32_t executed_ = LEVER_EXECUTED_UNKNOWN;
  Payload error_;
  std::string message_;
  std::optional<ResumePoint> resume_;
};

// Iterates over messages as T, until the other side has sent its last one.
template <typename T>
class Messages {
 public:
  explicit Messages(StreamState* state) : state_(state) {}

  struct End {};
  class Iterator {
   public:
    explicit Iterator(StreamState* state) : state_(state) { ++*this; }
    const T& operator*() const { return *message_; }
    const T* operator->() const { return &*message_; }
    Iterator& operator++() {
      const std::optional<Payload> payload = state_->Read();
      message_.reset();
      if (payload) message_.emplace(ConvertPayload<T>(*payload));
      return *this;
    }
    bool operator!=(End) const { return message_.has_value(); }

   private:
    StreamState* state_;
    std::optional<T> message_;
  };
  Iterator begin() const { return Iterator(state_); }
  End end() const { return {}; }

 private:
  StreamState* state_;
};

// What both sides of a stream can do.
class StreamHandle {
 public:
  // The next message; nullopt after the last one. Throws MethodError or Error if the stream ended
  // so.
  template <typename T = Value>
  std::optional<T> read() {
    const std::optional<Payload> payload = state_->Read();
    if (!payload) return std::nullopt;
    return ConvertPayload<T>(*payload);
  }
  template <typename T = Value>
  Messages<T> messages() {
    return Messages<T>(state_.get());
  }
  // Waits while 256 KiB are queued. False: the other side has ended the stream with success. Throws
  // MethodError or Error if it ended otherwise.
  template <typename T>
  bool write(const T& message) {
    return state_->Write(PackValue(message));
  }
  // Gives the stream up, on both sides.
  void cancel(lever_status status = LEVER_CANCELLED, std::string_view message = "") {
    state_->Cancel(status, message);
  }

 protected:
  explicit StreamHandle(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
  StreamHandle(StreamHandle&&) = default;
  StreamHandle& operator=(StreamHandle&&) = delete;
  ~StreamHandle() = default;

  std::shared_ptr<StreamState> state_;
};

}  // namespace detail

// A stream that a client opened. Not ended when it is destroyed, it is cancelled.
class Stream final : public detail::StreamHandle {
 public:
  explicit Stream(std::shared_ptr<detail::StreamState> state) : StreamHandle(std::move(state)) {}
  Stream(Stream&&) = default;
  ~Stream() {
    if (!state_) return;
    state_->Abandon();
    if (!state_->ended()) cancel();
  }
  // No more messages from this side; what the other side sends can still be read.
  void end() { state_->CloseSend(); }
};

}  // namespace lever

#endif  // LEVER_CPP_STREAM_HPP_
