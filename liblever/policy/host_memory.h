// What the instances on a host may reserve of its memory, and which of them give way to one that is
// needed more.
//
// An instance reserves its service's `ram` from the decision to start it until its process has ended.
// The last part of the memory is for first instances alone: a service that grows cannot keep one that
// has none from answering. Where there is no memory, instances that do nothing give way, those first
// that have done nothing for longest.
//
// Pure: no I/O, no clock. Any thread, one at a time.
#ifndef LIBLEVER_POLICY_HOST_MEMORY_H_
#define LIBLEVER_POLICY_HOST_MEMORY_H_

#include <cstdint>
#include <vector>

#include "liblever/base/clock.h"

namespace lever::policy {

// One part of so many is for first instances.
inline constexpr uint64_t kFirstInstancesPart = 8;
// An instance that was active within this time does not give way: a caller that calls again and again
// would start it again at once.
inline constexpr int64_t kGiveWayAfterNs = 1 * kNanosPerSecond;

enum class MemoryClaim : uint8_t {
  kFurther,  // of a service that has an instance
  kFirst,    // the first one of its service
  kForced,   // granted in any case
};

class HostMemory {
 public:
  // 0: without a bound.
  explicit HostMemory(uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}

  // False: there is not so much, and nothing has changed.
  bool Reserve(uint64_t bytes, MemoryClaim claim);
  void Release(uint64_t bytes);
  // How much has to be released for so much more; 0: nothing.
  uint64_t Missing(uint64_t bytes, MemoryClaim claim) const;

  uint64_t budget_bytes() const { return budget_bytes_; }
  uint64_t reserved_bytes() const { return reserved_bytes_; }

 private:
  uint64_t LimitFor(MemoryClaim claim) const;

  uint64_t budget_bytes_;
  uint64_t reserved_bytes_ = 0;
};

// An instance that does nothing, and that its service could do without.
struct IdleInstance {
  uint64_t key = 0;
  uint64_t bytes = 0;
  int64_t active_ns = 0;  // when it last began or ended something, or became ready
};

// The keys of those that give way for `bytes`; none if all of them together are too small.
std::vector<uint64_t> ChooseWhoGivesWay(std::vector<IdleInstance> idle, uint64_t bytes,
                                        int64_t now_ns);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_HOST_MEMORY_H_
