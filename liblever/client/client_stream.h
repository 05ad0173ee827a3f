// A stream of a client's, from its start to its one end.
//
// Until the other side has begun it (its headers have come), what was written is kept, so that a stream
// that surely did not begin can be opened again elsewhere; beyond kReplayBytesMax it is not kept, and
// the stream is not opened again.
//
// A stream of a resource goes on where the resource moves to, if the resource can resume streams, which
// the headers say. What is written is kept then until the method has read it, and the writer waits
// while that is kReplayBytesMax. What was read comes among the method's messages: a program that writes
// while it reads none is not kept waiting for it, but from kUnreadBytesMax on its stream cannot go on
// elsewhere any more.
//
// Threads: used only by who holds the loop's word. A stream owns itself until its OnEnd().
#ifndef LIBLEVER_CLIENT_CLIENT_STREAM_H_
#define LIBLEVER_CLIENT_CLIENT_STREAM_H_

#include <memory>
#include <optional>

#include "liblever/base/loop.h"
#include "liblever/client/attempts.h"
#include "liblever/client/client.h"
#include "liblever/client/client_impl.h"
#include "liblever/client/sent_messages.h"
#include "liblever/route/resumption.h"
#include "liblever/route/stream_core.h"
#include "liblever/rpc/limits.h"

namespace lever::client {

// What is kept of a stream's messages, to send them again.
inline constexpr size_t kReplayBytesMax = size_t{256} * 1024;
static_assert(kReplayBytesMax == rpc::kStreamQueuedBytesMax, "the writer waits when that is kept");
// The same where the program reads nothing, and so does not hear what was read.
inline constexpr size_t kUnreadBytesMax = 4 * kReplayBytesMax;

class ClientStreamImpl final : public ClientStream,
                               public Live,
                               private route::StreamCore,
                               private Timer {
 public:
  ClientStreamImpl(ClientImpl* client, route::Framing framing);
  ~ClientStreamImpl() override = default;

  // `target` is null for gRPC pass-through.
  void Begin(std::shared_ptr<Target> target, Request request, int64_t deadline_ns,
             StreamHandler* handler);

  Status Write(Kind kind, SliceList payload) override;
  size_t queued_bytes() const override;
  void WantWritable() override { AskForWritable(); }
  void Read(uint64_t messages, uint64_t bytes) override { AddCredit(messages, bytes); }
  void CloseSend() override;
  void Cancel(const Status& status) override;
  void Abandon() override;

 private:
  enum class Phase : uint8_t {
    kRunning,  // an attempt is under way
    kWaiting,  // for the next attempt
    kEnding,   // given up: the timer tells it
    kEnded,
  };

  MessageStream& stream() override { return *this; }
  void StartAttempt();
  void Queue(SliceList message);
  void ForgetIfTooMuch();
  // Whether what is written is kept until it is read.
  bool Resumable() const { return attempts_.of_resource() && sent_.kept(); }
  // Whether what is kept makes the writer wait.
  bool Paced() const { return Resumable() && (!begun_ || credit_.given()); }
  bool Delivering() const override { return phase_ == Phase::kRunning && !failed_.has_value(); }
  bool HeldBack() const override;
  void OnHeaders(rpc::Call& call) override;
  void OnMessage(rpc::Call& call, SliceList message) override;
  // What a message of a resumable stream says beside its payload.
  Status TakeMarks(const route::Envelope& envelope);
  void OnMoved(const route::Envelope& envelope);
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;
  void OnTimer() override;
  // Whether the method may have run, when no attempt is under way.
  lever_executed ExecutedSoFar() const;
  void Complete(Outcome outcome);

  ClientImpl* const client_;
  Phase phase_ = Phase::kRunning;
  Attempts attempts_;
  SentMessages sent_;
  route::ResumePoint point_;      // where a resumable stream has come to, but for what was consumed
  bool resumed_ = false;          // attempts resume there
  bool begun_ = false;            // an attempt was, of a resumable stream
  bool moved_ = false;            // `moved` has come: what follows its end is a resumption
  bool ran_ = false;              // at another owner, before
  std::optional<Status> failed_;  // this side gave the stream up
  Outcome error_;                 // the method's own error, when it has come
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_CLIENT_STREAM_H_
