// Structs of the C ABI that begin with their size, read and written by the rule of lever.h: what
// the caller's struct lacks is zero, and what it has beyond ours must be.
//
// Functions without state; any thread.
#ifndef LIBLEVER_CAPI_SIZED_H_
#define LIBLEVER_CAPI_SIZED_H_

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "liblever/base/status.h"

namespace lever::capi {

// Copies `given`, which begins with its size, to the `known` zeroed bytes at `copy`. `what` names
// it in errors. INVALID_ARGUMENT: NULL, without a size, or with fields that are not known here.
Status CopySized(const void* given, const char* what, void* copy, size_t known);
// The same backwards: writes at most as many bytes as `out`, which begins with its size, has;
// zeroes what it has beyond ours, and leaves its size as it is.
Status WriteSized(const void* ours, size_t known, const char* what, void* out);

// All fields of a struct whose first member is `size_t size`.
template <typename T>
Status ReadSized(const T* given, const char* what, T* copy) {
  static_assert(offsetof(T, size) == 0);
  std::memset(copy, 0, sizeof(T));
  return CopySized(given, what, copy, sizeof(T));
}

// The same, where NULL stands for all defaults.
template <typename T>
Status ReadSizedOrDefaults(const T* given, const char* what, T* copy) {
  if (given != nullptr) return ReadSized(given, what, copy);
  std::memset(copy, 0, sizeof(T));
  return Status::Ok();
}

template <typename T>
Status WriteSized(const T& ours, const char* what, T* out) {
  static_assert(offsetof(T, size) == 0);
  return WriteSized(&ours, sizeof(T), what, out);
}

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_SIZED_H_
