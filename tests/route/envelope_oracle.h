// Where the envelope's reader and protobuf's own parser may differ, and why.
#ifndef TESTS_ROUTE_ENVELOPE_ORACLE_H_
#define TESTS_ROUTE_ENVELOPE_ORACLE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "liblever/route/envelope.h"

namespace lever::route {

// Whether `bytes` has what the envelope refuses on purpose: a group, a tag of more than 32 bits, or
// too many fields. Walks only what protobuf has accepted.
inline bool RefusedOnPurpose(std::string_view bytes) {
  size_t fields = 0;
  while (!bytes.empty()) {
    const auto varint = [&]() -> uint64_t {
      uint64_t value = 0;
      for (int shift = 0; !bytes.empty(); shift += 7) {
        const auto byte = static_cast<unsigned char>(bytes[0]);
        bytes.remove_prefix(1);
        if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) break;
      }
      return value;
    };
    const uint64_t tag = varint();
    if (++fields > kEnvelopeFieldsMax || tag > UINT32_MAX) return true;
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        bytes.remove_prefix(std::min<size_t>(8, bytes.size()));
        break;
      case 2: {
        const uint64_t size = varint();
        bytes.remove_prefix(std::min<uint64_t>(size, bytes.size()));
        break;
      }
      case 5:
        bytes.remove_prefix(std::min<size_t>(4, bytes.size()));
        break;
      default:
        return true;
    }
  }
  return false;
}

// Whether a tag or a length may be written in more than the five bytes that protobuf reads.
inline bool HasLongVarint(std::string_view bytes) {
  size_t run = 0;
  for (const char byte : bytes) {
    run = (byte & 0x80) != 0 ? run + 1 : 0;
    if (run >= 5) return true;
  }
  return false;
}

}  // namespace lever::route

#endif  // TESTS_ROUTE_ENVELOPE_ORACLE_H_
