// What all calls that go through the host have in common: a request stream from the caller, a stream
// to whoever serves it (the peer), and bytes passed between them without being decoded.
//
// Which peer that is, what it is told in headers and when a call may be sent again is the business of
// Derived: Relay for calls of lever.v1.Lever, UpstreamRelay for outside gRPC services. It is named at
// compile time, so that a call pays nothing for there being two. Derived has, for this class only:
//   void FindPeer();             begins to look for a connection; Attempt() or EndCaller() follows, and
//                                may come from inside
//   void StopFinding();          that is over, if it was begun
//   void LeavePeer();            the attempt, if there was one, is over
//   void BuildHeaders(HeaderList*);  adds those for the peer, out of down_->headers()
//   bool RefusedUnrun() const;   up_'s headers are a status that says: surely not run, and might next time
//   bool RefusedFull() const;    .. because the peer has no room, and the call may wait for it
//   void WaitForRoom();          after that: leaves the peer, and begins to look for one with room
//   bool MayResend(Sent);        whether it may be sent again; asked once after each failed attempt
//   void OnKept(size_t bytes);   so much of the request is kept while there is no peer
//   void OnAnswered();           the peer has answered in full
//   std::string PeerName() const;  for messages: "the instance"
//
// Threads: those of its loop. A relay owns itself until both of its streams have closed.
//
// Invariants
//  1. Back-pressure is HTTP/2's own: bytes are given back to the sender's window only when the
//     other side's queue has room, so that a relay holds at most one window and one queue each way.
//  2. The request, up to one stream window, is kept until the first byte of the reply, and sent again
//     only if the attempt surely did not run: at most kAttemptsMax attempts within the deadline,
//     refusals by peers without room not counted.
//  3. The caller gets exactly one end: the peer's own, or a status of the host's. The host ends a call
//     at its deadline, whatever the peer does.
#ifndef LIBLEVER_HOST_GATEWAY_RELAY_CORE_H_
#define LIBLEVER_HOST_GATEWAY_RELAY_CORE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/host/gateway/grpc_reply.h"
#include "liblever/policy/retry.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/grpc_timeout.h"

namespace lever::gateway {

struct RelayCounters {
  std::atomic<uint64_t> calls{0};    // that reached an instance, or an upstream
  std::atomic<uint64_t> resends{0};  // attempts after the first
};

// Attempts of one call that the host makes for a caller that does not retry by itself.
inline constexpr uint32_t kRelayAttemptsMax = 4;

template <typename Derived>
class RelayCore {
 public:
  static constexpr uint32_t kAttemptsMax = kRelayAttemptsMax;

  RelayCore(const RelayCore&) = delete;
  RelayCore& operator=(const RelayCore&) = delete;

 protected:
  // What a peer may have heard of the attempt that failed.
  enum class Sent : uint8_t { kNothing, kRequest };

  RelayCore(Loop* loop, RelayCounters* counters, rpc::Stream& stream)
      : loop_(loop), counters_(counters), down_handler_(this), up_handler_(this), down_(&stream) {
    stream.set_handler(&down_handler_);
  }
  ~RelayCore() = default;

  // Reads grpc-timeout.
  Status ReadDeadline();
  // Adds what is left of it.
  void AddTimeout(rpc::HeaderList* headers);
  // Sends what has come of the request on a peer's connection; null: it takes none.
  void Attempt(rpc::Connection* connection);
  // Ends the call with a status of the host's, unless it has its end. It may be deleted by this.
  void EndCaller(const Status& status);
  void DeleteIfDone() {
    if (down_ == nullptr && up_ == nullptr) delete self();
  }

 private:
  // The caller's stream.
  class Down final : public rpc::StreamHandler {
   public:
    explicit Down(RelayCore* relay) : relay_(relay) {}
    void OnData(rpc::Stream& stream, Slice data) override { relay_->OnRequestData(std::move(data)); }
    void OnRemoteEnd(rpc::Stream& stream) override { relay_->OnRequestEnd(); }
    void OnWritable(rpc::Stream& stream) override { relay_->ConsumeReply(); }
    void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override {
      relay_->OnCallerClosed();
    }

