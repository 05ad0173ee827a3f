// lever_stream_*: what both sides do with a stream.
#include <algorithm>
#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lever/lever.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/queue.h"
#include "liblever/route/stream_core.h"
#include "liblever/value/check.h"

namespace lever::capi {
namespace {

static_assert(LEVER_RESUME_TOKEN_MAX == route::kResumeTokenBytesMax);

bool IsIncoming(const Slot* slot) { return (slot->word.load() & kKindMask) == kIncomingStream; }

// A stream that came in is written and ended only after it was begun.
bool MayUse(const Slot* slot) { return !IsIncoming(slot) || (slot->word.load() & kBegun) != 0; }

// The slot of a stream, or why there is none.
lever_status FindStream(lever_queue* queue, lever_stream stream, Slot** slot) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  *slot = queue->slots.Find(stream, kStreams);
  return *slot != nullptr ? LEVER_OK : LEVER_INVALID_ARGUMENT;
}

struct Message {
  route::Kind kind;
  std::span<const lever_slice> pieces;
  size_t bytes;
  std::optional<std::string_view> token;  // of an incoming stream
};

Status Send(Slot* slot, route::Kind kind, SliceList payload,
            const std::optional<std::string_view>& token) {
  if (!token) return slot->stream->Write(kind, std::move(payload));
  return slot->incoming_stream->WriteResumable(kind, std::move(payload), *token);
}

Status ReadMessage(int32_t kind, const lever_slice* slices, size_t count, Message* message) {
  message->kind = ReadKind(kind);
  if (message->kind == route::Kind::kNone) return InvalidArgument("a message needs a kind");
  LEVER_ASSIGN_OR_RETURN(message->pieces, ReadSlices(slices, count, &message->bytes));
  return Status::Ok();
}

Status CheckMessage(const Message& message) {
  if (message.kind == route::Kind::kRaw || message.kind == route::Kind::kErrorRaw) {
    return Status::Ok();
  }
  return value::CheckValue(message.pieces);
}

// The refused writer is owed LEVER_EVENT_WRITABLE: asked for once, until it has come.
lever_status Refuse(Slot* slot, uint64_t id) {
  const uint64_t before = slot->Mark(id, kWritableWanted);
  if ((before & kLive) == 0) return LEVER_INVALID_ARGUMENT;
  if ((before & kWritableWanted) == 0) {
    Perform(slot->queue, [slot, id] {
      if (slot->IsLive(id) && slot->stream != nullptr) slot->stream->WantWritable();
    });
  }
  return LEVER_WOULD_BLOCK;
}

lever_status WriteNow(lever_queue* queue, Slot* slot, uint64_t id, const Message& message) {
  const uint64_t word = slot->word.load();
  if ((word & kSendClosed) != 0) return LEVER_FAILED_PRECONDITION;
  if (slot->stream == nullptr) {
    // It has ended, which its last event tells.
    return slot->IsLive(id) ? CheckMessage(message).code() : LEVER_INVALID_ARGUMENT;
  }
  slot->Recount();
  if (QueuedUnits(slot->word.load()) >= kUnitsQueuedMax) {
    const uint64_t before = slot->Mark(id, kWritableWanted);
    if ((before & kWritableWanted) == 0) slot->stream->WantWritable();
    return LEVER_WOULD_BLOCK;
  }
  const Status written =
      Send(slot, message.kind, CopyPayload(message.pieces, message.bytes), message.token);
  slot->Recount();
  queue->RecountLater(slot);
  return written.code();
}

lever_status WriteLater(lever_queue* queue, Slot* slot, uint64_t id, const Message& message) {
  if (slot->bare.load() && message.kind != route::Kind::kRaw) return LEVER_INVALID_ARGUMENT;
  if (const Status valid = CheckMessage(message); !valid.ok()) return valid.code();
  // A message counts at least as one unit while it is posted, so that empty ones are bounded, too.
  const uint64_t units = std::max<uint64_t>(UnitsOf(message.bytes), 1);
  switch (slot->Admit(id, units)) {
    case Slot::Admission::kGone:
      return LEVER_INVALID_ARGUMENT;
    case Slot::Admission::kClosed:
      return LEVER_FAILED_PRECONDITION;
    case Slot::Admission::kFull:
      return Refuse(slot, id);
    case Slot::Admission::kAdmitted:
      break;
  }
  std::optional<std::string> token;
  if (message.token) token.emplace(*message.token);
  queue->Post([queue, slot, id, units, kind = message.kind, token = std::move(token),
               payload = CopyPayload(message.pieces, message.bytes)]() mutable {
    if (!slot->IsSame(id)) return;
    slot->counted_units += units;
    if (slot->stream == nullptr) return;
    const Status written = Send(slot, kind, std::move(payload), token);
    // What was accepted and is lost shows in the stream's end.
    if (!written.ok()) slot->stream->Cancel(written);
    if (slot->stream != nullptr) slot->Recount();
    queue->RecountLater(slot);
  });
  return LEVER_OK;
}

lever_status Write(lever_queue* queue, lever_stream stream, int32_t kind, const lever_slice* slices,
                   size_t count, std::optional<std::string_view> token = std::nullopt) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  Message message;
  if (const Status read = ReadMessage(kind, slices, count, &message); !read.ok()) {
    return read.code();
  }
  if (route::IsError(message.kind)) return LEVER_INVALID_ARGUMENT;
  message.token = token;
  if (token && (!IsIncoming(slot) || token->size() > LEVER_RESUME_TOKEN_MAX)) {
    return LEVER_INVALID_ARGUMENT;
  }
  if (!MayUse(slot)) return LEVER_FAILED_PRECONDITION;
  if (!queue->HasRoom()) return LEVER_RESOURCE_EXHAUSTED;
  const QueueHold hold(queue);
  return hold.held() ? WriteNow(queue, slot, stream, message)
                     : WriteLater(queue, slot, stream, message);
}

