#include <string>

#include "functions.h"

namespace lever::node {
namespace {

// A property of `options` that is a text; false if it is not there.
bool Text(const Napi::Object& options, const char* name, std::string* out) {
  const Napi::Value value = options.Get(name);
  if (!value.IsString()) return false;
  *out = value.As<Napi::String>().Utf8Value();
  return true;
}

// serviceCreate(token, {name, env, host, listen, private, runtime, maxConcurrency, drainTimeoutMs,
// inProcess, configJson, secretsJson}) -> status
Napi::Value ServiceCreate(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const uint32_t token = info[0].As<Napi::Number>().Uint32Value();
  const auto given = info[1].As<Napi::Object>();
  std::string name, environment, host, listen, runtime, config, secrets;
  lever_service_options options{};
  options.size = sizeof(options);
  if (Text(given, "name", &name)) options.name = name.data();
  options.name_size = name.size();
  if (Text(given, "env", &environment)) options.environment = environment.data();
  options.environment_size = environment.size();
  if (Text(given, "host", &host)) options.host = host.data();
  options.host_size = host.size();
  if (Text(given, "listen", &listen)) options.listen = listen.data();
  options.listen_size = listen.size();
  if (Text(given, "runtime", &runtime)) options.runtime = runtime.data();
  options.runtime_size = runtime.size();
  options.is_private = given.Get("private").ToBoolean().Value();
  options.in_process = given.Get("inProcess").ToBoolean().Value();
  if (Text(given, "configJson", &config)) options.config_json = config.data();
  options.config_json_size = config.size();
  if (Text(given, "secretsJson", &secrets)) options.secrets_json = secrets.data();
  options.secrets_json_size = secrets.size();
  options.concurrency_max = given.Get("maxConcurrency").ToNumber().Uint32Value();
  options.drain_timeout_ns =
      static_cast<int64_t>(given.Get("drainTimeoutMs").ToNumber().DoubleValue() * 1e6);
  options.user_data = reinterpret_cast<void*>(uintptr_t{token});
  lever_service* service = nullptr;
  lever_error* error = nullptr;
  const lever_status status = lever_service_create(binding.queue(), &options, &service, &error);
  if (status != LEVER_OK) return Status(info, binding.Refused(status, error));
  binding.AddService(token, service);
  // The attachment of an instance that a host has started.
  if (options.name == nullptr) OfferToLend(binding.queue(), service);
  return Status(info, LEVER_OK);
}

// serviceAddMethod(token, name, methodToken) -> status, and serviceAddResourceMethod
template <lever_status (*add)(lever_service*, const char*, size_t, void*)>
Napi::Value AddMethod(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  lever_service* service = binding.Service(info[0].As<Napi::Number>().Uint32Value());
  if (service == nullptr) return Status(info, LEVER_INVALID_ARGUMENT);
  const std::string name = info[1].As<Napi::String>().Utf8Value();
  const uintptr_t method = info[2].As<Napi::Number>().Uint32Value();
  const lever_status status =
      add(service, name.data(), name.size(), reinterpret_cast<void*>(method));
  if (status != LEVER_OK) binding.Refused(status, nullptr);
  return Status(info, status);
}

// serviceSetResource(token, maxConcurrency, idleTimeoutMs, resumes) -> status
Napi::Value ServiceSetResource(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  lever_service* service = binding.Service(info[0].As<Napi::Number>().Uint32Value());
  if (service == nullptr) return Status(info, LEVER_INVALID_ARGUMENT);
  lever_resource_options options{};
  options.size = sizeof(options);
  options.concurrency_max = info[1].As<Napi::Number>().Uint32Value();
  options.idle_timeout_ns = static_cast<int64_t>(info[2].As<Napi::Number>().DoubleValue() * 1e6);
  options.resumes = info[3].As<Napi::Boolean>().Value() ? 1 : 0;
  lever_error* error = nullptr;
  const lever_status status = lever_service_set_resource(service, &options, &error);
  return Status(info, binding.Refused(status, error));
}

// serviceStart(token) -> status
Napi::Value ServiceStart(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const uint32_t token = info[0].As<Napi::Number>().Uint32Value();
  lever_service* service = binding.Service(token);
  if (service == nullptr) return Status(info, LEVER_INVALID_ARGUMENT);
  lever_error* error = nullptr;
  const lever_status status = lever_service_start(service, &error);
  if (status != LEVER_OK) return Status(info, binding.Refused(status, error));
  binding.HoldObject(token);
  binding.Requested();
  return Status(info, LEVER_OK);
}

template <lever_status (*function)(lever_service*)>
Napi::Value WithService(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const uint32_t token = info[0].As<Napi::Number>().Uint32Value();
  lever_service* service = binding.Service(token);
  if (service == nullptr) return Status(info, LEVER_INVALID_ARGUMENT);
  const lever_status status = function(service);
  if (status == LEVER_OK) binding.HoldObject(token);
  binding.Requested();
  return Status(info, status);
}

// serviceDetails(token) -> {env, name, instance, version, configJson, listening, secretsJson}
Napi::Value ServiceDetails(const Napi::CallbackInfo& info) {
  lever_service* service = BindingOf(info).Service(info[0].As<Napi::Number>().Uint32Value());
  lever_service_details details{};
  details.size = sizeof(details);
  if (service == nullptr || lever_service_get_details(service, &details) != LEVER_OK) {
    return info.Env().Undefined();
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("env", details.environment);
  out.Set("name", details.name);
  out.Set("instance", details.instance);
  out.Set("version", static_cast<double>(details.version));
  out.Set("configJson", details.config_json);
  out.Set("listening", details.listening);
  out.Set("secretsJson", details.secrets_json);
  return out;
}

Napi::Value IncomingBegin(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const lever_status status = lever_incoming_begin(binding.queue(), binding.command().id());
  binding.Requested();
  return Status(info, status);
}

// incomingReply([payload]) -> status
Napi::Value IncomingReply(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  lever_slice payload{};
  if (!PayloadOf(info, &payload)) return Status(info, LEVER_INVALID_ARGUMENT);
  const lever_status status = lever_incoming_reply(
      binding.queue(), command.id(), static_cast<int32_t>(command.kind), &payload, 1, nullptr, 0);
  binding.Requested();
  return Status(info, status);
}

// incomingFail(text) -> status
Napi::Value IncomingFail(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const std::string text = info[0].As<Napi::String>().Utf8Value();
  const lever_status status =
      lever_incoming_fail(binding.queue(), command.id(), static_cast<lever_status>(command.status),
                          text.data(), text.size());
  binding.Requested();
  return Status(info, status);
}

// resourceOpened(text) -> status; the command's object is the service, its id that of the resource.
Napi::Value ResourceOpened(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  const std::string text = info[0].As<Napi::String>().Utf8Value();
  const lever_status status =
      lever_resource_opened(binding.Service(command.object), command.id(),
                            static_cast<lever_status>(command.status), text.data(), text.size());
  binding.Requested();
  return Status(info, status);
}

// resourceClosed([payload]) -> status; the same. The payload is nothing if its kind is.
Napi::Value ResourceClosed(const Napi::CallbackInfo& info) {
  Binding& binding = BindingOf(info);
  const Command& command = binding.command();
  lever_slice payload{};
  if (!PayloadOf(info, &payload)) return Status(info, LEVER_INVALID_ARGUMENT);
  const lever_status status = lever_resource_closed(
      binding.Service(command.object), command.id(), static_cast<lever_status>(command.status),
      static_cast<int32_t>(command.kind), &payload, command.kind == LEVER_KIND_NONE ? 0 : 1);
  binding.Requested();
  return Status(info, status);
}

}  // namespace

void DefineServiceFunctions(Napi::Env env, Napi::Object exports, Binding* binding) {
  Define<ServiceCreate>(env, exports, "serviceCreate", binding);
  Define<AddMethod<lever_service_add_method>>(env, exports, "serviceAddMethod", binding);
  Define<ServiceSetResource>(env, exports, "serviceSetResource", binding);
  Define<AddMethod<lever_service_add_resource_method>>(env, exports, "serviceAddResourceMethod",
                                                       binding);
  Define<ServiceStart>(env, exports, "serviceStart", binding);
  Define<WithService<lever_service_drain>>(env, exports, "serviceDrain", binding);
  Define<WithService<lever_service_close>>(env, exports, "serviceClose", binding);
  Define<ServiceDetails>(env, exports, "serviceDetails", binding);
  Define<IncomingBegin>(env, exports, "incomingBegin", binding);
  Define<IncomingReply>(env, exports, "incomingReply", binding);
  Define<IncomingFail>(env, exports, "incomingFail", binding);
  Define<ResourceOpened>(env, exports, "resourceOpened", binding);
  Define<ResourceClosed>(env, exports, "resourceClosed", binding);
}

}  // namespace lever::node
