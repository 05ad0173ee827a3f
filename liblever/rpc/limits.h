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
// The same for writing: so many fills of the output buffer.
inline constexpr size_t kWriteRoundsPerTurn = 4;
// Room that a receive buffer must still have for another read: a frame's worth.
inline constexpr size_t kReceiveRoomMin = kFrameBytesMax;
// Pieces of a body below this size are copied beside their frame header, since an iovec of their
// own costs more.
inline constexpr size_t kShareBytesMin = 1024;
// Pieces in one writev: 1 MiB in frames of 16 KiB is 64 headers and 64 bodies.
inline constexpr size_t kWritePiecesMax = 128;
// What a stream may send before the other streams of its connection get their turn.
inline constexpr size_t kStreamQuantumBytes = 64 * 1024;

// Streams that a connection keeps for reuse, and the text that one of their header lists keeps: at
// most 256 * 4 lists * 1 KiB = 1 MiB.
inline constexpr size_t kPooledStreamsMax = 256;
inline constexpr size_t kPooledHeaderBytesMax = 1024;

// Frames that cost us work and the peer nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty
// DATA. A connection may send `Burst` of them, gets `PerSecond` back, and earns
// kControlFramesEarned with every frame of use in either direction.
inline constexpr uint32_t kControlFramesBurst = 1000;
inline constexpr uint32_t kControlFramesPerSecond = 500;
inline constexpr uint32_t kControlFramesEarned = 2;
// RST_STREAM frames from the peer, and those that its errors made us send. A caller whose calls
// reach their deadline resets honestly, hence the rate.
inline constexpr uint32_t kResetsBurst = 2000;
inline constexpr uint32_t kResetsPerSecond = 1000;
// CONTINUATION frames after one HEADERS: 64 KiB of fields fit in 5 frames.
inline constexpr size_t kContinuationsMax = 8;
// PING and SETTINGS acknowledgements that wait to be written.
inline constexpr size_t kOutboundAcksMax = 1000;

// TLS messages after the handshake that carry none of the peer's bytes: KeyUpdate, tickets, attempts to
// renegotiate, alerts. An honest peer sends a KeyUpdate every 2^24 records, and a few tickets.
inline constexpr uint32_t kTlsMessagesBurst = 32;
inline constexpr uint32_t kTlsMessagesPerSecond = 1;
// Lines in the log about handshakes that failed: one in this time.
inline constexpr int64_t kTlsLogIntervalNs = 1 * kNanosPerSecond;

// Keepalive: PING after this long without a frame while calls are open, and dead after that.
inline constexpr int64_t kKeepaliveTimeNs = 20 * kNanosPerSecond;
inline constexpr int64_t kKeepaliveTimeoutNs = 10 * kNanosPerSecond;
// From accept to the complete client preface and SETTINGS.
inline constexpr int64_t kPrefaceTimeoutNs = 10 * kNanosPerSecond;
// From accept to the end of the TLS handshake; the preface has its own time after it.
inline constexpr int64_t kTlsHandshakeTimeoutNs = 10 * kNanosPerSecond;
inline constexpr int64_t kConnectTimeoutNs = 10 * kNanosPerSecond;
// Between the two GOAWAYs of a drain, if the PING between them is not answered sooner.
inline constexpr int64_t kGoawayPingTimeoutNs = 1 * kNanosPerSecond;
// A connection that ends in order waits this long for its output to be taken and the peer to close.
inline constexpr int64_t kLingerTimeoutNs = 2 * kNanosPerSecond;
// Reconnecting: 50 ms doubling to 5 s, with +-20 % of jitter.
inline constexpr int64_t kReconnectMinNs = 50 * kNanosPerMilli;
inline constexpr int64_t kReconnectMaxNs = 5 * kNanosPerSecond;

static_assert(kStreamWindowBytes <= kConnectionWindowBytes);
static_assert(kStreamQueuedBytesLow < kStreamQueuedBytesMax);
static_assert(kConnectionOutBytesMax < kConnectionOutBytesStalled);
static_assert(kReceiveBufferBytes >= kFrameBytesMax + 9, "a frame fits in one receive buffer");
static_assert(kReceiveRoomMin <= kReceiveBufferBytes / 2);
static_assert(kShareBytesMin < kFrameBytesMax);
static_assert(kStreamQuantumBytes <= kConnectionOutBytesMax);
static_assert(kContinuationsMax * kFrameBytesMax >= kHeaderListBytesMax);
static_assert(kMessageBytesMax >= kStreamWindowBytes);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_LIMITS_H_