   private:
    RelayCore* relay_;
  };
  // The peer's stream.
  class Up final : public rpc::StreamHandler {
   public:
    explicit Up(RelayCore* relay) : relay_(relay) {}
    void OnHeaders(rpc::Stream& stream) override { relay_->OnReplyHeaders(); }
    void OnData(rpc::Stream& stream, Slice data) override { relay_->OnReplyData(std::move(data)); }
    void OnRemoteEnd(rpc::Stream& stream) override { relay_->OnReplyEnd(); }
    void OnWritable(rpc::Stream& stream) override { relay_->ConsumeRequest(); }
    void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override {
      relay_->OnPeerClosed(close);
    }

   private:
    RelayCore* relay_;
  };

  Derived* self() { return static_cast<Derived*>(this); }
  const Derived* self() const { return static_cast<const Derived*>(this); }

  void OnRequestData(Slice data);
  void OnRequestEnd();
  void OnCallerClosed();
  void ConsumeRequest();
  void StopKeeping();

  void OnReplyHeaders();
  void OnReplyData(Slice data);
  void OnReplyEnd();
  void OnPeerClosed(const rpc::StreamClose& close);
  void ConsumeReply();

  void ForwardHeaders(rpc::Stream::End end);
  // Looks for a peer once more for a call that surely did not run. False: it may not.
  bool TryAgain(Sent sent);
  // The same for one that a peer without room refused.
  bool TryWaiting();
  void LeaveUp();
  void OnDeadline();
  Status StatusOfClose(const rpc::StreamClose& close, bool not_run) const;

 protected:
  Loop* const loop_;
  RelayCounters* const counters_;
  Down down_handler_;
  Up up_handler_;
  rpc::Stream* down_;          // null once closed
  rpc::Stream* up_ = nullptr;  // null while there is none
  int64_t deadline_ns_ = kNever;
  FunctionTimer deadline_timer_{[this] { OnDeadline(); }};
  FunctionTimer again_timer_{[this] { self()->FindPeer(); }};
  uint32_t attempt_ = 0;
  uint32_t refused_full_ = 0;  // of the attempts

