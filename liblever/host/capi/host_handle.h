// What a lever_host* points to. Made before its Host, which hands its address to a driver's callbacks.
#ifndef LIBLEVER_HOST_CAPI_HOST_HANDLE_H_
#define LIBLEVER_HOST_CAPI_HOST_HANDLE_H_

#include <atomic>
#include <memory>

#include "lever/host.h"
#include "liblever/base/fork.h"
#include "liblever/capi/object.h"
#include "liblever/host/capi/external_driver.h"
#include "liblever/host/capi/host.h"

struct lever_host final : lever::capi::Object {
  lever_host() : Object(lever::capi::ObjectKind::kHost) {}

  lever::ForkCheck fork_check;
  // Set while the host starts: reports may come before lever_host_start() returns. Null unless the
  // program has brought a driver.
  std::atomic<lever::host::ExternalDriver*> external{nullptr};
  std::unique_ptr<lever::host::Host> host;
};

#endif  // LIBLEVER_HOST_CAPI_HOST_HANDLE_H_
