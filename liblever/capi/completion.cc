#include "liblever/capi/completion.h"

#include "liblever/base/status.h"

namespace lever::capi {

void ViewSlices(const SliceList& payload, SliceViews* views) {
  views->clear();
  for (const Slice& slice : payload) views->push_back({slice.data(), slice.size()});
}

void Completion::ResumedAt(const route::ResumePoint* point) {
  if (point == nullptr) return;
  resumed = true;
  resume_token = point->token;
  resume_received = point->received;
}

void Completion::Describe(lever_event* event) {
  ViewSlices(payload, &slices);
  fields.clear();
  for (size_t i = 0; i < metadata.size(); ++i) {
    const rpc::HeaderView field = metadata[i];
    fields.push_back(
        {field.name.data(), field.name.size(), field.value.data(), field.value.size()});
  }
  event->type = type;
  event->status = status;
  event->id = id;
  event->user_data = user_data;
  event->object = object;
  event->method = method;
  event->slices = slices.data();
  event->slice_count = slices.size();
  event->kind = static_cast<int32_t>(kind);
  event->executed = executed;
  event->service_state = service_state;
  event->reserved = 0;
  event->message = nullptr;
  if (status != LEVER_OK) {
    event->message = message.empty() ? StatusText(status).data() : message.c_str();
  }
  event->metadata = fields.data();
  event->metadata_count = fields.size();
  event->deadline_ns = deadline_ns;
  event->caller = caller.c_str();
  event->resource = resource;
  event->generation = generation;
  event->resource_name = resource_name.data();
  event->resource_name_size = resource_name.size();
  event->origin = origin;
  event->close_reason = close_reason;
  event->resumed = resumed ? 1 : 0;
  event->reserved2 = 0;
  event->resume_token = resume_token.data();
  event->resume_token_size = resume_token.size();
  event->resume_received = resume_received;
}

void Completion::Recycle() {
  type = LEVER_EVENT_NONE;
  status = LEVER_OK;
  executed = LEVER_EXECUTED_UNKNOWN;
  kind = route::Kind::kNone;
  service_state = LEVER_SERVICE_STARTING;
  id = 0;
  slot = nullptr;
  user_data = object = method = nullptr;
  payload.clear();
  message.clear();
  caller.clear();
  metadata.Recycle();
  deadline_ns = 0;
  resource = generation = 0;
  resource_name.clear();
  origin = LEVER_RESOURCE_NEW;
  close_reason = LEVER_CLOSE_IDLE;
  resumed = false;
  resume_token.clear();
  resume_received = 0;
}

}  // namespace lever::capi
