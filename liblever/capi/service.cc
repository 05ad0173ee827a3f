// lever_service_*: services as programs see them.
#include "liblever/capi/service.h"

#include <utility>

#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/sized.h"
#include "liblever/capi/tls.h"
#include "liblever/policy/address.h"
#include "liblever/service/method_table.h"

namespace lever::capi {
namespace {

constexpr size_t kRuntimeBytesMax = 128;

Status ToInProcess(const lever_service_options& options, service::ServiceOptions* to) {
  if (options.host != nullptr || options.listen != nullptr || options.tls != nullptr ||
      options.is_private != 0) {
    return InvalidArgument("host, listen, tls, is_private: not together with in_process");
  }
  if (options.config_json != nullptr) {
    to->config_json = ReadText(options.config_json, options.config_json_size);
  }
  if (options.secrets_json != nullptr) {
    to->secrets_json = ReadText(options.secrets_json, options.secrets_json_size);
  }
  return policy::CheckService(to->name);
}

Status ToServiceOptions(const lever_service_options& options, service::ServiceOptions* to) {
  to->name = ReadText(options.name, options.name_size);
  to->environment = ReadEnvironment(options.environment, options.environment_size);
  to->host = ReadHost(options.host, options.host_size);
  to->listen = ReadText(options.listen, options.listen_size);
  const std::string_view runtime = ReadText(options.runtime, options.runtime_size);
  if (runtime.size() > kRuntimeBytesMax) return InvalidArgument("runtime: longer than 128 bytes");
  to->runtime = runtime.empty() ? "" : std::string(runtime) + ", ";
  to->runtime += "lever " LEVER_VERSION;
  to->concurrency_max = options.concurrency_max;
  if (options.drain_timeout_ns < 0) return InvalidArgument("drain_timeout_ns: negative");
  to->drain_timeout_ns = options.drain_timeout_ns;
  if (options.in_process != 0) return ToInProcess(options, to);
  if (options.config_json != nullptr || options.secrets_json != nullptr) {
    return InvalidArgument(
        "config_json, secrets_json: only together with in_process, else the host tells them");
  }
  if (options.name != nullptr) {
    to->is_private = options.is_private != 0;
    LEVER_ASSIGN_OR_RETURN(to->tls, ReadTlsOptions(options.tls, to->host));
    return policy::CheckService(to->name);
  }
  const service::InheritedSockets sockets = service::TakeInheritedSockets();
  if (sockets.attach < 0) {
    return FailedPrecondition(
        "a service needs a name, unless a host has started this process as its instance");
  }
  to->attach_socket = sockets.attach;
  to->introduction_socket = sockets.introduction;
  return Status::Ok();
}

Status Create(lever_queue* queue, const lever_service_options* given, lever_service** out) {
  lever_service_options options;
  LEVER_RETURN_IF_ERROR(ReadSizedOrDefaults(given, "lever_service_options", &options));
  service::ServiceOptions to;
  LEVER_RETURN_IF_ERROR(ToServiceOptions(options, &to));
  const bool started_by_host = to.attach_socket >= 0;
  const bool in_process = options.in_process != 0;
  auto service = std::make_unique<lever_service>(queue, options.user_data);
  Status opened;
  PerformAndWait(queue, [&] {
    if (in_process) to.in_process = queue->in_process();
    auto below = service::Service::Open(queue->loop.get(), std::move(to), &service->events);
    opened = below.status();
    if (!below.ok()) return;
    service->service = std::move(below).value();
    service->KeepDetails();
  });
  LEVER_RETURN_IF_ERROR(opened);
  queue->objects.fetch_add(1);
  if (started_by_host) queue->instance.store(service.get());
  *out = service.release();
  return Status::Ok();
}

// Methods are settled before the service starts, by any thread: what there is is kept here, too.
Status AddMethod(lever_service* service, std::string_view name, void* user_data) {
  LEVER_RETURN_IF_ERROR(policy::CheckMethod(name));
  const std::lock_guard lock(service->setup_mutex);
  if (service->started) return FailedPrecondition("methods are added before the service starts");
  if (service->methods.size() >= service::MethodTable::kMethodsMax) {
    return ResourceExhausted("too many methods");
  }
  if (!service->methods.emplace(name).second)
    return AlreadyExists("there is such a method already");
  Perform(service->queue, [service, name = std::string(name), user_data] {
    [[maybe_unused]] const Status added = service->service->AddMethod(name, user_data);
    assert(added.ok());
  });
  return Status::Ok();
}

Status Start(lever_service* service) {
  Status started;
  PerformAndWait(service->queue, [&] {
    started = service->service->Start();
    service->KeepDetails();
  });
  if (started.ok()) {
    const std::lock_guard lock(service->setup_mutex);
    service->started = true;
  }
  return started;
}

}  // namespace

lever_status CheckService(const lever_service* service) {
  if (!IsOurs(service, ObjectKind::kService)) return LEVER_INVALID_ARGUMENT;
  if (service->queue->loop->Forked()) return LEVER_FORKED;
  return service->closing.load() ? LEVER_CANCELLED : LEVER_OK;
}

void ServiceEvents::OnState(service::Service&, service::State state, const Status& status) {
  if (state == service::State::kAttached) self_->KeepDetails();
  Completion* event = self_->queue->NewEvent(LEVER_EVENT_SERVICE_STATE, nullptr);
  event->object = self_;
  event->user_data = self_->user_data;
  event->service_state = static_cast<lever_service_state>(state);
  event->status = status.code();
  event->message.assign(status.message());
}

}  // namespace lever::capi

