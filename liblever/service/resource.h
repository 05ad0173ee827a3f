// Resources: what a service says of them, and what it is told.
//
// A resource is a named thing of a service whose calls all go to one instance at a time, the owner of
// its shard. It is opened there before its first call and closed when it is idle or goes elsewhere.
#ifndef LIBLEVER_SERVICE_RESOURCE_H_
#define LIBLEVER_SERVICE_RESOURCE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "liblever/base/clock.h"
#include "liblever/base/slice.h"
#include "liblever/route/envelope.h"

namespace lever::service {

inline constexpr int64_t kResourceIdleNs = 180 * kNanosPerSecond;
// What a program may take to close one.
inline constexpr int64_t kCloseTimeoutNs = 5 * kNanosPerSecond;
// What a closed resource may hand to its next owner; with its key in one value of the registry.
inline constexpr size_t kCarriedBytesMax = (size_t{1} << 20) - 64;
inline constexpr size_t kOpenResourcesMax = size_t{1} << 20;

struct ResourceOptions {
  uint32_t concurrency_max = 0;  // calls of one resource at a time; 1: serial, 0: any number
  int64_t idle_timeout_ns = 0;   // 0: kResourceIdleNs
  // Its streams go on where it moves to: those of callers that can do so are told OnMoving(), and come
  // again with a point from which they are resumed. The others end UNAVAILABLE.
  bool resumes = false;
};

// What a resource is opened with. The numbers are those of lever_resource_origin.
enum class Origin : uint8_t {
  kNew = 0,
  kCarried = 1,  // with what it was closed with elsewhere
  kLost = 2,     // it may have been open elsewhere, and what it was is gone
};

// Why it is closed. The numbers are those of lever_close_reason.
enum class CloseReason : uint8_t {
  kIdle = 0,
  kMoved = 1,     // to another instance
  kUpgrade = 2,   // to an instance of another version
  kStopping = 3,  // the instance stops
  kLost = 4,      // it is another's already: nothing is carried
};
inline bool Carries(CloseReason reason) {
  return reason == CloseReason::kMoved || reason == CloseReason::kUpgrade ||
         reason == CloseReason::kStopping;
}

struct ResourceOpening {
  uint64_t id = 0;        // of this opening; never used again
  std::string_view name;  // decoded
  uint64_t generation = 0;
  Origin origin = Origin::kNew;
  route::Kind kind = route::Kind::kNone;  // of the state that was carried
  SliceList state;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_RESOURCE_H_
