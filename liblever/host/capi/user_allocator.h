// Which user id a service runs under, if the host is root: one of its own out of a range, so that
// services cannot read, signal or trace each other. The range and the idea are those of systemd's
// DynamicUser (systemd.exec(5)).
//
// A service keeps its id for the life of the host, and mostly over it: where to look for a free id
// begins at a hash of its name. Threads: single-threaded (the control loop).
//
// Invariants
//  1. No two services of a host have the same id, and no service has one that the machine's user
//     database knows.
//  2. Without a range everybody runs as the host itself.
#ifndef LIBLEVER_HOST_CAPI_USER_ALLOCATOR_H_
#define LIBLEVER_HOST_CAPI_USER_ALLOCATOR_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "liblever/base/status.h"
#include "liblever/host/scale/directory.h"

namespace lever::host {

struct UserIdRange {
  uint32_t first = 0;
  uint32_t last = 0;  // included
};

// "61184-65519". INVALID_ARGUMENT for anything that is no range of ids other than root's.
StatusOr<UserIdRange> ParseUserIdRange(std::string_view text);

class UserAllocator {
 public:
  explicit UserAllocator(std::optional<UserIdRange> range) : range_(range) {}

  // RESOURCE_EXHAUSTED: every id of the range is a service's already. fleet::kSameUser without a range.
  StatusOr<uint32_t> UserOf(const scale::ServiceName& name);

  // An id for something else, of which it is to be nobody else's until Return().
  // FAILED_PRECONDITION without a range.
  StatusOr<uint32_t> Take();
  void Return(uint32_t uid) { taken_.erase(uid); }

 private:
  // The first free one, from `start` places after the first on. 0: none is left.
  uint32_t Allocate(uint64_t start);

  std::optional<UserIdRange> range_;
  std::map<std::pair<std::string, std::string>, uint32_t> users_;
  std::set<uint32_t> taken_;
  uint64_t next_ = 0;  // where Take() looks first: so that an id comes again late
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_USER_ALLOCATOR_H_
