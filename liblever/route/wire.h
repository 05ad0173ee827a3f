// The names that a call bears on the wire: paths, headers, defaults. docs/wire.md tells their meaning.
#ifndef LIBLEVER_ROUTE_WIRE_H_
#define LIBLEVER_ROUTE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "liblever/base/clock.h"

namespace lever::route {

inline constexpr std::string_view kInvokePath = "/lever.v1.Lever/Invoke";
inline constexpr std::string_view kStreamPath = "/lever.v1.Lever/Stream";
inline constexpr std::string_view kAttachPath = "/lever.v1.Host/Attach";
inline constexpr std::string_view kWatchPath = "/lever.v1.Host/Watch";
inline constexpr std::string_view kHealthCheckPath = "/grpc.health.v1.Health/Check";

// Headers. User metadata whose names begin with one of the two prefixes is dropped.
inline constexpr std::string_view kReservedPrefix = "lever-";
inline constexpr std::string_view kGrpcPrefix = "grpc-";
inline constexpr std::string_view kUrlHeader = "lever-url";            // without the resource
inline constexpr std::string_view kResourceHeader = "lever-resource";  // never indexed
// "<shard>.<generation>" of the resource's owner, as the caller or the host believes. As a trailer, in a
// refusal by one that is not the owner (any more): the highest generation that it knows of.
inline constexpr std::string_view kGenerationHeader = "lever-gen";
// A trailer of such a refusal: the id of the instance that owns the shard now, where it is known.
inline constexpr std::string_view kOwnerTrailer = "lever-owner";
// Of a stream of a resource: the caller can have it go on elsewhere; of its answer: so can the resource.
inline constexpr std::string_view kResumeHeader = "lever-resume";
inline constexpr std::string_view kResumeYes = "1";
inline constexpr std::string_view kAttemptHeader = "lever-attempt";    // the caller retries by itself
// "true" or "false": whether the caller goes to the canary of the service, where there is one.
inline constexpr std::string_view kCanaryHeader = "lever-canary";
inline constexpr std::string_view kProtoHeader = "lever-proto";
inline constexpr std::string_view kCallerHeader = "lever-caller";      // believed from hosts only
inline constexpr std::string_view kProtoVersion = "1";
// Who calls, over a connection to an instance's own address with "tls:" (token.h): with the first call, and
// never indexed.
inline constexpr std::string_view kTokenHeader = "lever-token";
// Trailer of a refusal by an instance that runs as many calls as it may: another one may have room,
// and a host lets the call wait.
inline constexpr std::string_view kRefusedTrailer = "lever-refused";
inline constexpr std::string_view kRefusedFull = "full";
// Trailer of a refusal by a host for which too much waits: not again before (gRFC A6).
inline constexpr std::string_view kPushbackTrailer = "grpc-retry-pushback-ms";

// What is negotiated on the attach and watch streams.
inline constexpr uint32_t kSessionProtocol = 1;

inline constexpr int64_t kUnaryTimeoutNs = 60 * kNanosPerSecond;
// Introductions that a peer may leave unanswered.
inline constexpr size_t kIntroductionsUnansweredMax = 64;
// A packet of the introduction socket: identities and ids only.
inline constexpr size_t kIntroductionBytesMax = 4096;

// Whether a header of user code's may cross the wire.
inline bool IsUserHeader(std::string_view name) {
  return !name.starts_with(kReservedPrefix) && !name.starts_with(kGrpcPrefix) && !name.empty() &&
         name[0] != ':';
}

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_WIRE_H_
