#include "liblever/capi/slot.h"

#include <algorithm>
#include <utility>

#include "liblever/capi/queue.h"

namespace lever::capi {

// ---- The word ----

uint64_t Slot::Mark(uint64_t its_id, uint64_t bits, uint64_t unless) {
  uint64_t seen = word.load();
  for (;;) {
    if (GenerationOf(seen) != its_id >> 32) return 0;
    if ((seen & kLive) == 0 || (seen & unless) != 0 || (seen & bits) == bits) return seen;
    if (word.compare_exchange_weak(seen, seen | bits)) return seen;
  }
}

bool Slot::End(uint64_t its_id) {
  uint64_t seen = word.load();
  for (;;) {
    if (GenerationOf(seen) != its_id >> 32 || (seen & kLive) == 0) return false;
    if (word.compare_exchange_weak(seen, seen & ~kLive)) return true;
  }
}

Slot::Admission Slot::Admit(uint64_t its_id, uint64_t units) {
  uint64_t seen = word.load();
  for (;;) {
    if (GenerationOf(seen) != its_id >> 32 || (seen & kLive) == 0) return Admission::kGone;
    if ((seen & kSendClosed) != 0) return Admission::kClosed;
    if (QueuedUnits(seen) >= kUnitsQueuedMax) return Admission::kFull;
    if (word.compare_exchange_weak(seen, seen + (units << kUnitsShift))) {
      return Admission::kAdmitted;
    }
  }
}

void Slot::Recount() {
  const uint64_t queued =
      stream == nullptr ? 0 : std::min(UnitsOf(stream->queued_bytes()), kUnitsMask / 2);
  // Modulo 2^64: what is taken off was put on.
  word.fetch_add((queued - counted_units) << kUnitsShift);
  counted_units = queued;
}

// ---- What the lower layers tell ----

void Slot::OnDone(client::UnaryCall&, client::Outcome outcome) {
  call = nullptr;
  if (SlotHook<ChildTag>::is_linked()) SlotHook<ChildTag>::unlink();
  queue->CompleteCall(this, std::move(outcome));
}

void Slot::OnMessage(route::MessageStream&, route::Kind kind, SliceList payload) {
  Completion* event = queue->NewEvent(LEVER_EVENT_STREAM_MESSAGE, this);
  event->kind = kind;
  event->payload = std::move(payload);
}

void Slot::OnHalfClosed(route::MessageStream&) {
  queue->NewEvent(LEVER_EVENT_STREAM_HALF_CLOSED, this);
}

void Slot::OnMoving(route::MessageStream&) {
  moving.store(true);
  queue->NewEvent(LEVER_EVENT_STREAM_MOVING, this);
}

void Slot::OnWritable(route::MessageStream&) {
  Recount();
  word.fetch_and(~kWritableWanted);
  queue->NewEvent(LEVER_EVENT_WRITABLE, this);
}

void Slot::OnEnd(route::MessageStream&, route::Outcome outcome) {
  stream = nullptr;
  incoming_stream = nullptr;
  word.fetch_or(kOver);
  if (SlotHook<ChildTag>::is_linked()) SlotHook<ChildTag>::unlink();
  if (SlotHook<OfServiceTag>::is_linked()) SlotHook<OfServiceTag>::unlink();
  queue->CompleteStream(this, std::move(outcome));
}

}  // namespace lever::capi
