#include "liblever/capi/request.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "liblever/capi/client.h"
#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/queue.h"
#include "liblever/capi/sized.h"
#include "liblever/route/wire.h"

namespace lever::capi {
namespace {

constexpr uint32_t kKnownFlags =
    LEVER_CALL_IDEMPOTENT | LEVER_CALL_GRPC | LEVER_CALL_COMPRESS | LEVER_CALL_RESUME;

// A request that is not carried out yet. `request.payload` is empty; its address and metadata point
// to what outlives it.
struct Request {
  RequestKind kind = RequestKind::kCall;
  client::Request request;
  std::optional<route::ResumePoint> resume;  // which `request` points to
  int64_t deadline_ns = kNever;
  uint64_t parent = 0;
};

// The same for another thread: owns all of it.
struct PostedRequest {
  Request request;
  std::string address;
  rpc::HeaderList metadata;
};

int64_t DeadlineOf(const lever_call_options& options, RequestKind kind, int64_t now_ns) {
  if (options.timeout_ns != 0) return DeadlineAfter(now_ns, options.timeout_ns);
  return kind == RequestKind::kStream ? kNever : DeadlineAfter(now_ns, route::kUnaryTimeoutNs);
}

// Reads the options but for the payload and the deadline.
Status Read(lever_queue* queue, const lever_call_options& options, RequestKind kind,
            rpc::HeaderList* metadata, Request* request) {
  if ((options.flags & ~kKnownFlags) != 0) return InvalidArgument("flags: an unknown bit");
  request->kind = kind;
  client::Request& to = request->request;
  to.address = ReadText(options.address, options.address_size);
  to.kind = ReadKind(options.kind);
  to.idempotent = (options.flags & LEVER_CALL_IDEMPOTENT) != 0;
  to.grpc = (options.flags & LEVER_CALL_GRPC) != 0;
  to.compress = (options.flags & LEVER_CALL_COMPRESS) != 0;
  if (options.metadata_count > 0) {
    LEVER_RETURN_IF_ERROR(ReadMetadata(options.metadata, options.metadata_count, metadata));
    to.metadata = metadata;
  }
  if ((options.flags & LEVER_CALL_RESUME) != 0) {
    request->resume = {std::string(ReadText(static_cast<const char*>(options.resume_token),
                                            options.resume_token_size)),
                       options.resume_received, 0};
    to.resume = &*request->resume;
  }
  to.read_messages = options.read_messages;
  to.read_bytes = options.read_bytes;
  request->parent = options.parent;
  if (options.parent != 0 && queue->slots.Find(options.parent, kIncoming) == nullptr) {
    return InvalidArgument("parent: not an incoming call or stream that is under way");
  }
  return Status::Ok();
}

// Starts it on the loop. The slot is the request's if it is accepted.
Status Begin(lever_client* client, Slot* slot, Request& request) {
  request.request.deadline_ns = request.deadline_ns;
  Slot* parent = nullptr;
  if (request.parent != 0) {
    parent = client->queue->slots.Find(request.parent, kIncoming);
    if (parent == nullptr || (parent->word.load() & kOver) != 0) {
      return Cancelled("the call within which it was made has ended");
    }
    request.request.deadline_ns = std::min(request.deadline_ns, parent->deadline_ns.load());
  }
  slot->bare.store(request.request.grpc);
  if (request.kind == RequestKind::kCall) {
    LEVER_ASSIGN_OR_RETURN(slot->call, client->client->StartCall(std::move(request.request), slot));
  } else {
    LEVER_ASSIGN_OR_RETURN(slot->stream,
                           client->client->OpenStream(std::move(request.request), slot));
    slot->Recount();
    client->queue->RecountLater(slot);
  }
  if (parent != nullptr) parent->children.push_back(*slot);
  return Status::Ok();
}

// A request that was accepted and could not be started ends all the same.
void EndUnstarted(Slot* slot, const Status& status) {
  route::Outcome outcome{.status = status.WithExecuted(LEVER_EXECUTED_NO)};
  if ((slot->word.load() & kKindMask) == kCall) {
    slot->queue->CompleteCall(slot, std::move(outcome));
  } else {
    slot->queue->CompleteStream(slot, std::move(outcome));
  }
}

void PostRequest(lever_client* client, Slot* slot, std::unique_ptr<PostedRequest> posted) {
  client->queue->Post([client, slot, posted = std::move(posted)] {
    const Status begun = Begin(client, slot, posted->request);
    if (!begun.ok()) EndUnstarted(slot, begun);
    client->EndStart();
  });
}

// From a thread that found the queue taken: whatever can be refused is refused here.
Status StartLater(lever_client* client, const lever_call_options& options, RequestKind kind,
                  std::span<const lever_slice> pieces, size_t bytes, Slot* slot) {
  auto posted = std::make_unique<PostedRequest>();
  Request& request = posted->request;
  LEVER_RETURN_IF_ERROR(Read(client->queue, options, kind, &posted->metadata, &request));
  posted->address = request.request.address;
  request.request.address = posted->address;
  request.request.payload = CopyPayload(pieces, bytes);
  LEVER_RETURN_IF_ERROR(kind == RequestKind::kCall ? client::Client::CheckCall(request.request)
                                                   : client::Client::CheckStream(request.request));
  request.deadline_ns = DeadlineOf(options, kind, client->queue->loop->clock().NowNs());
  slot->bare.store(request.request.grpc);
  client->starting.fetch_add(1);
  if (client->closing.load()) {
    client->EndStart();
    return Cancelled("the client is closed");
  }
  PostRequest(client, slot, std::move(posted));
  return Status::Ok();
}

Status StartNow(lever_client* client, const lever_call_options& options, RequestKind kind,
                std::span<const lever_slice> pieces, size_t bytes, Slot* slot) {
  rpc::HeaderList metadata;
  Request request;
  LEVER_RETURN_IF_ERROR(Read(client->queue, options, kind, &metadata, &request));
  request.request.payload = CopyPayload(pieces, bytes);
  request.deadline_ns = DeadlineOf(options, kind, client->queue->loop->now_ns());
  return Begin(client, slot, request);
}

}  // namespace

Status StartRequest(lever_client* client, const lever_call_options* given, RequestKind kind,
                    uint64_t* out) {
  lever_call_options options;
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_call_options", &options));
  size_t bytes = 0;
  LEVER_ASSIGN_OR_RETURN(const auto pieces,
                         ReadSlices(options.slices, options.slice_count, &bytes));
  lever_queue* queue = client->queue;
  if (!queue->HasRoom()) return ResourceExhausted("too many requests wait for the queue's driver");
  Slot* slot = queue->slots.Allocate(kind == RequestKind::kCall ? kCall : kStream);
  if (slot == nullptr) return ResourceExhausted("too many calls and streams are in flight");
  slot->user_data = options.user_data;
  // The call may have ended when StartLater() returns: the id is read before.
  const uint64_t id = slot->id();
  const QueueHold hold(queue);
  const Status status = hold.held() ? StartNow(client, options, kind, pieces, bytes, slot)
                                    : StartLater(client, options, kind, pieces, bytes, slot);
  if (!status.ok()) {
    slot->End(id);
    queue->slots.Release(slot);
    return status;
  }
  *out = id;
  return Status::Ok();
}

}  // namespace lever::capi

