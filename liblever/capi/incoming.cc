// Calls and streams that come in: how a program hears of them, begins them, and answers.
#include <cassert>
#include <type_traits>
#include <utility>

#include "lever/lever.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/queue.h"
#include "liblever/capi/service.h"
#include "liblever/value/check.h"

namespace lever::capi {
namespace {

Status TooMany() {
  return ResourceExhausted("too many calls and streams are in flight in this instance");
}

// What an incoming call and an incoming stream have in common.
template <typename Request>
Slot* Offer(lever_service* service, uint64_t kind, lever_event_type type, Request& request) {
  lever_queue* queue = service->queue;
  Slot* slot = queue->slots.Allocate(kind);
  if (slot == nullptr) return nullptr;
  request.user = slot;
  slot->deadline_ns.store(request.deadline_ns());
  slot->gate.store(service->gate);
  const service::OfResource of = request.of();
  if (of.resource != 0) {
    if (service->gate->grants.load() == nullptr) {
      service->gate->kept_grants = service->service->grants();
      service->gate->grants.store(service->gate->kept_grants.get());
    }
    slot->shard.store(of.shard);
    slot->resource_generation.store(of.generation);
  }
  service->requests.push_back(*slot);
  Completion* event = queue->NewEvent(type, slot);
  event->object = service;
  event->method = request.method();
  event->kind = request.kind();
  event->payload = request.payload();
  event->metadata = request.metadata();
  event->caller.assign(request.caller());
  event->deadline_ns = request.deadline_ns();
  event->resource = of.resource;
  event->generation = of.generation;
  if constexpr (std::is_same_v<Request, service::IncomingStream>) {
    event->ResumedAt(request.resumed());
  }
  return slot;
}

void Unlink(Slot* slot) {
  if (slot->SlotHook<OfServiceTag>::is_linked()) slot->SlotHook<OfServiceTag>::unlink();
}

// An incoming request is gone below. A stream whose end is still to be told keeps its slot.
void Gone(Slot* slot) {
  lever_queue* queue = slot->queue;
  queue->CancelChildren(slot);
  Unlink(slot);
  slot->incoming = nullptr;
  slot->incoming_stream = nullptr;
  slot->stream = nullptr;
  queue->slots.Release(slot);
}

// Decides that a request which was offered will not begin. False: it has.
bool Settle(Slot* slot) {
  const uint64_t before = slot->Mark(slot->id(), kOver, kBegun);
  return (before & kBegun) != 0;
}

}  // namespace

// ---- What the layer below tells ----

void ServiceEvents::OnIncomingCall(service::Service&, service::IncomingCall& call) {
  Slot* slot = Offer(self_, kIncomingCall, LEVER_EVENT_INCOMING_CALL, call);
  if (slot == nullptr) return call.Fail(TooMany());
  slot->incoming = &call;
}

void ServiceEvents::OnIncomingStream(service::Service&, service::IncomingStream& stream) {
  Slot* slot = Offer(self_, kIncomingStream, LEVER_EVENT_INCOMING_STREAM, stream);
  if (slot == nullptr) {
    stream.set_handler(&refused_);
    return stream.Cancel(TooMany());
  }
  slot->stream = slot->incoming_stream = &stream;
  stream.set_handler(slot);
}

void ServiceEvents::OnCancelled(service::Service&, service::IncomingCall& call) {
  auto* slot = static_cast<Slot*>(call.user);
  slot->word.fetch_or(kOver);
  self_->queue->CancelChildren(slot);
  self_->queue->NewEvent(LEVER_EVENT_INCOMING_CANCELLED, slot);
}

bool ServiceEvents::HasBegun(service::IncomingCall& call) {
  return call.user != nullptr && Settle(static_cast<Slot*>(call.user));
}

bool ServiceEvents::HasBegun(service::IncomingStream& stream) {
  return stream.user != nullptr && Settle(static_cast<Slot*>(stream.user));
}

void ServiceEvents::OnRefusing(service::Service&) { self_->gate->refusing.store(true); }

void ServiceEvents::OnClosed(service::Service&) {
  while (!self_->requests.empty()) {
    Slot* slot = &self_->requests.front();
    Unlink(slot);
    // Streams have ended, and their last event is on its way. Calls are gone below; an answer that
    // was posted finds nobody, and frees the slot.
    slot->incoming = nullptr;
    if ((slot->word.load() & kKindMask) == kIncomingCall && slot->End(slot->id())) Gone(slot);
  }
  Completion* event = self_->queue->NewEvent(LEVER_EVENT_CLOSED, nullptr);
  event->object = self_;
  event->user_data = self_->user_data;
}

namespace {

// ---- Beginning ----

lever_status BeginNow(Slot* slot, uint64_t id) {
  const uint64_t word = slot->word.load();
  if (!slot->IsLive(id)) return LEVER_INVALID_ARGUMENT;
  if ((word & kBegun) != 0) return LEVER_FAILED_PRECONDITION;
  const bool begun =
      (word & kOver) == 0 &&
      (slot->incoming != nullptr ? slot->incoming->Begin() : slot->incoming_stream->Begin());
  if (begun) {
    slot->word.fetch_or(kBegun);
    return LEVER_OK;
  }
  slot->End(id);
  if ((word & kOver) == 0) {
    Gone(slot);  // refused below
  } else if (slot->incoming != nullptr) {
    // Its caller is gone: there is nobody to tell.
    slot->incoming->Fail(Cancelled("the caller is gone"));
    Gone(slot);
  }
  // A stream that is over has its last event on the way, which is dropped and frees the slot.
  return LEVER_REFUSED;
}

// The same from another thread, by what it may know.
bool MayBegin(const Slot* slot, const Loop& loop) {
  const ServiceGate* gate = slot->gate.load();
  if (gate == nullptr || gate->refusing.load()) return false;
  const int64_t deadline_ns = slot->deadline_ns.load();
  const int64_t now_ns = loop.clock().NowNs();
  if (deadline_ns != kNever && now_ns >= deadline_ns) return false;
  const uint64_t generation = slot->resource_generation.load();
  return generation == 0 || gate->grants.load()->MayBegin(slot->shard.load(), generation, now_ns);
}

void RefuseBegin(lever_queue* queue, Slot* slot, uint64_t id) {
  if (!slot->End(id)) return;
  queue->Post([slot, id] {
    if (!slot->IsSame(id)) return;
    Status refused = Unavailable("the call was refused before it began");
    if (slot->incoming != nullptr) {
      slot->incoming->Fail(refused);
      Gone(slot);
    } else if (slot->stream != nullptr) {
      slot->stream->Cancel(refused);  // its end is dropped, and frees the slot
    } else if ((slot->word.load() & kKindMask) == kIncomingCall) {
      Gone(slot);
    }
  });
}

lever_status BeginElsewhere(lever_queue* queue, Slot* slot, uint64_t id) {
  if (!MayBegin(slot, *queue->loop)) {
    const uint64_t word = slot->word.load();
    if (!slot->IsLive(id)) return LEVER_INVALID_ARGUMENT;
    if ((word & kBegun) != 0) return LEVER_FAILED_PRECONDITION;
    RefuseBegin(queue, slot, id);
    return LEVER_REFUSED;
  }
  const uint64_t before = slot->Mark(id, kBegun, kOver);
  if ((before & kLive) == 0) return LEVER_INVALID_ARGUMENT;
  if ((before & kBegun) != 0) return LEVER_FAILED_PRECONDITION;
  if ((before & kOver) != 0) {
    RefuseBegin(queue, slot, id);
    return LEVER_REFUSED;
  }
  queue->Post([slot, id] {
    if (!slot->IsSame(id)) return;
    if (slot->incoming != nullptr) slot->incoming->SetBegun();
    if (slot->incoming_stream != nullptr) slot->incoming_stream->SetBegun();
  });
  return LEVER_OK;
}

// ---- Answering ----

struct Answer {
  route::Kind kind;
  std::span<const lever_slice> pieces;
  size_t bytes = 0;
  rpc::HeaderList trailing;
};

Status ReadAnswer(int32_t kind, const lever_slice* slices, size_t count,
                  const lever_metadata* trailing, size_t trailing_count, Answer* answer) {
  answer->kind = ReadKind(kind);
  if (answer->kind == route::Kind::kNone) return InvalidArgument("an answer needs a kind");
  LEVER_ASSIGN_OR_RETURN(answer->pieces, ReadSlices(slices, count, &answer->bytes));
  return ReadMetadata(trailing, trailing_count, &answer->trailing);
}

lever_status ReplyNow(Slot* slot, uint64_t id, const Answer& answer) {
  if (!slot->End(id)) return LEVER_INVALID_ARGUMENT;
  const Status replied = slot->incoming->Reply(
      answer.kind, CopyPayload(answer.pieces, answer.bytes), &answer.trailing);
  if (replied.ok()) {
    Gone(slot);
  } else {
    slot->Revive();
  }
  return replied.code();
}

lever_status ReplyLater(lever_queue* queue, Slot* slot, uint64_t id, Answer& answer) {
  const bool is_value =
      answer.kind == route::Kind::kValue || answer.kind == route::Kind::kErrorValue;
  if (is_value) {
    if (const Status valid = value::CheckValue(answer.pieces); !valid.ok()) return valid.code();
  }
  SliceList payload = CopyPayload(answer.pieces, answer.bytes);
  if (!slot->End(id)) return LEVER_INVALID_ARGUMENT;
  queue->Post([slot, kind = answer.kind, payload = std::move(payload),
               trailing = std::move(answer.trailing)]() mutable {
    if (slot->incoming != nullptr) {
      [[maybe_unused]] const Status replied =
          slot->incoming->Reply(kind, std::move(payload), &trailing);
      assert(replied.ok());
    }
    Gone(slot);
  });
  return LEVER_OK;
}

lever_status FailCall(lever_queue* queue, Slot* slot, uint64_t id, const Status& status) {
  if (!slot->End(id)) return LEVER_INVALID_ARGUMENT;
  Perform(queue, [slot, status] {
    if (slot->incoming != nullptr) slot->incoming->Fail(status);
    Gone(slot);
  });
  return LEVER_OK;
}

}  // namespace
}  // namespace lever::capi

