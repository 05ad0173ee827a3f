// Every bound of the HTTP API, with its unit and the arithmetic beside it.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_LIMITS_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/clock.h"
#include "liblever/rpc/limits.h"
#include "liblever/value/limits.h"

namespace lever::gateway {

// The body of a unary request, and one line of a stream. What it becomes must fit in a message,
// too.
inline constexpr size_t kHttpBodyBytesMax = rpc::kMessageBytesMax;
// The text of one reply: a message, as large as JSON can make it.
inline constexpr size_t kHttpReplyBytesMax =
    value::kJsonExpansionMax * rpc::kMessageBytesMax + 1024;
// Bodies and replies of unary requests that one loop holds; above it new requests are refused.
inline constexpr size_t kHttpHeldBytesMax = size_t{256} << 20;

// Body bytes that are given to a handler and not yet consumed, as a stream's window on HTTP/2.
inline constexpr size_t kHttpWindowBytes = rpc::kStreamWindowBytes;

// ---- HTTP/1.1 ----
// Request line and fields, as they come over the wire.
inline constexpr size_t kHttp1HeadBytesMax = 64 * 1024;
inline constexpr size_t kHttp1FieldsMax = rpc::kHeaderFieldsMax;
// A chunk's size with its extensions, or all trailers.
inline constexpr size_t kHttp1ChunkHeadBytesMax = 8 * 1024;
// Empty lines before a request line (RFC 9112 section 2.2), in bytes.
inline constexpr size_t kHttp1BlankBytesMax = 8;
// What is read ahead of what is being worked on: the next requests of a pipeline wait in there, and
// in the kernel.
inline constexpr size_t kHttp1InputBytesMax = 128 * 1024;
inline constexpr size_t kHttp1ReadBytes = 64 * 1024;
inline constexpr size_t kHttp1ReadBytesPerTurn = 4 * kHttp1ReadBytes;
// Requests of a pipeline that are worked on in one turn, before other connections get theirs.
inline constexpr size_t kHttp1RequestsPerTurn = 64;
// What is left of a request's body after its reply is read and thrown away up to here, so that the
// connection can go on; beyond it, the connection ends.
inline constexpr size_t kHttp1DiscardBytesMax = 256 * 1024;

// From a request's first byte, or a connection's beginning, to the end of its head.
inline constexpr int64_t kHttp1HeadTimeoutNs = 10 * kNanosPerSecond;
// Between two requests.
inline constexpr int64_t kHttp1IdleTimeoutNs = 75 * kNanosPerSecond;
// A reply that is complete here, without progress towards its reader.
inline constexpr int64_t kHttp1StalledTimeoutNs = 60 * kNanosPerSecond;
// A connection that is to end waits this long for the peer to read what it was sent.
inline constexpr int64_t kHttp1LingerTimeoutNs = rpc::kLingerTimeoutNs;
// A peer that has vanished without a word: first probe, time between probes, how many.
inline constexpr int kKeepaliveIdleSeconds = 60;
inline constexpr int kKeepaliveIntervalSeconds = 10;
inline constexpr int kKeepaliveProbes = 6;

// ---- HTTP/2 ----
// What is left of a request's body after its reply: read and thrown away up to here, for so long.
inline constexpr size_t kHttp2DiscardBytesMax = 256 * 1024;
inline constexpr int64_t kHttp2LingerTimeoutNs = kNanosPerSecond;

static_assert(kHttp1HeadBytesMax <= kHttp1InputBytesMax);
static_assert(kHttp1ChunkHeadBytesMax <= kHttp1InputBytesMax);
static_assert(kHttpBodyBytesMax < kHttpHeldBytesMax);

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_LIMITS_H_
