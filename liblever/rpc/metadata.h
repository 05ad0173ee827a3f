// Metadata: the header fields of a call that belong to its user, between program and wire.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Custom-Metadata"). A field
// whose name ends in "-bin" holds bytes: base64 on the wire (written without padding, read with or
// without, joined values separated by commas), raw to the program. Functions only; any thread.
#ifndef LIBLEVER_RPC_METADATA_H_
#define LIBLEVER_RPC_METADATA_H_

#include <string_view>

#include "liblever/base/status.h"
#include "liblever/rpc/headers.h"

namespace lever::rpc {

// Fields that HTTP/2, gRPC and this folder keep for themselves: pseudo headers, grpc-*, te,
// content-type, user-agent, those of a connection, and lever-executed. No metadata sets them.
bool IsReservedHeader(std::string_view name);

// Whether a field may be sent as metadata: a name of a-z 0-9 - _ . that is not reserved, and for
// names without "-bin" a value of printable ASCII. INVALID_ARGUMENT says what is wrong.
Status CheckMetadata(std::string_view name, std::string_view value);

// Appends what may be sent, as it is on the wire, and leaves out what may not: whoever wants to
// tell a user asks CheckMetadata() before.
void AppendMetadata(const HeaderList& metadata, HeaderList* wire);

// Fills the list with a peer's metadata without the reserved fields; user-agent stays. INVALID_ARGUMENT for a
// "-bin" value that is not base64.
Status ReadMetadata(const HeaderList& wire, HeaderList* metadata);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_METADATA_H_
