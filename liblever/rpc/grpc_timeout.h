// The value of the header grpc-timeout: at most 8 digits and a unit.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Timeout"). Functions only;
// any thread.
#ifndef LIBLEVER_RPC_GRPC_TIMEOUT_H_
#define LIBLEVER_RPC_GRPC_TIMEOUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lever::rpc {

inline constexpr std::string_view kTimeoutHeader = "grpc-timeout";

// The finest unit that holds it in 8 digits, rounded up, so that the server does not give up before
// the client does. `timeout_ns` is not negative.
std::string FormatGrpcTimeout(int64_t timeout_ns);

// What is left of a deadline as it is sent: rounded up, by 2 % at most, to a value that repeats from
// call to call. HPACK's table holds it then, which saves both ends more than any other field. The
// caller's own timer ends the call at the deadline itself.
int64_t CoarseTimeout(int64_t left_ns);

// Nanoseconds, kNever where they do not fit into 63 bits. Nothing for text that is not a timeout.
std::optional<int64_t> ParseGrpcTimeout(std::string_view text);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_GRPC_TIMEOUT_H_
