// The structural check that every MessagePack value passes before any decoder sees it.
//
// One pass, no allocation on success, no recursion. Functions only; any thread.
//
// A value that passes
//  1. is one MessagePack value with no byte behind it;
//  2. has at most kDepthMax arrays and maps around its innermost value;
//  3. claims no more elements and bytes than it has: at each header, what is claimed there and what
//     the containers around it still claim fits in the bytes that are left, so that a decoder may
//     reserve what a header says;
//  4. has only valid UTF-8 in its strings.
// Anything else is INVALID_ARGUMENT with the offset in the message. What extensions hold is not
// looked at.
//
// Messages arrive in pieces. The check runs over the pieces as they lie, so that nothing is joined
// for its sake; a header or a string may be cut anywhere.
#ifndef LIBLEVER_VALUE_CHECK_H_
#define LIBLEVER_VALUE_CHECK_H_

#include <cstdint>
#include <span>

#include "liblever/base/status.h"

struct lever_slice;

namespace lever {
class Slice;
}

namespace lever::value {

using Bytes = std::span<const uint8_t>;

Status CheckValue(Bytes value);
Status CheckValue(std::span<const Bytes> pieces);
Status CheckValue(std::span<const Slice> pieces);
Status CheckValue(std::span<const lever_slice> pieces);

// The same for a request's `value`, which is the array of arguments; returns how many there are.
StatusOr<uint32_t> CheckArguments(Bytes value);
StatusOr<uint32_t> CheckArguments(std::span<const Bytes> pieces);
StatusOr<uint32_t> CheckArguments(std::span<const Slice> pieces);
StatusOr<uint32_t> CheckArguments(std::span<const lever_slice> pieces);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_CHECK_H_
