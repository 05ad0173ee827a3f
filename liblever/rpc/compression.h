// Compression of single gRPC messages: gzip (RFC 1952), or none.
//
// Wire: gRPC's doc/compression.md. A call's headers name the encoding (grpc-encoding); the flag
// before each message says whether that one is compressed, so a stream may mix both.
//
// A message is inflated when it is whole, not as it arrives: the state of an inflater is larger
// (40 KiB) than most messages, and so is kept once a thread instead of once a call. Nothing is
// copied: the compressed pieces are read where they were received, and the message is written where
// it stays.
//
// Threads: any; the state lives in variables of the thread, from its first compressed message on.
//
// Invariants
//  1. Inflating writes at most the maximum that it is given, whatever the input claims, and
//     allocates in proportion to what the input could inflate to.
//  2. The checksum and the length behind each member of the input have been compared before a
//     message is given out.
#ifndef LIBLEVER_RPC_COMPRESSION_H_
#define LIBLEVER_RPC_COMPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"

namespace lever::rpc {

enum class Compression : uint8_t { kIdentity, kGzip };

inline constexpr std::string_view kEncodingHeader = "grpc-encoding";
inline constexpr std::string_view kAcceptEncodingHeader = "grpc-accept-encoding";
inline constexpr std::string_view kAcceptedEncodings = "identity,gzip";

// "gzip"; nothing for one that we do not know.
std::optional<Compression> CompressionFromName(std::string_view name);
std::string_view CompressionName(Compression compression);
// Whether the value of a grpc-accept-encoding field names it.
bool Accepts(std::string_view accept_encoding, Compression compression);

// The largest compressed form of a message of at most `message_bytes_max`: what gzip adds to bytes
// that do not compress, generously (5 bytes for 16 KiB and 18 in all are usual).
constexpr size_t CompressedBytesMax(size_t message_bytes_max) {
  return message_bytes_max + message_bytes_max / 1024 + 256;
}

// RESOURCE_EXHAUSTED for a message above `message_bytes_max`, INTERNAL for bytes that are not gzip.
// Several members one after the other are one message, as RFC 1952 section 2.2 has it.
StatusOr<SliceList> InflateGzip(std::span<const Slice> compressed, size_t message_bytes_max);

SliceList DeflateGzip(std::span<const Slice> message);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_COMPRESSION_H_
