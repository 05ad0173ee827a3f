#include <optional>
#include <string>

#include "functions.h"

namespace lever::node {
namespace {

// The texts of {ca, cert, key, serverName}, and what points to them.
struct TlsTexts {
  explicit TlsTexts(const Napi::Object& from) {
    options.size = sizeof(options);
    Take(from.Get("ca"), &ca, &options.roots_file, &options.roots_file_size);
    Take(from.Get("cert"), &cert, &options.certificate_file, &options.certificate_file_size);
    Take(from.Get("key"), &key, &options.key_file, &options.key_file_size);
    Take(from.Get("serverName"), &name, &options.server_name, &options.server_name_size);
  }
  static void Take(const Napi::Value& value, std::string* text, const char** data, size_t* size) {
    if (!value.IsString()) return;
    *text = value.As<Napi::String>().Utf8Value();
    *data = text->data();
    *size = text->size();
  }

  lever_tls_options options{};
  std::string ca, cert, key, name;
};

lever_status Settle(Binding* binding, lever_status status, lever_error* error) {
  return status == LEVER_OK ? status : binding->Refused(status, error);
}

// clientCreate(token, host, environment, flags, messageBytesMax, service, tls) -> status. host,
// environment and tls may be null; flags: 1 echo, 2 only through the host, 4 in process; service: a
// token, or 0.
Napi::Value ClientCreate(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const uint32_t token = info[0].As<Napi::Number>().Uint32Value();
  const std::string host = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
  const std::string environment = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
  const uint32_t flags = info[3].As<Napi::Number>().Uint32Value();
  lever_client_options options{};
  options.size = sizeof(options);
  options.host = info[1].IsString() ? host.data() : nullptr;
  options.host_size = host.size();
  options.environment = info[2].IsString() ? environment.data() : nullptr;
  options.environment_size = environment.size();
  options.echo = (flags & 1) != 0;
  options.only_through_host = (flags & 2) != 0;
  options.in_process = (flags & 4) != 0;
  options.message_bytes_max = static_cast<size_t>(info[4].As<Napi::Number>().Int64Value());
  options.service = binding.Service(info[5].As<Napi::Number>().Uint32Value());
  options.user_data = reinterpret_cast<void*>(uintptr_t{token});
  std::optional<TlsTexts> tls;
  if (info[6].IsObject()) options.tls = &tls.emplace(info[6].As<Napi::Object>()).options;
  lever_client* client = nullptr;
  lever_error* error = nullptr;
  // Without an address: over the attachment of this thread, else that of the process.
  if (options.host == nullptr && options.service == nullptr && (flags & ~2u) == 0) {
    const auto borrowed = binding.BorrowClient(token, options, &error);
    if (borrowed.has_value()) return Status(info, Settle(&binding, *borrowed, error));
  }
  const lever_status status = lever_client_create(binding.queue(), &options, &client, &error);
  if (status != LEVER_OK) return Status(info, binding.Refused(status, error));
  binding.AddClient(token, client, nullptr);
  return Status(info, LEVER_OK);
}

// clientClose(token) -> status
Napi::Value ClientClose(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const uint32_t token = info[0].As<Napi::Number>().Uint32Value();
  lever_client* client = binding.Client(token);
  if (client == nullptr) return Status(info, LEVER_INVALID_ARGUMENT);
  const lever_status status = lever_client_close(client);
  if (status == LEVER_OK) binding.HoldObject(token);
  binding.Requested();
  return Status(info, status);
}

// clientStats(token) -> {callsDirect, callsThroughHost, retries, directConnections}
Napi::Value ClientStats(const Napi::CallbackInfo& info) {
  lever_client* client = BindingOf(info).Client(info[0].As<Napi::Number>().Uint32Value());
  lever_client_stats stats{};
  stats.size = sizeof(stats);
  if (client == nullptr || lever_client_get_stats(client, &stats) != LEVER_OK) {
    return info.Env().Undefined();
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("callsDirect", static_cast<double>(stats.calls_direct));
  out.Set("callsThroughHost", static_cast<double>(stats.calls_through_host));
  out.Set("retries", static_cast<double>(stats.retries));
  out.Set("directConnections", static_cast<double>(stats.direct_connections));
  return out;
}

// callStart([payload]) -> status; the command's id is that of the call.
Napi::Value CallStart(const Napi::CallbackInfo& info) { return Start(info, lever_call_start); }

Napi::Value CallCancel(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const lever_status status = lever_call_cancel(binding.CommandQueue(), binding.command().id());
  binding.Requested();
  return Status(info, status);
}

}  // namespace

Napi::Value Start(const Napi::CallbackInfo& info, StartFunction start) {
  Binding& binding = BindingOf(info);
  Command& command = binding.command();
  lever_client* client = binding.Client(command.object);
  lever_slice payload{};
  std::vector<lever_metadata> metadata;
  lever_call_options options;
  if (client == nullptr || !CallOptionsOf(info, &payload, &metadata, &options)) {
    return Status(info, binding.Refused(LEVER_INVALID_ARGUMENT, nullptr));
  }
  if (binding.CommandQueue() != binding.queue()) {
    options.user_data = binding.BorrowedToken(command.token);
    options.parent = 0;  // which would be of another queue
  }
  uint64_t id = 0;
  lever_error* error = nullptr;
  const lever_status status = start(client, &options, &id, &error);
  if (status != LEVER_OK) return Status(info, binding.Refused(status, error));
  command.set_id(id);
  binding.Began();
  return Status(info, LEVER_OK);
}

void DefineClientFunctions(Napi::Env env, Napi::Object exports, Binding* binding) {
  Define<ClientCreate>(env, exports, "clientCreate", binding);
  Define<ClientClose>(env, exports, "clientClose", binding);
  Define<ClientStats>(env, exports, "clientStats", binding);
  Define<CallStart>(env, exports, "callStart", binding);
  Define<CallCancel>(env, exports, "callCancel", binding);
}

}  // namespace lever::node
