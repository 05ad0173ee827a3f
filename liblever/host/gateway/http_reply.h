// Replies of the HTTP API: whole ones, and the words for what went wrong.
//
//   {"error":{"code":"NOT_FOUND","message":"...","executed":"no"}}  platform trouble, a reply's body
//   {"$error":{"code":...,"message":...,"executed":...}}            the same, a stream's last line
//   {"$error":{"value":...}}                                        a method's own error, likewise
//
// Functions without state; any thread, but for those that use an exchange.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_REPLY_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_REPLY_H_

#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/rpc/headers.h"

namespace lever::gateway {

inline constexpr std::string_view kTypeJson = "application/json";
inline constexpr std::string_view kTypeLines = "application/x-ndjson";
inline constexpr std::string_view kTypeBytes = "application/octet-stream";

// The list of codes has it, but for UNAVAILABLE: 503 only where the method surely did not run,
// which invites the client to send again; else 502.
int HttpStatusOf(const Status& status);
std::string ErrorBody(const Status& status);
// With its line feed. `value_json` is the method's own error.
std::string ErrorLine(const Status& status);
std::string MethodErrorLine(std::string_view value_json);

// `extra` fields go with every reply to the request (CORS).
void SendWhole(HttpExchange& exchange, int status, std::string_view content_type, Slice body,
               const rpc::HeaderList& extra);
// With the status of the code, or with another one.
void SendError(HttpExchange& exchange, const Status& status, const rpc::HeaderList& extra);
void SendError(HttpExchange& exchange, int http_status, const Status& status,
               const rpc::HeaderList& extra);

// Now, as the field `date` has it (RFC 9110 section 5.6.7).
std::string_view HttpDate();
std::string_view HttpReason(int status);

// A handler for a request that has been answered already.
HttpHandler* IgnoreBody();

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_REPLY_H_
