// How a gRPC call's end is told on the wire: trailers, HTTP statuses, error codes of RST_STREAM.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Errors") and
// doc/http-grpc-status-mapping.md. Functions only; any thread.
#ifndef LIBLEVER_RPC_GRPC_STATUS_H_
#define LIBLEVER_RPC_GRPC_STATUS_H_

#include <cstdint>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/rpc/headers.h"

namespace lever::rpc {

// What a content type says (RFC 9110 section 8.3: without regard to case).
enum class ContentKind : uint8_t {
  kGrpc,            // application/grpc, alone or with +proto, with or without parameters
  kGrpcOtherCodec,  // application/grpc with another suffix
  kOther,
};
ContentKind ClassifyContentType(std::string_view content_type);

// Appends grpc-status and grpc-message, and lever-executed where `status` surely did not run.
enum class Replied : bool { kNo, kYes };  // whether a message of the reply came before
void AppendStatus(const Status& status, Replied replied, HeaderList* trailers);

// The status in `trailers`. Where grpc-status is missing or is no number, what gRPC makes of the
// HTTP status. `lever-executed: no` counts unless a message came before.
Status ReadStatus(const HeaderList& trailers, std::string_view http_status, Replied replied);

// For a response that is not gRPC at all.
lever_status CodeFromHttpStatus(std::string_view http_status);

// What a stream's error code means to a client.
Status StatusFromReset(uint32_t error_code);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_GRPC_STATUS_H_
