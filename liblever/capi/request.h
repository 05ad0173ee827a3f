// Starting a call or a stream of ours: options read, checked, and carried out or posted.
//
// Threads: any.
#ifndef LIBLEVER_CAPI_REQUEST_H_
#define LIBLEVER_CAPI_REQUEST_H_

#include <cstdint>

#include "lever/lever.h"
#include "liblever/base/status.h"

namespace lever::capi {

enum class RequestKind : uint8_t { kCall, kStream };

// What lever_call_start() and lever_stream_open() do. `client` is open; `out` is not null.
Status StartRequest(lever_client* client, const lever_call_options* options, RequestKind kind,
                    uint64_t* out);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_REQUEST_H_