 private:
  SliceList kept_;  // of the request, while it may be sent again
  size_t kept_bytes_ = 0;
  bool keeping_ = true;
  bool request_ended_ = false;
  size_t request_unconsumed_ = 0;
  size_t reply_unconsumed_ = 0;
  bool headers_forwarded_ = false;
  bool reply_headers_ = false;  // have come, and wait to be forwarded
  bool ended_ = false;          // the caller has its end
};

template <typename Derived>
Status RelayCore<Derived>::ReadDeadline() {
  const auto timeout = down_->headers().Find(rpc::kTimeoutHeader);
  if (!timeout) return Status::Ok();
  const std::optional<int64_t> timeout_ns = rpc::ParseGrpcTimeout(*timeout);
  if (!timeout_ns) return InvalidArgument("grpc-timeout is malformed");
  deadline_ns_ = DeadlineAfter(loop_->now_ns(), *timeout_ns);
  return Status::Ok();
}

template <typename Derived>
void RelayCore<Derived>::AddTimeout(rpc::HeaderList* headers) {
  if (deadline_ns_ == kNever) return;
  const int64_t left_ns = std::max<int64_t>(deadline_ns_ - loop_->now_ns(), 1);
  headers->Add(rpc::kTimeoutHeader, rpc::FormatGrpcTimeout(rpc::CoarseTimeout(left_ns)));
}

template <typename Derived>
void RelayCore<Derived>::Attempt(rpc::Connection* connection) {
  ++attempt_;
  up_ = connection->StartStreamWith(
      [this](rpc::HeaderList* headers) { self()->BuildHeaders(headers); }, rpc::Stream::End::kNo,
      &up_handler_);
  if (up_ == nullptr) {
    if (TryAgain(Sent::kNothing)) return;
    self()->LeavePeer();
    EndCaller(Unavailable("the connection to " + self()->PeerName() + " takes no more streams")
                  .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  (attempt_ == 1 ? counters_->calls : counters_->resends).fetch_add(1, std::memory_order_relaxed);
  for (const Slice& slice : kept_) up_->Write(slice);
  if (request_ended_) up_->EndWrite();
  loop_->Arm(&deadline_timer_, deadline_ns_);
  ConsumeRequest();
}

template <typename Derived>
void RelayCore<Derived>::OnRequestData(Slice data) {
  request_unconsumed_ += data.size();
  if (up_ != nullptr) up_->Write(data);
  if (keeping_) {
    kept_bytes_ += data.size();
    if (up_ == nullptr || kept_bytes_ <= rpc::kStreamWindowBytes) {
      data.Compact();
      kept_.push_back(std::move(data));
    } else {
      StopKeeping();
    }
  }
  // Until there is a peer, the window bounds what is kept.
  if (up_ != nullptr) {
    ConsumeRequest();
  } else {
    self()->OnKept(kept_bytes_);
  }
}

template <typename Derived>
void RelayCore<Derived>::OnRequestEnd() {
  request_ended_ = true;
  if (up_ != nullptr) up_->EndWrite();
}

template <typename Derived>
void RelayCore<Derived>::ConsumeRequest() {
  if (down_ == nullptr || up_ == nullptr || !up_->Writable()) return;
  down_->Consume(std::exchange(request_unconsumed_, 0));
  // Given back to the window, and held all the same. Where too much is held already the call goes on
  // without a second attempt.
  if (keeping_ && !down_->SetKept(kept_bytes_)) StopKeeping();
}

template <typename Derived>
void RelayCore<Derived>::StopKeeping() {
  keeping_ = false;
  kept_.clear();
  if (down_ != nullptr) (void)down_->SetKept(0);
}

template <typename Derived>
void RelayCore<Derived>::ConsumeReply() {
  if (down_ == nullptr || up_ == nullptr || !down_->Writable()) return;
  up_->Consume(std::exchange(reply_unconsumed_, 0));
}

template <typename Derived>
void RelayCore<Derived>::OnCallerClosed() {
  down_ = nullptr;
  ended_ = true;
  self()->StopFinding();
  loop_->Disarm(&again_timer_);
  if (up_ != nullptr) {
    up_->Reset(rpc::kHttp2Cancel);  // OnPeerClosed() follows
    return;
  }
  DeleteIfDone();
}

template <typename Derived>
void RelayCore<Derived>::OnReplyHeaders() {
  reply_headers_ = true;
  // A reply that is only a status comes as headers with the stream's end: it is forwarded as such, and
  // may say that the call surely did not run.
  if (!up_->headers().Find("grpc-status")) ForwardHeaders(rpc::Stream::End::kNo);
}

template <typename Derived>
void RelayCore<Derived>::ForwardHeaders(rpc::Stream::End end) {
  reply_headers_ = false;
  headers_forwarded_ = true;
  StopKeeping();
  if (down_ != nullptr && !ended_) down_->SendHeaders(up_->headers(), end);
}

template <typename Derived>
void RelayCore<Derived>::OnReplyData(Slice data) {
  if (reply_headers_) ForwardHeaders(rpc::Stream::End::kNo);
  reply_unconsumed_ += data.size();
  if (down_ == nullptr || ended_) return;
  down_->Write(std::move(data));
  ConsumeReply();
}

template <typename Derived>
void RelayCore<Derived>::OnReplyEnd() {
  if (down_ == nullptr || ended_) return;
  if (reply_headers_) {
    if (self()->RefusedFull() && TryWaiting()) return;
    if (self()->RefusedUnrun() && TryAgain(Sent::kRequest)) return;
    ForwardHeaders(rpc::Stream::End::kYes);
  } else {
    self()->OnAnswered();
    if (up_->trailers().empty()) {
      down_->EndWrite();
    } else {
      down_->EndWithTrailers(up_->trailers());
    }
  }
  ended_ = true;
}

template <typename Derived>
bool RelayCore<Derived>::TryAgain(Sent sent) {
  const bool may = self()->MayResend(sent);
  const uint32_t counted = attempt_ - refused_full_;
  const int64_t wait_ns = policy::HostRetryWaitNs(counted);
  if (!may || !keeping_ || down_ == nullptr || counted >= kAttemptsMax ||
      deadline_ns_ - loop_->now_ns() <= wait_ns) {
    return false;
  }
  LeaveUp();
  self()->LeavePeer();
  self()->OnKept(kept_bytes_);
  if (wait_ns == 0) {
    self()->FindPeer();
  } else {
    loop_->Arm(&again_timer_, loop_->now_ns() + wait_ns);
  }
  return true;
}

template <typename Derived>
bool RelayCore<Derived>::TryWaiting() {
  if (!keeping_ || down_ == nullptr || loop_->now_ns() >= deadline_ns_) return false;
  ++refused_full_;
  LeaveUp();
  self()->OnKept(kept_bytes_);
  self()->WaitForRoom();
  return true;
}

// Its end is told to nobody: this attempt is over.
template <typename Derived>
void RelayCore<Derived>::LeaveUp() {
  reply_headers_ = false;
  rpc::Stream* const old = std::exchange(up_, nullptr);
  if (old == nullptr) return;
  old->set_handler(nullptr);
  old->Reset(rpc::kHttp2Cancel);
}

template <typename Derived>
void RelayCore<Derived>::OnPeerClosed(const rpc::StreamClose& close) {
  up_ = nullptr;
  if (ended_) {
    self()->LeavePeer();
    DeleteIfDone();
    return;
  }
  // Whoever has begun to answer has processed it, whatever he says of it afterwards.
  const bool not_run = (close.unprocessed || close.never_written) && !headers_forwarded_;
  if (not_run && TryAgain(close.never_written ? Sent::kNothing : Sent::kRequest)) return;
  self()->LeavePeer();
  EndCaller(StatusOfClose(close, not_run));
}

template <typename Derived>
Status RelayCore<Derived>::StatusOfClose(const rpc::StreamClose& close, bool not_run) const {
  const lever_executed executed = not_run ? LEVER_EXECUTED_NO : LEVER_EXECUTED_UNKNOWN;
  if (!close.connection_status.ok()) {
    return Unavailable("the connection to " + self()->PeerName() +
                       " ended: " + close.connection_status.message())
        .WithExecuted(executed);
  }
  if (deadline_ns_ <= loop_->now_ns()) {
    return DeadlineExceeded("the deadline has passed").WithExecuted(executed);
  }
  return Unavailable(self()->PeerName() + " broke the call off").WithExecuted(executed);
}

template <typename Derived>
void RelayCore<Derived>::OnDeadline() {
  if (ended_) return;
  self()->StopFinding();
  const Status status = DeadlineExceeded("the deadline has passed");
  if (up_ == nullptr) {
    // No attempt runs, and those before it surely did not.
    EndCaller(status.WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  rpc::Stream* const up = up_;
  EndCaller(status);
  // OnPeerClosed() follows.
  up->Reset(rpc::kHttp2Cancel);
}

template <typename Derived>
void RelayCore<Derived>::EndCaller(const Status& status) {
  loop_->Disarm(&again_timer_);
  if (down_ != nullptr && !ended_) {
    ended_ = true;
    SendGrpcStatus(*down_, status, headers_forwarded_ ? HeadersSent::kYes : HeadersSent::kNo);
  }
  DeleteIfDone();
}

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_RELAY_CORE_H_
