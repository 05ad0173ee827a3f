// Ends a gRPC request on its HTTP/2 stream with a status of the host's own. Threads: the stream's loop.
#ifndef LIBLEVER_HOST_GATEWAY_GRPC_REPLY_H_
#define LIBLEVER_HOST_GATEWAY_GRPC_REPLY_H_

#include "liblever/base/status.h"
#include "liblever/rpc/connection.h"

namespace lever::gateway {

// When a caller may come again for whom there was no room: the longest that a service of which
// nothing is known takes to start (kStartUnknownNs of policy/scale.h).
inline constexpr int kRetryAfterSeconds = 1;

enum class HeadersSent : bool { kNo, kYes };

// grpc-status, grpc-message, and lever-executed where the method surely did not run: as trailers, or as
// a reply that is nothing else.
void SendGrpcStatus(rpc::Stream& stream, const Status& status, HeadersSent sent);

// A handler for a request that has been answered already: gives its bytes back and forgets them.
rpc::StreamHandler* IgnoreRequest();

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_GRPC_REPLY_H_
