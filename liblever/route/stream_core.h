// What both sides of a message stream share: credit, the envelope, the check of values, OnWritable().
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_ROUTE_STREAM_CORE_H_
#define LIBLEVER_ROUTE_STREAM_CORE_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/loop.h"
#include "liblever/route/envelope.h"
#include "liblever/route/message_stream.h"
#include "liblever/rpc/call.h"

namespace lever::route {

// A program's credit in messages and bytes, turned into the transport's, which counts messages.
//
// Invariants
//  1. Bounded in bytes, the transport holds credit for at most one message, so that no message comes
//     that the bytes do not cover; one that is larger than what is left does come.
//  2. Credit adds up and saturates. Once a Read() was without a bound in bytes, all of it is.
class ReadCredit {
 public:
  void Add(uint64_t messages, uint64_t bytes);
  // Credit that the transport is to be given now; it counts as given.
  uint64_t Take();
  // A message came. One that is not delivered (bookkeeping) costs nothing.
  void Delivered(size_t bytes);
  void Skipped();
  // The transport is another one, which has been given nothing.
  void Restart();
  // Whether a message can come now: the transport holds credit.
  bool given() const { return given_ > 0; }

 private:
  uint64_t messages_ = 0;  // not given to the transport
  uint64_t given_ = 0;
  int64_t bytes_ = 0;
  bool unbounded_ = false;
};

// Checks a payload that goes out: INVALID_ARGUMENT if the kind is not one of a message's or the value
// is broken.
Status CheckOutgoing(Kind kind, const SliceList& payload);
// Whether a message is a lever.v1.Message, or bytes of which we know nothing (gRPC pass-through).
enum class Framing : uint8_t { kEnvelope, kBare };
// Unpacks a message that came in and checks its value: INVALID_ARGUMENT if either is broken.
StatusOr<Envelope> OpenMessage(SliceList message, Framing framing);
// A request's first message, opened: a value that is an array, or raw bytes; INVALID_ARGUMENT else.
Status CheckArguments(const Envelope& envelope);

// The transport's side of a stream. The stream itself derives from it and from MessageStream, whose
// functions it answers with those here.
class StreamCore : public rpc::CallHandler, protected TurnEnd {
 public:
  void OnWritable(rpc::Call& call) override;

 protected:
  StreamCore(Loop* loop, Framing framing) : core_loop_(loop), framing_(framing) {}
  ~StreamCore() override = default;

  virtual MessageStream& stream() = 0;
  // Whether messages and OnWritable() may be told now.
  virtual bool Delivering() const = 0;

  // Whether the writer is to wait though the transport has room. OnTurnEnd() is due when that ends.
  virtual bool HeldBack() const { return false; }

  size_t QueuedInCall() const { return call_ != nullptr ? call_->queued_bytes() : 0; }
  void AskForWritable();
  void AddCredit(uint64_t messages, uint64_t bytes);
  void GiveCredit();
  // The message with its envelope, as the framing wants it.
  SliceList Pack(Kind kind, SliceList payload) const;
  // Delivers one message that was opened; counts bookkeeping and hands on the rest.
  void Deliver(Envelope envelope);
  void OnTurnEnd() override;

  Loop* const core_loop_;
  const Framing framing_;
  StreamHandler* handler_ = nullptr;
  rpc::Call* call_ = nullptr;  // null while there is none
  ReadCredit credit_;
  bool send_closed_ = false;
  bool writable_wanted_ = false;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_STREAM_CORE_H_