using lever::capi::CheckQueue;
using lever::capi::QueueHold;
using lever::capi::Slot;

lever_status lever_incoming_begin(lever_queue* queue, uint64_t incoming) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  Slot* slot = queue->slots.Find(incoming, lever::capi::kIncoming);
  if (slot == nullptr) return LEVER_INVALID_ARGUMENT;
  const QueueHold hold(queue);
  return hold.held() ? lever::capi::BeginNow(slot, incoming)
                     : lever::capi::BeginElsewhere(queue, slot, incoming);
}

lever_status lever_incoming_reply(lever_queue* queue, lever_incoming incoming, int32_t kind,
                                  const lever_slice* slices, size_t count,
                                  const lever_metadata* trailing, size_t trailing_count) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  Slot* slot = queue->slots.Find(incoming, lever::capi::Of(lever::capi::kIncomingCall));
  if (slot == nullptr) return LEVER_INVALID_ARGUMENT;
  if ((slot->word.load() & lever::capi::kBegun) == 0) return LEVER_FAILED_PRECONDITION;
  lever::capi::Answer answer;
  const lever::Status valid =
      lever::capi::ReadAnswer(kind, slices, count, trailing, trailing_count, &answer);
  if (!valid.ok()) return valid.code();
  const QueueHold hold(queue);
  return hold.held() ? lever::capi::ReplyNow(slot, incoming, answer)
                     : lever::capi::ReplyLater(queue, slot, incoming, answer);
}

lever_status lever_incoming_fail(lever_queue* queue, lever_incoming incoming, lever_status status,
                                 const char* message, size_t message_size) {
  if (const lever_status usable = CheckQueue(queue); usable != LEVER_OK) return usable;
  Slot* slot = queue->slots.Find(incoming, lever::capi::kIncoming);
  if (slot == nullptr) return LEVER_INVALID_ARGUMENT;
  if ((slot->word.load() & lever::capi::kKindMask) == lever::capi::kIncomingStream) {
    return lever_stream_cancel(queue, incoming, status, message, message_size);
  }
  lever::Status failure;
  const lever::Status valid = lever::capi::ReadFailure(status, message, message_size, &failure);
  if (!valid.ok()) return valid.code();
  return lever::capi::FailCall(queue, slot, incoming, failure);
}
