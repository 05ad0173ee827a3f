#include "liblever/route/stream_core.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "liblever/value/check.h"

namespace lever::route {

bool MessageStream::Writable() const { return queued_bytes() < rpc::kStreamQueuedBytesMax; }

// ---- Credit ----

void ReadCredit::Add(uint64_t messages, uint64_t bytes) {
  messages_ += std::min(messages, std::numeric_limits<uint64_t>::max() - messages_);
  if (bytes == 0) {
    // Credit for no message sets no bound and takes none away.
    if (messages != 0) unbounded_ = true;
    return;
  }
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const int64_t added = bytes > static_cast<uint64_t>(kMax) ? kMax : static_cast<int64_t>(bytes);
  bytes_ = bytes_ > kMax - added ? kMax : bytes_ + added;
}

uint64_t ReadCredit::Take() {
  uint64_t give = 0;
  if (unbounded_) {
    give = std::exchange(messages_, 0);
  } else if (given_ == 0 && messages_ > 0 && bytes_ > 0) {
    give = 1;
    --messages_;
  }
  given_ += give;
  return give;
}

void ReadCredit::Delivered(size_t bytes) {
  given_ -= given_ > 0 ? 1 : 0;
  bytes_ -= static_cast<int64_t>(bytes);
}

void ReadCredit::Skipped() {
  if (given_ == 0) return;
  --given_;
  ++messages_;
}

void ReadCredit::Restart() { messages_ += std::exchange(given_, 0); }

// ---- Messages ----

namespace {

// Of a value, which has at least one.
uint8_t FirstByte(const SliceList& payload) {
  for (const Slice& slice : payload) {
    if (!slice.empty()) return slice.data()[0];
  }
  return 0;
}

}  // namespace

Status CheckOutgoing(Kind kind, const SliceList& payload) {
  switch (kind) {
    case Kind::kRaw:
    case Kind::kErrorRaw: return Status::Ok();
    case Kind::kValue:
    case Kind::kErrorValue: return value::CheckValue(std::span<const Slice>(payload));
    case Kind::kNone: break;
  }
  return InvalidArgument("a message needs a kind");
}

StatusOr<Envelope> OpenMessage(SliceList message, Framing framing) {
  if (framing == Framing::kBare) {
    Envelope envelope;
    envelope.kind = Kind::kRaw;
    envelope.payload = std::move(message);
    return envelope;
  }
  StatusOr<Envelope> envelope = ParseEnvelope(std::move(message));
  if (!envelope.ok() || envelope->kind == Kind::kNone) return envelope;
  LEVER_RETURN_IF_ERROR(CheckOutgoing(envelope->kind, envelope->payload));
  return envelope;
}

Status CheckArguments(const Envelope& envelope) {
  if (envelope.kind == Kind::kRaw) return Status::Ok();
  if (envelope.kind != Kind::kValue) {
    return InvalidArgument("a request is a value (the array of arguments) or raw bytes");
  }
  // Its structure was checked; what is left is whether its first byte begins an array.
  const uint8_t first = FirstByte(envelope.payload);
  const bool array = (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
  return array ? Status::Ok() : InvalidArgument("a request's value is the array of its arguments");
}

// ---- The stream ----

void StreamCore::AskForWritable() {
  writable_wanted_ = true;
  if (call_ == nullptr) return;  // asked for again when there is one
  if (QueuedInCall() >= rpc::kStreamQueuedBytesLow) {
    call_->WantWritable();
  } else {
    core_loop_->AtTurnEnd(this);
  }
}

void StreamCore::OnWritable(rpc::Call& call) {
  if (!writable_wanted_ || !Delivering() || HeldBack()) return;
  writable_wanted_ = false;
  handler_->OnWritable(stream());
}

void StreamCore::OnTurnEnd() {
  if (!writable_wanted_ || call_ == nullptr || !Delivering()) return;
  if (QueuedInCall() >= rpc::kStreamQueuedBytesLow) return call_->WantWritable();
  if (HeldBack()) return;
  writable_wanted_ = false;
  handler_->OnWritable(stream());
}

void StreamCore::AddCredit(uint64_t messages, uint64_t bytes) {
  credit_.Add(messages, bytes);
  GiveCredit();
}

void StreamCore::GiveCredit() {
  if (call_ == nullptr || !Delivering()) return;
  const uint64_t give = credit_.Take();
  if (give > 0) call_->Read(give);
}

SliceList StreamCore::Pack(Kind kind, SliceList payload) const {
  return framing_ == Framing::kBare ? std::move(payload) : WriteEnvelope(kind, std::move(payload));
}

void StreamCore::Deliver(Envelope envelope) {
  if (envelope.bookkeeping()) {
    credit_.Skipped();
    return GiveCredit();
  }
  credit_.Delivered(TotalSize(envelope.payload));
  // Before the handler, which may end the stream: more comes only when it has returned.
  GiveCredit();
  handler_->OnMessage(stream(), envelope.kind, std::move(envelope.payload));
}

}  // namespace lever::route
