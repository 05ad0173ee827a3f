// Every bound of the data plane, in one place, with its unit and the arithmetic beside it.
// docs/limits.md has them for users: what happens at each, and which counter says so. A test keeps
// the two alike.
#ifndef LIBLEVER_RPC_LIMITS_H_
#define LIBLEVER_RPC_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/clock.h"

namespace lever::rpc {

// HTTP/2 flow control. A stream that nobody reads holds at most one window; what fits in it is what a
// stream can have on its way: at 256 KiB sender and receiver wait for each other's wake-ups, and one
// stream carries less than half as much.
inline constexpr uint32_t kStreamWindowBytes = 1024 * 1024;
// Given back on receipt, so that a paused stream holds up no other. 4 MiB of bytes in flight fill
// 10 Gbit/s at 3 ms round trip.
inline constexpr uint32_t kConnectionWindowBytes = 4 * 1024 * 1024;
inline constexpr uint32_t kFrameBytesMax = 16 * 1024;       // SETTINGS_MAX_FRAME_SIZE, the default
inline constexpr uint32_t kStreamsPerConnectionMax = 1000;  // SETTINGS_MAX_CONCURRENT_STREAMS
inline constexpr uint32_t kHeaderTableBytes = 4096;         // SETTINGS_HEADER_TABLE_SIZE

// A header block, counted as RFC 9113 section 6.5.2 does (name + value + 32 a field) while it is
// decoded, before anything of it is kept. Trailers are a block of their own.
inline constexpr size_t kHeaderListBytesMax = 64 * 1024;
inline constexpr size_t kHeaderFieldsMax = 256;
// The same block as it comes, compressed, over HEADERS and all its CONTINUATION frames; counted
// when a frame begins, before its bytes are read.
inline constexpr size_t kHeaderBlockBytesMax = 2 * kHeaderListBytesMax;

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

// ---- What is held for peers ----
// Held are: what is queued for a stream and not written, what was received on it and not given back
// to its window, and what its user says that he keeps (Stream::SetKept). A server's connection that
// holds more takes no new streams, and a stream of it that grows further is reset; those that hold
// no more than a frame go on.
inline constexpr size_t kConnectionHeldBytesMax = 128 * 1024 * 1024;
// Above this the same holds for every server's connection of the process that holds more than its
// free part, so that at most that much a connection is added.
inline constexpr size_t kProcessHeldBytesMax = 1024 * 1024 * 1024;
inline constexpr size_t kConnectionHeldBytesFree = 64 * 1024;
// A connection adds to the process's account what has changed by this much, at the end of a turn.
inline constexpr size_t kHeldFoldBytes = 16 * 1024;

// A relay's connection carries the calls of many, each of whom the relay limits by himself. It has the
// streams of so many: with those of one, a single caller of the relay could use them up, and the others'
// calls would wait.
inline constexpr uint32_t kCallersOfRelay = 8;

// Connections that a server takes, and a host over all its loops; more are closed at once.
inline constexpr size_t kConnectionsMax = 50'000;

inline constexpr size_t kReceiveBufferBytes = 64 * 1024;
// Bytes that one connection reads in one turn before others get theirs.
inline constexpr size_t kReadBytesPerTurn = 4 * kReceiveBufferBytes;
// And what these may ask of us, since small frames cost more than their bytes: a DATA frame
// kFrameWorkData, another kFrameWork and one more for every kFrameWorkBytes of it, as in a block of
// headers each byte may stand for a field. Some 150 warm requests, half a millisecond of a relay's time,
// or a few header bombs.
inline constexpr int64_t kFrameWorkPerTurn = 2048;
inline constexpr int64_t kFrameWorkData = 1;
inline constexpr int64_t kFrameWork = 8;
inline constexpr int64_t kFrameWorkBytes = 8;
// A server's peer has to earn that: it begins with some 20 requests a turn, gets more with each stream
// that ends in order and each DATA frame that it is sent, and loses some with each reset that counts
// against it. Who only opens streams, or comes back after it was cut off, stays behind those who call.
inline constexpr int64_t kFrameWorkFirst = 256;
inline constexpr int64_t kFrameWorkEarned = 16;
inline constexpr int64_t kFrameWorkLost = 64;
// Streams that hear in one turn of their connection's end.
inline constexpr size_t kStreamEndsPerTurn = 64;
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
// Of which an idle connection keeps this many.
inline constexpr size_t kPooledStreamsIdle = 1;

// Frames that cost us work and the peer nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, GOAWAY,
// unknown types, empty DATA, interim responses, and HEADERS of streams that are closed. A connection
// may send `Burst` of them, gets `PerSecond` back, and earns kControlFramesEarned with every frame of
// use in either direction.
inline constexpr uint32_t kControlFramesBurst = 1000;
inline constexpr uint32_t kControlFramesPerSecond = 500;
inline constexpr uint32_t kControlFramesEarned = 2;
// And with so many bytes of DATA that it is sent: a proxy that reads a stream through small buffers gives
// the windows of stream and connection back with each of them.
inline constexpr size_t kControlFrameBytesEarned = 2048;
// RST_STREAM frames from the peer, and those that its errors made us send. A caller whose calls
// reach their deadline resets honestly, hence the rate.
inline constexpr uint32_t kResetsBurst = 2000;
inline constexpr uint32_t kResetsPerSecond = 1000;
// nghttp2's own limit of the peer's resets, which stands behind ours: it would not say why.
inline constexpr uint32_t kResetsBurstBehind = kResetsBurst + kResetsBurst / 2;
// Streams that we have reset may still be answered: HEADERS and trailers of each are not counted.
inline constexpr uint32_t kLateHeadersPerReset = 2;
// CONTINUATION frames after one HEADERS: 64 KiB of fields fit in 5 frames.
inline constexpr size_t kContinuationsMax = 8;
// PING and SETTINGS acknowledgements that wait to be written.
inline constexpr size_t kOutboundAcksMax = 1000;

// TLS messages after the handshake that carry none of the peer's bytes: KeyUpdate, tickets, attempts to
// renegotiate, alerts. An honest peer sends a KeyUpdate every 2^24 records, and a few tickets.
inline constexpr uint32_t kTlsMessagesBurst = 32;
inline constexpr uint32_t kTlsMessagesPerSecond = 1;
// Lines in the log about handshakes that failed, and about peers that were cut off: one of each in this
// time.
inline constexpr int64_t kPeerLogIntervalNs = 1 * kNanosPerSecond;

// Keepalive: PING after this long without a frame while calls are open, and dead after that.
inline constexpr int64_t kKeepaliveTimeNs = 20 * kNanosPerSecond;
inline constexpr int64_t kKeepaliveTimeoutNs = 10 * kNanosPerSecond;
// From accept to the complete client preface and SETTINGS.
inline constexpr int64_t kPrefaceTimeoutNs = 10 * kNanosPerSecond;
// From accept to the end of the TLS handshake; the preface has its own time after it.
inline constexpr int64_t kTlsHandshakeTimeoutNs = 10 * kNanosPerSecond;
inline constexpr int64_t kConnectTimeoutNs = 10 * kNanosPerSecond;
// From the first byte of a header block to its last.
inline constexpr int64_t kHeadersTimeoutNs = 10 * kNanosPerSecond;
// The same for any other frame. 16 KiB in that time is what a modem did.
inline constexpr int64_t kFrameTimeoutNs = 30 * kNanosPerSecond;
// A connection from outside without any stream is closed in order after this long, whatever else
// comes over it. gRPC's clients open a new one with their next call.
inline constexpr int64_t kIdleTimeoutNs = 600 * kNanosPerSecond;
// A peer whose socket takes not a byte of what waits for it. Flow control never does that: whoever
// waits for his own user still reads the socket.
inline constexpr int64_t kOutputTimeoutNs = 60 * kNanosPerSecond;
// A reply that is complete here, of which the peer's window takes nothing. It holds one queue. While
// its method still runs, a stream may stand for as long as its user likes.
inline constexpr int64_t kReplyTimeoutNs = 300 * kNanosPerSecond;
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
static_assert(kFrameWorkFirst <= kFrameWorkPerTurn);
static_assert(kFrameWorkEarned > kFrameWork, "a warm request earns more than it costs");
static_assert(kShareBytesMin < kFrameBytesMax);
static_assert(kStreamQuantumBytes <= kConnectionOutBytesMax);
static_assert(kContinuationsMax * kFrameBytesMax >= kHeaderListBytesMax);
static_assert(kMessageBytesMax >= kStreamWindowBytes);
static_assert(kHeaderBlockBytesMax >= kHeaderListBytesMax);
static_assert(kHeaderBlockBytesMax <= (kContinuationsMax + 1) * kFrameBytesMax);
static_assert(kConnectionHeldBytesMax >= 2 * kMessageBytesMax, "a message in, and one out");
static_assert(kConnectionHeldBytesMax * 4 <= kProcessHeldBytesMax, "one peer is not the process");
static_assert(kConnectionHeldBytesFree >= kFrameBytesMax);
static_assert(kHeldFoldBytes < kConnectionHeldBytesFree);
static_assert(kConnectionHeldBytesFree * kConnectionsMax <= 4 * kProcessHeldBytesMax);
static_assert(kResetsBurst < kResetsBurstBehind);
static_assert(kControlFramesBurst >= kOutboundAcksMax);
static_assert(kStreamsPerConnectionMax <= kResetsBurst, "all streams may be cancelled at once");
static_assert(kKeepaliveTimeNs < kFrameTimeoutNs, "the timer of one looks after the other");
static_assert(kHeadersTimeoutNs <= kFrameTimeoutNs);
static_assert(kOutputTimeoutNs < kReplyTimeoutNs);
static_assert(kReplyTimeoutNs < kIdleTimeoutNs);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_LIMITS_H_
