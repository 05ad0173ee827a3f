#include <string>

#include "functions.h"
#include "metadata.h"

namespace lever::node {

bool PayloadOf(const Napi::CallbackInfo& info, lever_slice* out) {
  if (info.Length() > 0) {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    *out = {.data = bytes.Data(), .size = bytes.ByteLength()};
    return true;
  }
  Binding& binding = BindingOf(info);
  const size_t size = binding.command().payload_bytes;
  *out = {.data = binding.Scratch(0, size), .size = size};
  return out->data != nullptr;
}

bool MetadataOf(const Napi::CallbackInfo& info, std::vector<lever_metadata>* out) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  if (command.metadata_bytes == 0) return true;
  const uint8_t* data = binding.Scratch(command.payload_bytes, command.metadata_bytes);
  return data != nullptr && ReadMetadata(data, command.metadata_bytes, out);
}

bool TokenOf(const Napi::CallbackInfo& info, std::string_view* out) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  if (command.token_bytes == 0) return true;
  const uint8_t* data =
      binding.Scratch(command.payload_bytes + command.metadata_bytes, command.token_bytes);
  *out = {reinterpret_cast<const char*>(data), command.token_bytes};
  return data != nullptr;
}

bool CallOptionsOf(const Napi::CallbackInfo& info, lever_slice* payload,
                   std::vector<lever_metadata>* metadata, lever_call_options* out) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const std::string* address = binding.Address(command.address);
  if (address == nullptr || !PayloadOf(info, payload) || !MetadataOf(info, metadata)) return false;
  *out = {};
  out->size = sizeof(*out);
  out->address = address->data();
  out->address_size = address->size();
  out->kind = static_cast<int32_t>(command.kind);
  out->flags = command.flags;
  out->slices = payload;
  out->slice_count = 1;
  // Further away than int64 reaches is no deadline.
  constexpr double kNsMax = 9e18;
  const double timeout_ns = command.timeout_ms * 1e6;
  out->timeout_ns = timeout_ns > kNsMax ? -1 : static_cast<int64_t>(timeout_ns);
  out->parent = command.parent();
  out->metadata = metadata->data();
  out->metadata_count = metadata->size();
  out->user_data = reinterpret_cast<void*>(uintptr_t{command.token});
  out->read_messages = command.read_messages;
  out->read_bytes = command.read_bytes;
  if ((command.flags & LEVER_CALL_RESUME) == 0) return true;
  std::string_view token;
  if (!TokenOf(info, &token)) return false;
  out->resume_token = token.data();
  out->resume_token_size = token.size();
  out->resume_received = static_cast<uint64_t>(command.resume_received);
  return true;
}

namespace {

uint32_t Option(const Napi::Object& options, const char* name, uint32_t otherwise) {
  const Napi::Value value = options.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : otherwise;
}

// open(dispatch, options) -> {commands, events}
Napi::Value Open(const Napi::CallbackInfo& info) {
  const auto given = info[1].As<Napi::Object>();
  BindingOptions options;
  options.capacity = Option(given, "capacity", options.capacity);
  options.events_per_turn = Option(given, "eventsPerTurn", options.events_per_turn);
  options.data_bytes = Option(given, "dataBytes", options.data_bytes);
  return BindingOf(info).Open(options, info[0].As<Napi::Function>());
}

Napi::Value SetScratch(const Napi::CallbackInfo& info) {
  BindingOf(info).SetScratch(info[0].As<Napi::Uint8Array>());
  return info.Env().Undefined();
}

Napi::Value InternAddress(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           BindingOf(info).InternAddress(info[0].As<Napi::String>().Utf8Value()));
}

Napi::Value TakeError(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), BindingOf(info).TakeError());
}

// now() -> milliseconds on the queue's time, as in the events' deadlines
Napi::Value Now(const Napi::CallbackInfo& info) {
  int64_t now_ns = 0;
  lever_queue_now(BindingOf(info).queue(), &now_ns);
  return Napi::Number::New(info.Env(), static_cast<double>(now_ns) / 1e6);
}

// holdTime() -> status
Napi::Value HoldTime(const Napi::CallbackInfo& info) {
  return Status(info, lever_queue_hold_time(BindingOf(info).queue()));
}

// advanceTime(ms) -> status
Napi::Value AdvanceTime(const Napi::CallbackInfo& info) {
  const double by_ns = info[0].As<Napi::Number>().DoubleValue() * 1e6;
  return Status(info, lever_queue_advance_time(BindingOf(info).queue(),
                                               static_cast<int64_t>(by_ns)));
}

// resumeTime() -> status
Napi::Value ResumeTime(const Napi::CallbackInfo& info) {
  return Status(info, lever_queue_resume_time(BindingOf(info).queue()));
}

// valueCheck(bytes) -> status
Napi::Value ValueCheck(const Napi::CallbackInfo& info) {
  lever_slice slice{};
  PayloadOf(info, &slice);
  lever_error* error = nullptr;
  const lever_status status = lever_value_check(&slice, 1, &error);
  return Status(info, BindingOf(info).Refused(status, error));
}

// valueToJson(bytes) -> text, or undefined
Napi::Value ValueToJson(const Napi::CallbackInfo& info) {
  lever_slice slice{};
  PayloadOf(info, &slice);
  char* json = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status = lever_value_to_json(&slice, 1, &json, &size, &error);
  if (BindingOf(info).Refused(status, error) != LEVER_OK) return info.Env().Undefined();
  Napi::Value text = Napi::String::New(info.Env(), json, size);
  lever_free(json);
  return text;
}

// valueFromJson(text) -> bytes, or undefined
Napi::Value ValueFromJson(const Napi::CallbackInfo& info) {
  const std::string json = info[0].As<Napi::String>().Utf8Value();
  uint8_t* bytes = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status =
      lever_value_from_json(json.data(), json.size(), &bytes, &size, &error);
  if (BindingOf(info).Refused(status, error) != LEVER_OK) return info.Env().Undefined();
  Napi::Value copy = Napi::Buffer<uint8_t>::Copy(info.Env(), bytes, size);
  lever_free(bytes);
  return copy;
}

}  // namespace

void DefineQueueFunctions(Napi::Env env, Napi::Object exports, Binding* binding) {
  Define<Open>(env, exports, "open", binding);
  Define<SetScratch>(env, exports, "setScratch", binding);
  Define<InternAddress>(env, exports, "internAddress", binding);
  Define<TakeError>(env, exports, "takeError", binding);
  Define<Now>(env, exports, "now", binding);
  Define<HoldTime>(env, exports, "holdTime", binding);
  Define<AdvanceTime>(env, exports, "advanceTime", binding);
  Define<ResumeTime>(env, exports, "resumeTime", binding);
  Define<ValueCheck>(env, exports, "valueCheck", binding);
  Define<ValueToJson>(env, exports, "valueToJson", binding);
  Define<ValueFromJson>(env, exports, "valueFromJson", binding);
}

}  // namespace lever::node
