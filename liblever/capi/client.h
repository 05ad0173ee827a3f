// lever_client: a client of the layer below, and what other threads may know of it.
//
// Threads: as each part says.
//
// Invariants
//  1. LEVER_EVENT_CLOSED is its last event: it waits for the layer below, and for every request
//  that
//     another thread was about to post when the client was closed (`starting`).
#ifndef LIBLEVER_CAPI_CLIENT_H_
#define LIBLEVER_CAPI_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "lever/lever.h"
#include "liblever/capi/object.h"
#include "liblever/capi/queue.h"
#include "liblever/client/client.h"

struct lever_client final : lever::capi::Object {
  lever_client(lever_queue* its_queue, void* its_user_data)
      : Object(lever::capi::ObjectKind::kClient), queue(its_queue), user_data(its_user_data) {}

  // ---- Any thread ----
  lever_queue* const queue;
  void* const user_data;
  std::atomic<bool> closing{false};
  std::atomic<bool> closed{false};  // the last event was fetched
  // Requests of other threads that are not carried out yet.
  std::atomic<uint32_t> starting{0};

  // One of `starting` is through. Any thread.
  void EndStart();

  // ---- Holding the word ----
  std::unique_ptr<lever::client::Client> client;
  bool below_closed = false;
  bool told_closed = false;
  // Tells LEVER_EVENT_CLOSED if its time has come.
  void TellClosed();

  struct Handler final : lever::client::ClientHandler {
    explicit Handler(lever_client* its_self) : self(its_self) {}
    void OnClosed(lever::client::Client&) override {
      self->below_closed = true;
      self->TellClosed();
    }
    lever_client* const self;
  } handler{this};
};

namespace lever::capi {

// OK, INVALID_ARGUMENT, FORKED; and CANCELLED if it is closed.
lever_status CheckClient(const lever_client* client);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_CLIENT_H_
