// Payloads of messages as the bodies and lines of HTTP replies. Functions; any thread.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_VALUES_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_VALUES_H_

#include <optional>
#include <string>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/route/envelope.h"

namespace lever::gateway {

// A payload as JSON: bytes as {"$bytes":...}. INTERNAL if it is not what its kind says.
StatusOr<std::string> PayloadToJson(route::Kind kind, const SliceList& payload);

// The bytes of a payload that is bytes: raw, or one MessagePack binary.
std::optional<Slice> PayloadBytes(route::Kind kind, const SliceList& payload);

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_VALUES_H_
