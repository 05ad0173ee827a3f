#include <string>
#include <string_view>

#include "functions.h"

namespace lever::node {
namespace {

// streamOpen([payload]) -> status; the command's id is that of the stream.
Napi::Value StreamOpen(const Napi::CallbackInfo& info) { return Start(info, lever_stream_open); }

using SendFunction = lever_status (*)(lever_queue*, lever_stream, int32_t, const lever_slice*,
                                      size_t);

Napi::Value Send(const Napi::CallbackInfo& info, SendFunction send) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  lever_slice payload{};
  if (!PayloadOf(info, &payload)) return Status(info, LEVER_INVALID_ARGUMENT);
  const lever_status status =
      send(binding.CommandQueue(), command.id(), static_cast<int32_t>(command.kind), &payload, 1);
  binding.Requested();
  return Status(info, status);
}

// streamWrite([payload]) -> status
Napi::Value StreamWrite(const Napi::CallbackInfo& info) { return Send(info, lever_stream_write); }
// streamWriteResumable([payload]) -> status; with the command's token.
Napi::Value StreamWriteResumable(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  lever_slice payload{};
  std::string_view token;
  if (!PayloadOf(info, &payload) || !TokenOf(info, &token)) {
    return Status(info, LEVER_INVALID_ARGUMENT);
  }
  const lever_status status = lever_stream_write_resumable(
      binding.CommandQueue(), command.id(), static_cast<int32_t>(command.kind), &payload, 1,
      token.data(), token.size());
  binding.Requested();
  return Status(info, status);
}

// streamFail([payload]) -> status
Napi::Value StreamFail(const Napi::CallbackInfo& info) { return Send(info, lever_stream_fail); }

Napi::Value StreamRead(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const lever_status status =
      lever_stream_read(binding.CommandQueue(), command.id(), command.read_messages, command.read_bytes);
  binding.Requested();
  return Status(info, status);
}

Napi::Value StreamCloseSend(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const lever_status status = lever_stream_close_send(binding.CommandQueue(), binding.command().id());
  binding.Requested();
  return Status(info, status);
}

// streamMoved() -> status; the command says how many messages lie unread.
Napi::Value StreamMoved(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const lever_status status =
      lever_stream_moved(binding.CommandQueue(), command.id(), command.read_messages);
  binding.Requested();
  return Status(info, status);
}

// streamCancel(text) -> status
Napi::Value StreamCancel(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const std::string text = info[0].As<Napi::String>().Utf8Value();
  const lever_status status =
      lever_stream_cancel(binding.CommandQueue(), command.id(), static_cast<lever_status>(command.status),
                          text.data(), text.size());
  binding.Requested();
  return Status(info, status);
}

}  // namespace

void DefineStreamFunctions(Napi::Env env, Napi::Object exports, Binding* binding) {
  Define<StreamOpen>(env, exports, "streamOpen", binding);
  Define<StreamWrite>(env, exports, "streamWrite", binding);
  Define<StreamWriteResumable>(env, exports, "streamWriteResumable", binding);
  Define<StreamMoved>(env, exports, "streamMoved", binding);
  Define<StreamFail>(env, exports, "streamFail", binding);
  Define<StreamRead>(env, exports, "streamRead", binding);
  Define<StreamCloseSend>(env, exports, "streamCloseSend", binding);
  Define<StreamCancel>(env, exports, "streamCancel", binding);
}

}  // namespace lever::node
