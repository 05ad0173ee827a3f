// The bounds of values: how deep, how large, and what converting them may cost.
//
// Constants only. The relations between them are asserted here, so that a change that breaks one
// does not compile.
#ifndef LIBLEVER_VALUE_LIMITS_H_
#define LIBLEVER_VALUE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace lever::value {

// Arrays and maps around the innermost value. `[]` has depth 1.
inline constexpr uint32_t kDepthMax = 128;

// Brackets around the innermost JSON value. A map in its `$map` form takes three (the object, the
// list, the pair), and the innermost value may be a `$ext` (two more).
inline constexpr uint32_t kJsonDepthMax = 3 * kDepthMax + 2;

// Text of one JSON value, read or written. Far above the largest message (4 MiB by default); it is
// what keeps offsets in 32 bits.
inline constexpr size_t kJsonBytesMax = size_t{256} << 20;

// JSON -> MessagePack, bytes a byte, at most: `1e0,` is 4 bytes and becomes a float64 of 9.
inline constexpr size_t kMessagePackExpansionMax = 3;
static_assert(kJsonBytesMax * kMessagePackExpansionMax < UINT32_MAX);

// MessagePack -> JSON, bytes a byte, at most: each level of [81 81 81 .. c2 c2 c2], two bytes, is
// written as `{"$map":[[` `,false]]}`, 19 bytes.
inline constexpr size_t kJsonExpansionMax = 10;

// What one conversion may allocate in all, freed memory counted too: 64 bytes a byte of input and
// 64 KiB. A test counts.
inline constexpr size_t kAllocationPerInputByteMax = 64;
inline constexpr size_t kAllocationFixedMax = size_t{64} << 10;

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_LIMITS_H_
