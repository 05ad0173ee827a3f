// What every opaque object of the C ABI begins with: which copy of the library made it, and what it
// is.
//
// Two copies of Lever may be in one process (liblever and liblever-host, or two versions). An
// object of the other copy is refused by its first eight bytes, which stay where they are in every
// version.
//
// Any thread.
#ifndef LIBLEVER_CAPI_OBJECT_H_
#define LIBLEVER_CAPI_OBJECT_H_

#include <cstdint>

namespace lever::capi {

// The number of this copy of the library: another one for each copy that is loaded.
uint64_t BuildId();

enum class ObjectKind : uint32_t { kError = 1, kQueue = 2, kClient = 3, kService = 4, kHost = 5 };

// The first base of the handles, which have no virtual functions, so that it is what they begin
// with.
struct Object {
  explicit Object(ObjectKind object_kind) : build_id(BuildId()), kind(object_kind) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const uint64_t build_id;
  const ObjectKind kind;
};

// Whether a handle that came in is an object of that kind, made by this copy of the library.
inline bool IsOurs(const Object* object, ObjectKind kind) {
  return object != nullptr && object->build_id == BuildId() && object->kind == kind;
}

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_OBJECT_H_
