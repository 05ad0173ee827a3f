#include "event_buffer.h"

#include <cstring>
#include <limits>
#include <string_view>

#include "metadata.h"

namespace lever::node {
namespace {

size_t PayloadBytes(const lever_event& event) {
  size_t bytes = 0;
  for (size_t i = 0; i < event.slice_count; ++i) bytes += event.slices[i].size;
  return bytes;
}

bool IsIncoming(const lever_event& event) {
  return event.type == LEVER_EVENT_INCOMING_CALL || event.type == LEVER_EVENT_INCOMING_STREAM;
}

uint32_t StateOf(const lever_event& event) {
  switch (event.type) {
    case LEVER_EVENT_RESOURCE_OPEN: return static_cast<uint32_t>(event.origin);
    case LEVER_EVENT_RESOURCE_CLOSE: return static_cast<uint32_t>(event.close_reason);
    case LEVER_EVENT_INCOMING_STREAM:
    case LEVER_EVENT_STREAM_END: return static_cast<uint32_t>(event.resumed);
    default: return static_cast<uint32_t>(event.service_state);
  }
}

// What is said of the status, or in its place the name of a resource.
std::string_view TextOf(const lever_event& event) {
  if (event.type == LEVER_EVENT_RESOURCE_OPEN) {
    return {event.resource_name, event.resource_name_size};
  }
  return event.message == nullptr ? std::string_view() : std::string_view(event.message);
}

}  // namespace

Napi::ArrayBuffer EventBuffer::Allocate(napi_env env, size_t capacity, size_t data_bytes) {
  env_ = env;
  capacity_ = capacity;
  size_ = capacity * sizeof(EventRecord) + data_bytes;
  Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, size_);
  base_ = static_cast<uint8_t*>(memory.Data());
  memory_ = Napi::Persistent(memory.As<Napi::ArrayBuffer>());
  return memory;
}

void EventBuffer::Begin() {
  used_ = capacity_ * sizeof(EventRecord);
  count_ = 0;
  large_ = nullptr;
  large_count_ = 0;
}

// Where the bytes of an event go, and from which offset they count. Null: an exception is pending.
uint8_t* EventBuffer::Room(size_t bytes, uint32_t payload_bytes, EventRecord* record,
                           uint32_t* offset) {
  if (payload_bytes <= kInlineBytesMax && bytes <= size_ - used_) {
    *offset = static_cast<uint32_t>(used_);
    used_ += bytes;
    return base_ + *offset;
  }
  if (large_ == nullptr && napi_create_array(env_, &large_) != napi_ok) return nullptr;
  void* data = nullptr;
  napi_value buffer;
  if (napi_create_buffer(env_, bytes, &data, &buffer) != napi_ok) return nullptr;
  if (napi_set_element(env_, large_, large_count_, buffer) != napi_ok) return nullptr;
  record->large = ++large_count_;
  *offset = 0;
  return static_cast<uint8_t*>(data);
}

bool EventBuffer::Add(const lever_event& event) {
  EventRecord* record = reinterpret_cast<EventRecord*>(base_) + count_++;
  *record = {};
  record->type = static_cast<uint32_t>(event.type);
  record->status = static_cast<uint32_t>(event.status);
  void* token = IsIncoming(event) ? event.method : event.user_data;
  record->token = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(token));
  record->id_low = static_cast<uint32_t>(event.id);
  record->id_high = static_cast<uint32_t>(event.id >> 32);
  record->kind = static_cast<uint32_t>(event.kind);
  record->executed = static_cast<uint32_t>(event.executed);
  record->state = StateOf(event);
  record->resource_low = static_cast<uint32_t>(event.resource);
  record->resource_high = static_cast<uint32_t>(event.resource >> 32);
  record->generation_low = static_cast<uint32_t>(event.generation);
  record->generation_high = static_cast<uint32_t>(event.generation >> 32);
  record->received_low = static_cast<uint32_t>(event.resume_received);
  record->received_high = static_cast<uint32_t>(event.resume_received >> 32);
  const bool bounded =
      IsIncoming(event) && event.deadline_ns != std::numeric_limits<int64_t>::max();
  record->deadline_ms = bounded ? static_cast<double>(event.deadline_ns) / 1e6
                                : std::numeric_limits<double>::infinity();

  record->payload_bytes = static_cast<uint32_t>(PayloadBytes(event));
  const std::string_view text = TextOf(event);
  record->message_bytes = static_cast<uint32_t>(text.size());
  if (event.caller != nullptr) {
    record->caller_bytes = static_cast<uint32_t>(std::strlen(event.caller));
  }
  record->metadata_bytes =
      static_cast<uint32_t>(MetadataBytes(event.metadata, event.metadata_count));
  record->token_bytes = static_cast<uint32_t>(event.resume_token_size);
  const size_t bytes = size_t{record->payload_bytes} + record->message_bytes +
                       record->caller_bytes + record->metadata_bytes + record->token_bytes;
  if (bytes == 0) return true;

  uint32_t offset = 0;
  uint8_t* out = Room(bytes, record->payload_bytes, record, &offset);
  if (out == nullptr) return false;
  record->payload = offset;
  for (size_t i = 0; i < event.slice_count; ++i) {
    if (event.slices[i].size == 0) continue;
    std::memcpy(out, event.slices[i].data, event.slices[i].size);
    out += event.slices[i].size;
  }
  record->message = record->payload + record->payload_bytes;
  text.copy(reinterpret_cast<char*>(out), text.size());
  record->caller = record->message + record->message_bytes;
  out += record->message_bytes;
  std::memcpy(out, event.caller == nullptr ? "" : event.caller, record->caller_bytes);
  record->metadata = record->caller + record->caller_bytes;
  out += record->caller_bytes;
  WriteMetadata(event.metadata, event.metadata_count, out);
  record->resume_token = record->metadata + record->metadata_bytes;
  if (record->token_bytes == 0) return true;
  std::memcpy(out + record->metadata_bytes, event.resume_token, record->token_bytes);
  return true;
}

}  // namespace lever::node
