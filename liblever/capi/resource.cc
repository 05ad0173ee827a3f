// Resources as programs see them: what a service says of them, and what it is told.
#include <utility>

#include "lever/lever.h"
#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/queue.h"
#include "liblever/capi/service.h"
#include "liblever/capi/sized.h"
#include "liblever/policy/address.h"
#include "liblever/service/method_table.h"
#include "liblever/value/check.h"

namespace lever::capi {

void ServiceEvents::OnResourceOpen(service::Service&, const service::ResourceOpening& opening) {
  self_->resources.Opening(opening.id);
  Completion* event = self_->queue->NewEvent(LEVER_EVENT_RESOURCE_OPEN, nullptr);
  event->object = self_;
  event->user_data = self_->user_data;
  event->resource = opening.id;
  event->generation = opening.generation;
  event->resource_name.assign(opening.name);
  event->origin = static_cast<lever_resource_origin>(opening.origin);
  event->kind = opening.kind;
  event->payload = opening.state;
}

void ServiceEvents::OnResourceClose(service::Service&, uint64_t resource,
                                    service::CloseReason reason) {
  self_->resources.Closing(resource);
  Completion* event = self_->queue->NewEvent(LEVER_EVENT_RESOURCE_CLOSE, nullptr);
  event->object = self_;
  event->user_data = self_->user_data;
  event->resource = resource;
  event->close_reason = static_cast<lever_close_reason>(reason);
}

namespace {

Status SetResource(lever_service* service, const lever_resource_options* given) {
  lever_resource_options options;
  LEVER_RETURN_IF_ERROR(ReadSizedOrDefaults(given, "lever_resource_options", &options));
  if (options.resumes != 0 && options.resumes != 1) return InvalidArgument("resumes: 0 or 1");
  if (options.idle_timeout_ns < 0) return InvalidArgument("idle_timeout_ns: negative");
  const std::lock_guard lock(service->setup_mutex);
  if (service->started) return FailedPrecondition("resources are told of before the service starts");
  if (service->has_resources) return FailedPrecondition("the service has resources already");
  service->has_resources = true;
  Perform(service->queue, [service, options] {
    [[maybe_unused]] const Status set = service->service->SetResource(
        {.concurrency_max = options.concurrency_max,
         .idle_timeout_ns = options.idle_timeout_ns,
         .resumes = options.resumes == 1});
    assert(set.ok());
  });
  return Status::Ok();
}

Status AddResourceMethod(lever_service* service, std::string_view name, void* user_data) {
  LEVER_RETURN_IF_ERROR(policy::CheckMethod(name));
  const std::lock_guard lock(service->setup_mutex);
  if (service->started) return FailedPrecondition("methods are added before the service starts");
  if (!service->has_resources) return FailedPrecondition("the service has no resources");
  if (service->resource_methods.size() >= service::MethodTable::kMethodsMax) {
    return ResourceExhausted("too many methods");
  }
  if (!service->resource_methods.emplace(name).second) {
    return AlreadyExists("there is such a method already");
  }
  Perform(service->queue, [service, name = std::string(name), user_data] {
    [[maybe_unused]] const Status added = service->service->AddResourceMethod(name, user_data);
    assert(added.ok());
  });
  return Status::Ok();
}

Status Opened(lever_service* service, uint64_t resource, lever_status status, const char* message,
              size_t message_size) {
  Status told;
  if (status != LEVER_OK) {
    LEVER_RETURN_IF_ERROR(ReadFailure(status, message, message_size, &told));
  }
  if (!service->resources.TakeOpened(resource, told.ok())) {
    return InvalidArgument("the resource is not being opened");
  }
  Perform(service->queue, [service, resource, told = std::move(told)] {
    service->service->ResourceOpened(resource, told);
  });
  return Status::Ok();
}

Status Closed(lever_service* service, uint64_t resource, lever_status status, int32_t kind,
              const lever_slice* slices, size_t count) {
  Status told;
  if (status != LEVER_OK) LEVER_RETURN_IF_ERROR(ReadFailure(status, nullptr, 0, &told));
  size_t bytes = 0;
  LEVER_ASSIGN_OR_RETURN(const auto pieces, ReadSlices(slices, count, &bytes));
  if (kind != LEVER_KIND_NONE && kind != LEVER_KIND_VALUE && kind != LEVER_KIND_RAW) {
    return InvalidArgument("what a resource carries is a value or raw bytes");
  }
  if (kind == LEVER_KIND_VALUE) LEVER_RETURN_IF_ERROR(value::CheckValue(pieces));
  SliceList state;
  if (kind != LEVER_KIND_NONE) state = CopyPayload(pieces, bytes);
  if (!service->resources.TakeClosed(resource)) {
    return InvalidArgument("the resource is not being closed");
  }
  Perform(service->queue, [service, resource, told = std::move(told), kind,
                           state = std::move(state)] {
    [[maybe_unused]] const Status closed = service->service->ResourceClosed(
        resource, told, ReadKind(kind), kind == LEVER_KIND_NONE ? nullptr : &state);
    assert(closed.ok());
  });
  return Status::Ok();
}

}  // namespace
}  // namespace lever::capi

using lever::capi::CheckService;

lever_status lever_service_set_resource(lever_service* service,
                                        const lever_resource_options* options,
                                        lever_error** error) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) {
    return lever::capi::Return({status, ""}, error);
  }
  return lever::capi::Return(lever::capi::SetResource(service, options), error);
}

lever_status lever_service_add_resource_method(lever_service* service, const char* name,
                                               size_t size, void* user_data) {
  if (const lever_status status = CheckService(service); status != LEVER_OK) return status;
  return lever::capi::AddResourceMethod(service, lever::capi::ReadText(name, size), user_data)
      .code();
}

lever_status lever_resource_opened(lever_service* service, uint64_t resource, lever_status status,
                                   const char* message, size_t message_size) {
  if (const lever_status usable = CheckService(service); usable != LEVER_OK) return usable;
  return lever::capi::Opened(service, resource, status, message, message_size).code();
}

lever_status lever_resource_closed(lever_service* service, uint64_t resource, lever_status status,
                                   int32_t kind, const lever_slice* slices, size_t count) {
  if (const lever_status usable = CheckService(service); usable != LEVER_OK) return usable;
  return lever::capi::Closed(service, resource, status, kind, slices, count).code();
}
