// A stream of messages as programs see it, the caller's side and the method's side alike: writes with
// a limit, reads by credit, one end.
//
// Threads: all of it belongs to one Loop and is used only by who holds that loop's word.
//
// Invariants
//  1. The handler gets exactly one OnEnd(), last, never from inside a function of the stream's that it
//     called; the stream is gone when OnEnd() returns.
//  2. A message is delivered only against credit (Read()), and only after its structure was checked.
//  3. After the last message nothing but OnHalfClosed() (method's side) and OnEnd() comes.
#ifndef LIBLEVER_ROUTE_MESSAGE_STREAM_H_
#define LIBLEVER_ROUTE_MESSAGE_STREAM_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/route/envelope.h"
#include "liblever/route/resumption.h"

namespace lever::rpc {
class HeaderList;
}  // namespace lever::rpc

namespace lever::route {

class MessageStream;

// How a call or a stream of ours ended, and how an incoming stream did.
struct Outcome {
  // OK, METHOD_ERROR (the payload is the error), or trouble of the platform. executed() is always set:
  // YES with OK and METHOD_ERROR, NO where the method surely did not run.
  Status status{};
  Kind kind = Kind::kNone;
  SliceList payload{};  // a call's answer, or a method's own error
  // The peer's trailing metadata; null without. Valid until the handler returns.
  const rpc::HeaderList* trailing = nullptr;
  // Of a stream of ours that could be resumed: where it had come to. Valid as `trailing`; else null.
  const ResumePoint* resume = nullptr;
};

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  virtual void OnMessage(MessageStream& stream, Kind kind, SliceList payload) = 0;
  // Method's side only: the caller has sent its last message.
  virtual void OnHalfClosed(MessageStream& stream) {}
  // Method's side of a stream that can be resumed: its resource moves. No message comes any more; what
  // the method writes still goes out, and when it has returned IncomingStream::MoveOn() follows.
  virtual void OnMoving(MessageStream& stream) {}
  // Once after each WantWritable().
  virtual void OnWritable(MessageStream& stream) {}
  virtual void OnEnd(MessageStream& stream, Outcome outcome) = 0;
};

class MessageStream {
 public:
  MessageStream(const MessageStream&) = delete;
  MessageStream& operator=(const MessageStream&) = delete;

  // Queues one message, whatever is queued already: the caller keeps to Writable(). Kind VALUE (whose
  // structure is checked: INVALID_ARGUMENT) or RAW. FAILED_PRECONDITION after CloseSend().
  virtual Status Write(Kind kind, SliceList payload) = 0;
  // Bytes that are accepted and not yet handed to the socket, or that are kept because the other side
  // has not read them. Includes the envelopes.
  virtual size_t queued_bytes() const = 0;
  // Under kStreamQueuedBytesMax.
  bool Writable() const;
  // OnWritable() comes once, later, when less than kStreamQueuedBytesLow is queued; in the same turn
  // if that is so already.
  virtual void WantWritable() = 0;
  // Credit, which adds up; bytes 0: without a bound in bytes from now on. With credit for a message at
  // least one is delivered whatever its size; bytes may go below zero and are made up first.
  virtual void Read(uint64_t messages, uint64_t bytes) = 0;
  // No more messages from this side. On the method's side it ends the stream with success.
  virtual void CloseSend() = 0;
  // Gives the stream up: OnEnd() follows with `status`, which the other side of an incoming stream
  // gets too.
  virtual void Cancel(const Status& status) = 0;

 protected:
  MessageStream() = default;
  virtual ~MessageStream() = default;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_MESSAGE_STREAM_H_
