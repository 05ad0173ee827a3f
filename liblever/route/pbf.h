// Fields of protobuf messages as labels of a switch over pbf_reader::tag_and_type().
//
// protozero asserts that a field is read as the wire type that it has, and input has any. Whoever
// reads input therefore looks at tag and type together, and skips what is of another type, as
// protobuf's own parsers do. For the same reason a bool is read with get_uint64(): get_bool() looks
// at its first byte before it has seen that there is one.
//
// Functions without state; any thread.
#ifndef LIBLEVER_ROUTE_PBF_H_
#define LIBLEVER_ROUTE_PBF_H_

#include <cstdint>
#include <protozero/types.hpp>

namespace lever::route {

constexpr uint32_t VarintField(uint32_t number) {
  return protozero::tag_and_type(number, protozero::pbf_wire_type::varint);
}
// Strings, bytes and messages.
constexpr uint32_t BytesField(uint32_t number) {
  return protozero::tag_and_type(number, protozero::pbf_wire_type::length_delimited);
}

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_PBF_H_
