// lever_client_*: clients as programs see them.
#include "liblever/capi/client.h"

#include <string>
#include <utility>

#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/service.h"
#include "liblever/capi/sized.h"
#include "liblever/capi/tls.h"
#include "liblever/route/host_link.h"

namespace lever::capi {
namespace {

// The service whose attachment the client uses; null: it goes to a host by itself.
StatusOr<lever_service*> ServiceOf(lever_queue* queue, const lever_client_options& options) {
  if (options.service == nullptr) {
    const bool by_itself =
        options.host != nullptr || options.echo != 0 || options.in_process != 0;
    return by_itself ? nullptr : queue->instance.load();
  }
  if (options.host != nullptr) return InvalidArgument("host: not together with a service");
  if (!IsOurs(options.service, ObjectKind::kService) || options.service->queue != queue) {
    return InvalidArgument("service: not a service of this queue");
  }
  if (options.service->closing.load()) return Cancelled("the service is closed");
  return options.service;
}

StatusOr<client::ClientOptions> ToClientOptions(lever_queue* queue,
                                                const lever_client_options& options,
                                                lever_service** service) {
  client::ClientOptions to;
  LEVER_ASSIGN_OR_RETURN(*service, ServiceOf(queue, options));
  to.echo = options.echo != 0;
  if (options.in_process != 0 && options.host != nullptr) {
    return InvalidArgument("host: not together with in_process");
  }
  to.only_through_host = options.only_through_host != 0;
  if (options.message_bytes_max > kPayloadBytesMax) {
    return InvalidArgument("message_bytes_max: more than 1 GiB");
  }
  if (options.message_bytes_max != 0) to.message_bytes_max = options.message_bytes_max;
  to.host = ReadHost(options.host, options.host_size);
  // A client of a service goes the service's way.
  if (*service == nullptr && !to.echo && options.in_process == 0) {
    LEVER_ASSIGN_OR_RETURN(to.tls, ReadTlsOptions(options.tls, to.host));
  }
  to.environment = options.environment == nullptr && *service != nullptr
                       ? (*service)->details.load()->environment
                       : ReadEnvironment(options.environment, options.environment_size);
  return to;
}

// The way that the client shares with others; null: it opens its own to its host. Holding the word.
Status FindLink(lever_queue* queue, const lever_client_options& options, lever_service* service,
                std::shared_ptr<route::HostLink>* link) {
  if (service != nullptr) {
    if (options.in_process != 0 && !service->service->link()->in_process()) {
      return InvalidArgument("in_process: the service is not");
    }
    *link = service->service->link();
  } else if (options.in_process != 0) {
    LEVER_ASSIGN_OR_RETURN(*link, route::HostLink::InProcessOnly(queue->loop.get(),
                                                                 queue->in_process(), ""));
  }
  return Status::Ok();
}

Status Create(lever_queue* queue, const lever_client_options* given, lever_client** out) {
  lever_client_options options;
  LEVER_RETURN_IF_ERROR(ReadSizedOrDefaults(given, "lever_client_options", &options));
  lever_service* service = nullptr;
  LEVER_ASSIGN_OR_RETURN(client::ClientOptions to, ToClientOptions(queue, options, &service));
  auto client = std::make_unique<lever_client>(queue, options.user_data);
  Status opened;
  PerformAndWait(queue, [&] {
    opened = FindLink(queue, options, service, &to.link);
    if (!opened.ok()) return;
    auto below = client::Client::Open(queue->loop.get(), std::move(to), &client->handler);
    if (below.ok()) client->client = std::move(below).value();
    opened = below.status();
  });
  LEVER_RETURN_IF_ERROR(opened);
  queue->objects.fetch_add(1);
  *out = client.release();
  return Status::Ok();
}

}  // namespace

lever_status CheckClient(const lever_client* client) {
  if (!IsOurs(client, ObjectKind::kClient)) return LEVER_INVALID_ARGUMENT;
  if (client->queue->loop->Forked()) return LEVER_FORKED;
  return client->closing.load() ? LEVER_CANCELLED : LEVER_OK;
}

void MarkClosed(void* object) {
  if (IsOurs(static_cast<Object*>(object), ObjectKind::kClient)) {
    static_cast<lever_client*>(object)->closed.store(true);
  } else {
    static_cast<lever_service*>(object)->closed.store(true);
  }
}

}  // namespace lever::capi

void lever_client::TellClosed() {
  if (!below_closed || starting.load() != 0 || std::exchange(told_closed, true)) return;
  lever::capi::Completion* event = queue->NewEvent(LEVER_EVENT_CLOSED, nullptr);
  event->object = this;
  event->user_data = user_data;
}

void lever_client::EndStart() {
  if (starting.fetch_sub(1) != 1 || !closing.load()) return;
  lever::capi::Perform(queue, [this] { TellClosed(); });
}

using lever::capi::CheckClient;
using lever::capi::CheckQueue;
using lever::capi::Return;

lever_status lever_client_create(lever_queue* queue, const lever_client_options* options,
                                 lever_client** out, lever_error** error) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) {
    return Return({status, "queue: not usable"}, error);
  }
  if (out == nullptr) return Return(lever::InvalidArgument("out: NULL"), error);
  return Return(lever::capi::Create(queue, options, out), error);
}

lever_status lever_client_close(lever_client* client) {
  if (const lever_status status = CheckClient(client); status != LEVER_OK) return status;
  if (client->closing.exchange(true)) return LEVER_CANCELLED;
  lever::capi::Perform(client->queue, [client] { client->client->Close(); });
  return LEVER_OK;
}

lever_status lever_client_destroy(lever_client* client) {
  if (!lever::capi::IsOurs(client, lever::capi::ObjectKind::kClient)) {
    return LEVER_INVALID_ARGUMENT;
  }
  lever_queue* queue = client->queue;
  if (queue->loop->Forked()) {
    delete client;
  } else if (!client->closed.load()) {
    return LEVER_BUSY;
  } else {
    lever::capi::PerformAndWait(queue, [client] { delete client; });
  }
  queue->objects.fetch_sub(1);
  return LEVER_OK;
}

lever_status lever_client_get_stats(lever_client* client, lever_client_stats* out) {
  const lever_status status = CheckClient(client);
  if (status != LEVER_OK && status != LEVER_CANCELLED) return status;
  lever::client::ClientStats stats;
  lever::capi::PerformAndWait(client->queue, [&] { stats = client->client->stats(); });
  lever_client_stats ours{};
  ours.calls_direct = stats.calls_direct;
  ours.calls_through_host = stats.calls_through_host;
  ours.retries = stats.retries;
  ours.direct_connections = stats.direct_connections;
  return lever::capi::WriteSized(ours, "lever_client_stats", out).code();
}
