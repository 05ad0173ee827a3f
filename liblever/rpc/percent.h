// The value of the trailer grpc-message: UTF-8 with all but printable ASCII, and '%', as %XX.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Percent-Encoded").
// Functions only; any thread.
#ifndef LIBLEVER_RPC_PERCENT_H_
#define LIBLEVER_RPC_PERCENT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace lever::rpc {

// Most peers refuse header blocks above 8 KiB, and the end of a call must get through: what a
// message has beyond this, encoded, is cut off.
inline constexpr size_t kGrpcMessageEncodedBytesMax = 4096;

// Cut to whole characters of UTF-8 where it is too long.
std::string EncodeGrpcMessage(std::string_view message);

// Never fails, and gives UTF-8: a '%' that begins no escape stays, text that does not decode to
// UTF-8 stays as it came, with '?' for what is not ASCII.
std::string DecodeGrpcMessage(std::string_view text);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_PERCENT_H_
