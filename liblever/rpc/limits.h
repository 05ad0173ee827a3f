// Every bound of the data plane, in one place, with its unit and the arithmetic beside it.
#ifndef LIBLEVER_RPC_LIMITS_H_
#define LIBLEVER_RPC_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::rpc {

// HTTP/2 flow control. A stream that nobody reads holds at most one window.
inline constexpr uint32_t kStreamWindowBytes = 256 * 1024;
// Given back on receipt, so that a paused stream holds up no other. 4 MiB of bytes in flight fill
// 10 Gbit/s at 3 ms round trip.
inline constexpr uint32_t kConnectionWindowBytes = 4 * 1024 * 1024;
inline constexpr uint32_t kFrameBytesMax = 16 * 1024;       // SETTINGS_MAX_FRAME_SIZE, the default
inline constexpr uint32_t kStreamsPerConnectionMax = 1000;  // SETTINGS_MAX_CONCURRENT_STREAMS
inline constexpr uint32_t kHeaderTableBytes = 4096;         // SETTINGS_HEADER_TABLE_SIZE

// A header block, counted as RFC 9113 section 6.5.2 does (name + value + 32 a field) while it is
// decoded, before anything of it is kept.
inline constexpr size_t kHeaderListBytesMax = 64 * 1024;
inline constexpr size_t kHeaderFieldsMax = 256;

// One gRPC message, either way.
inline constexpr size_t kMessageBytesMax = 4 * 1024 * 1024;
inline constexpr size_t kGrpcPrefixBytes = 5;

// Bytes that a stream may have queued for writing before Writable() is false.
inline constexpr size_t kStreamQueuedBytesMax = 256 * 1024;
// Writable again when below half.
inline constexpr size_t kStreamQueuedBytesLow = kStreamQueuedBytesMax / 2;
// Bytes of frames that a connection collects for its socket before it stops asking for more.
inline constexpr size_t kConnectionOutBytesMax = 1024 * 1024;
// Unsent bytes at which a connection reads nothing more from a peer that does not read us.
inline constexpr size_t kConnectionOutBytesStalled = 4 * kConnectionOutBytesMax;

inline constexpr size_t kReceiveBufferBytes = 64 * 1024;
// Bytes that one connection reads in one turn before others get theirs.
inline constexpr size_t kReadBytesPerTurn = 4 * kReceiveBufferBytes;

// Keepalive: PING after this long without a frame while calls are open, and dead after that.
inline constexpr int64_t kKeepaliveTimeNs = 20 * kNanosPerSecond;
inline constexpr int64_t kKeepaliveTimeoutNs = 10 * kNanosPerSecond;
// From accept to the complete client preface and SETTINGS.
inline constexpr int64_t kPrefaceTimeoutNs = 10 * kNanosPerSecond;
inline constexpr int64_t kConnectTimeoutNs = 10 * kNanosPerSecond;
// Between the two GOAWAYs of a drain, if the PING between them is not answered sooner.
inline constexpr int64_t kGoawayPingTimeoutNs = 1 * kNanosPerSecond;
// Reconnecting: 50 ms doubling to 5 s, with +-20 % of jitter.
inline constexpr int64_t kReconnectMinNs = 50 * kNanosPerMilli;
inline constexpr int64_t kReconnectMaxNs = 5 * kNanosPerSecond;

static_assert(kStreamWindowBytes <= kConnectionWindowBytes);
static_assert(kStreamQueuedBytesLow < kStreamQueuedBytesMax);
static_assert(kConnectionOutBytesMax < kConnectionOutBytesStalled);
static_assert(kReceiveBufferBytes >= kFrameBytesMax + 9, "a frame fits in one receive buffer");
static_assert(kMessageBytesMax >= kStreamWindowBytes);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_LIMITS_H_