// Takes the right to end this side of a stream; who gets it ends it.
lever_status CloseThisSide(Slot* slot, uint64_t id) {
  const uint64_t before = slot->Mark(id, kSendClosed);
  if ((before & kLive) == 0) return LEVER_INVALID_ARGUMENT;
  return (before & kSendClosed) != 0 ? LEVER_FAILED_PRECONDITION : LEVER_OK;
}

lever_status Fail(lever_queue* queue, lever_stream stream, int32_t kind, const lever_slice* slices,
                  size_t count) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  if (!IsIncoming(slot)) return LEVER_INVALID_ARGUMENT;
  Message message;
  if (const Status read = ReadMessage(kind, slices, count, &message); !read.ok()) {
    return read.code();
  }
  if (!route::IsError(message.kind)) return LEVER_INVALID_ARGUMENT;
  if (!MayUse(slot)) return LEVER_FAILED_PRECONDITION;
  if (const Status valid = CheckMessage(message); !valid.ok()) return valid.code();
  if (const lever_status taken = CloseThisSide(slot, stream); taken != LEVER_OK) return taken;
  Perform(queue, [slot, stream, kind = message.kind,
                  payload = CopyPayload(message.pieces, message.bytes)]() mutable {
    if (!slot->IsSame(stream) || slot->incoming_stream == nullptr) return;
    const Status failed = slot->incoming_stream->Fail(kind, std::move(payload));
    if (!failed.ok()) slot->stream->Cancel(failed);
  });
  return LEVER_OK;
}

}  // namespace
}  // namespace lever::capi

using lever::capi::FindStream;
using lever::capi::Slot;

lever_status lever_stream_write(lever_queue* queue, lever_stream stream, int32_t kind,
                                const lever_slice* slices, size_t count) {
  return lever::capi::Write(queue, stream, kind, slices, count);
}

lever_status lever_stream_write_resumable(lever_queue* queue, lever_stream stream, int32_t kind,
                                          const lever_slice* slices, size_t count,
                                          const void* token, size_t token_size) {
  if (token == nullptr && token_size != 0) return LEVER_INVALID_ARGUMENT;
  return lever::capi::Write(queue, stream, kind, slices, count,
                            std::string_view(static_cast<const char*>(token), token_size));
}

lever_status lever_stream_moved(lever_queue* queue, lever_stream stream, uint64_t unread) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  if (!slot->moving.load()) return LEVER_FAILED_PRECONDITION;
  const lever_status taken = lever::capi::CloseThisSide(slot, stream);
  if (taken != LEVER_OK) return taken;
  lever::capi::Perform(queue, [slot, stream, unread] {
    if (!slot->IsSame(stream) || slot->incoming_stream == nullptr) return;
    [[maybe_unused]] const lever::Status moved = slot->incoming_stream->MoveOn(unread);
    assert(moved.ok());
  });
  return LEVER_OK;
}

lever_status lever_stream_read(lever_queue* queue, lever_stream stream, uint64_t messages,
                               uint64_t bytes) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  if (!queue->HasRoom()) return LEVER_RESOURCE_EXHAUSTED;
  lever::capi::Perform(queue, [slot, stream, messages, bytes] {
    if (slot->IsLive(stream) && slot->stream != nullptr) slot->stream->Read(messages, bytes);
  });
  return LEVER_OK;
}

lever_status lever_stream_close_send(lever_queue* queue, lever_stream stream) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  if (!lever::capi::MayUse(slot)) return LEVER_FAILED_PRECONDITION;
  const lever_status taken = lever::capi::CloseThisSide(slot, stream);
  if (taken != LEVER_OK) return taken;
  lever::capi::Perform(queue, [slot, stream] {
    if (slot->IsSame(stream) && slot->stream != nullptr) slot->stream->CloseSend();
  });
  return LEVER_OK;
}

lever_status lever_stream_fail(lever_queue* queue, lever_stream stream, int32_t kind,
                               const lever_slice* slices, size_t count) {
  return lever::capi::Fail(queue, stream, kind, slices, count);
}

lever_status lever_stream_cancel(lever_queue* queue, lever_stream stream, lever_status status,
                                 const char* message, size_t message_size) {
  Slot* slot = nullptr;
  if (const lever_status found = FindStream(queue, stream, &slot); found != LEVER_OK) return found;
  lever::Status failure;
  const lever::Status valid = lever::capi::ReadFailure(status, message, message_size, &failure);
  if (!valid.ok()) return valid.code();
  lever::capi::Perform(queue, [slot, stream, failure] {
    if (slot->IsSame(stream) && slot->stream != nullptr) slot->stream->Cancel(failure);
  });
  return LEVER_OK;
}
