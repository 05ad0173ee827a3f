// What the HTTP requests of one loop share. Threads: those of its loop.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_CONTEXT_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_CONTEXT_H_

#include <cstddef>

#include "liblever/base/loop.h"
#include "liblever/host/gateway/relay.h"
#include "liblever/host/gateway/router.h"

namespace lever::gateway {

struct HttpContext {
  Loop* loop = nullptr;
  Router* router = nullptr;
  RelayCounters* counters = nullptr;
  size_t held_bytes = 0;  // bodies and replies of unary requests; see kHttpHeldBytesMax
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_CONTEXT_H_