using lever::capi::CheckClient;
using lever::capi::CheckQueue;
using lever::capi::RequestKind;
using lever::capi::Return;
using lever::capi::Slot;

namespace {

lever_status Start(lever_client* client, const lever_call_options* options, RequestKind kind,
                   uint64_t* out, lever_error** error) {
  if (const lever_status status = CheckClient(client); status != LEVER_OK) {
    return Return({status, status == LEVER_CANCELLED ? "the client is closed" : ""}, error);
  }
  if (out == nullptr) return Return(lever::InvalidArgument("out: NULL"), error);
  return Return(lever::capi::StartRequest(client, options, kind, out), error);
}

}  // namespace

lever_status lever_call_start(lever_client* client, const lever_call_options* options,
                              lever_call* out, lever_error** error) {
  return Start(client, options, RequestKind::kCall, out, error);
}

lever_status lever_stream_open(lever_client* client, const lever_call_options* options,
                               lever_stream* out, lever_error** error) {
  return Start(client, options, RequestKind::kStream, out, error);
}

lever_status lever_call_cancel(lever_queue* queue, lever_call call) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  Slot* slot = queue->slots.Find(call, lever::capi::Of(lever::capi::kCall));
  if (slot == nullptr) return LEVER_INVALID_ARGUMENT;
  lever::capi::Perform(queue, [slot, call] {
    if (slot->IsLive(call) && slot->call != nullptr) slot->call->Cancel();
  });
  return LEVER_OK;
}
