// lever_service: a service of the layer below, and what other threads may know of it.
//
// Threads: as each part says.
//
// Invariants
//  1. Requests that were offered and are not over are in `requests`; when the service is closed,
//  the
//     ids of those that nobody has answered are over before LEVER_EVENT_CLOSED.
//  2. What lever_service_get_details() has given out lives as long as the service.
#ifndef LIBLEVER_CAPI_SERVICE_H_
#define LIBLEVER_CAPI_SERVICE_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "lever/lever.h"
#include "liblever/capi/object.h"
#include "liblever/capi/open_resources.h"
#include "liblever/capi/queue.h"
#include "liblever/capi/slot.h"
#include "liblever/service/service.h"

namespace lever::capi {

class ServiceEvents final : public service::ServiceHandler {
 public:
  explicit ServiceEvents(lever_service* self) : self_(self) {}
  void OnState(service::Service&, service::State state, const Status& status) override;
  void OnIncomingCall(service::Service&, service::IncomingCall& call) override;
  void OnIncomingStream(service::Service&, service::IncomingStream& stream) override;
  void OnCancelled(service::Service&, service::IncomingCall& call) override;
  bool HasBegun(service::IncomingCall& call) override;
  bool HasBegun(service::IncomingStream& stream) override;
  void OnResourceOpen(service::Service&, const service::ResourceOpening& opening) override;
  void OnResourceClose(service::Service&, uint64_t resource, service::CloseReason reason) override;
  void OnRefusing(service::Service&) override;
  void OnClosed(service::Service&) override;

 private:
  // Of streams that were refused before the program heard of them.
  struct Refused final : route::StreamHandler {
    void OnMessage(route::MessageStream&, route::Kind, SliceList) override {}
    void OnEnd(route::MessageStream&, route::Outcome) override {}
  };

  lever_service* const self_;
  Refused refused_;
};

}  // namespace lever::capi

struct lever_service final : lever::capi::Object {
  lever_service(lever_queue* its_queue, void* its_user_data)
      : Object(lever::capi::ObjectKind::kService),
        queue(its_queue),
        user_data(its_user_data),
        gate(its_queue->NewGate()) {}

  // ---- Any thread ----
  lever_queue* const queue;
  void* const user_data;
  lever::capi::ServiceGate* const gate;
  std::atomic<bool> closing{false};
  std::atomic<bool> closed{false};  // the last event was fetched
  std::atomic<const lever::service::Details*> details{nullptr};
  // What is settled before it starts, under `setup_mutex`.
  std::mutex setup_mutex;
  std::set<std::string, std::less<>> methods;
  bool has_resources = false;
  std::set<std::string, std::less<>> resource_methods;
  bool started = false;
  lever::capi::OpenResources resources;

  // ---- Holding the word ----
  std::unique_ptr<lever::service::Service> service;
  lever::capi::SlotList<lever::capi::OfServiceTag> requests;
  std::vector<std::unique_ptr<lever::service::Details>> all_details;
  // Takes what the layer below knows now for lever_service_get_details().
  void KeepDetails();

  lever::capi::ServiceEvents events{this};
};

namespace lever::capi {

// OK, INVALID_ARGUMENT, FORKED; and CANCELLED if it is closed.
lever_status CheckService(const lever_service* service);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_SERVICE_H_