void lever_service::KeepDetails() {
  all_details.push_back(std::make_unique<lever::service::Details>(service->details()));
  details.store(all_details.back().get());
}

using lever::capi::CheckQueue;
using lever::capi::CheckService;
using lever::capi::Return;

lever_status lever_service_create(lever_queue* queue, const lever_service_options* options,
                                  lever_service** out, lever_error** error) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) {
    return Return({status, ""}, error);
  }
  if (out == nullptr) return Return(lever::InvalidArgument("out: NULL"), error);
  return Return(lever::capi::Create(queue, options, out), error);
}

lever_status lever_service_add_method(lever_service* service, const char* name, size_t size,
                                      void* user_data) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) return status;
  return lever::capi::AddMethod(service, lever::capi::ReadText(name, size), user_data).code();
}

lever_status lever_service_start(lever_service* service, lever_error** error) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) {
    return Return({status, ""}, error);
  }
  return Return(lever::capi::Start(service), error);
}

lever_status lever_service_drain(lever_service* service) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) return status;
  lever::capi::Perform(service->queue, [service] { service->service->Drain(); });
  return LEVER_OK;
}

lever_status lever_service_close(lever_service* service) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) return status;
  if (service->closing.exchange(true)) return LEVER_CANCELLED;
  lever::capi::Perform(service->queue, [service] { service->service->Close(); });
  return LEVER_OK;
}

lever_status lever_service_destroy(lever_service* service) {
  if (!lever::capi::IsOurs(service, lever::capi::ObjectKind::kService)) {
    return LEVER_INVALID_ARGUMENT;
  }
  lever_queue* queue = service->queue;
  lever_service* expected = service;
  if (queue->loop->Forked()) {
    queue->instance.compare_exchange_strong(expected, nullptr);
    delete service;
  } else if (!service->closed.load()) {
    return LEVER_BUSY;
  } else {
    queue->instance.compare_exchange_strong(expected, nullptr);
    lever::capi::PerformAndWait(queue, [service] { delete service; });
  }
  queue->objects.fetch_sub(1);
  return LEVER_OK;
}

lever_status lever_service_get_details(lever_service* service, lever_service_details* out) {
  const lever_status status = CheckService(service);
  if (status != LEVER_OK && status != LEVER_CANCELLED) return status;
  const lever::service::Details& details = *service->details.load();
  lever_service_details ours{};
  ours.environment = details.environment.c_str();
  ours.name = details.name.c_str();
  ours.instance = details.instance.c_str();
  ours.version = details.version;
  ours.config_json = details.config_json.c_str();
  ours.listening = details.listening.c_str();
  ours.secrets_json = details.secrets_json.c_str();
  return lever::capi::WriteSized(ours, "lever_service_details", out).code();
}
