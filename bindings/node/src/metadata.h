// Metadata as it crosses the border: for each field the length of its name in 2 bytes, the name,
// the length of its value in 4 bytes, the value; lengths with the low byte first. lib/metadata.js
// is the other side.
#ifndef BINDINGS_NODE_SRC_METADATA_H_
#define BINDINGS_NODE_SRC_METADATA_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lever/lever.h"

namespace lever::node {

size_t MetadataBytes(const lever_metadata* fields, size_t count);
// Writes as many bytes as MetadataBytes() says.
void WriteMetadata(const lever_metadata* fields, size_t count, uint8_t* out);
// False if the bytes are no such fields. The fields point into `data`.
bool ReadMetadata(const uint8_t* data, size_t size, std::vector<lever_metadata>* out);

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_METADATA_H_
