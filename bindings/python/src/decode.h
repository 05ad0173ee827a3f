// MessagePack to Python's objects.
//
//   maps              dict; lever.Map where a dict could not hold the entries (keys that are arrays, maps
//                     or extensions; keys that repeat, or are equal in Python as 1, 1.0 and True are)
//   binary            bytes
//   timestamps        datetime in UTC where that is exact, else lever.Timestamp
//   other extensions  lever.Ext
//
// Arrays as keys are not made tuples: all tuples of -1 and -2 of a length have the same hash, and a message
// of 4 MiB of such keys would keep a dict busy for minutes.
#ifndef BINDINGS_PYTHON_SRC_DECODE_H_
#define BINDINGS_PYTHON_SRC_DECODE_H_

#include <cstddef>
#include <cstdint>

#include "lever/lever.h"
#include "ref.h"

namespace lever::python {

// One value that the library has checked (depth, counts, UTF-8), so that nothing here looks for the end of
// the bytes. Empty with an exception set.
Ref Decode(const uint8_t* data, size_t size);
// A payload of the library: a value, bytes, or None without one.
Ref DecodePayload(int kind, const lever_slice* slices, size_t count);

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_DECODE_H_
