// What callers pass in, read into our own types: texts, payloads, metadata, kinds.
//
// Functions without state; any thread.
#ifndef LIBLEVER_CAPI_INPUTS_H_
#define LIBLEVER_CAPI_INPUTS_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "lever/lever.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/route/envelope.h"
#include "liblever/rpc/headers.h"

namespace lever::capi {

// One message; what a peer takes is less (4 MiB by default). It keeps the sums of what is queued in
// the bits that a slot has for them.
inline constexpr size_t kPayloadBytesMax = size_t{1} << 30;

// `size` may be LEVER_NUL_TERMINATED; NULL is an empty text.
std::string_view ReadText(const char* text, size_t size);
// As ReadText(), but NULL means what LEVER_HOST says, or else the host of this machine.
std::string ReadHost(const char* text, size_t size);
// As ReadText(), but NULL means what LEVER_ENV says, or else the default environment.
std::string ReadEnvironment(const char* text, size_t size);

// The pieces of a payload, and how many bytes they have. INVALID_ARGUMENT: a pointer is NULL;
// RESOURCE_EXHAUSTED: more than kPayloadBytesMax.
StatusOr<std::span<const lever_slice>> ReadSlices(const lever_slice* slices, size_t count,
                                                  size_t* bytes);
// A copy of them in one buffer.
SliceList CopyPayload(std::span<const lever_slice> slices, size_t bytes);

// lever_kind; anything else is Kind::kNone.
route::Kind ReadKind(int32_t kind);

// Appends what is the user's; fields that begin with "lever-" or "grpc-" are dropped.
// INVALID_ARGUMENT says which field cannot be sent, and why.
Status ReadMetadata(const lever_metadata* fields, size_t count, rpc::HeaderList* metadata);

// A status that a program ends a call or stream with: one that crosses the wire, and not OK.
Status ReadFailure(lever_status code, const char* message, size_t size, Status* failure);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_INPUTS_H_
