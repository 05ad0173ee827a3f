// What a POST to a method asks for, read from the head of its request.
//
// Functions without state; any thread.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_REQUEST_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/gateway/http_call.h"
#include "liblever/host/gateway/http_exchange.h"

namespace lever::gateway {

struct MethodRequest {
  HttpCallRequest call;
  bool bytes_in = false;   // the body is one argument of bytes
  bool bytes_out = false;  // bytes come back as they are, not as JSON
  rpc::HeaderList extra;   // fields of every reply
};

// Why a request is not served: with another HTTP status than the code's where that is not 0.
struct HttpRefusal {
  Status status;
  int http_status = 0;
};

// Fills `out`, or says why not; `now_ns` is the loop's clock. Nothing is looked up.
std::optional<HttpRefusal> ReadMethodRequest(const rpc::HeaderList& request, const HttpPeer& peer,
                                             int64_t now_ns, MethodRequest* out);

// The body's size if the request says it, at most UINT64_MAX.
std::optional<uint64_t> ContentLength(const rpc::HeaderList& request);

// The arguments of a call out of a JSON text: MessagePack, checked. A text of white space is none.
StatusOr<std::string> ReadArguments(std::string_view json);

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_REQUEST_H_
