#include "liblever/policy/host_memory.h"

#include <algorithm>
#include <limits>

namespace lever::policy {

uint64_t HostMemory::LimitFor(MemoryClaim claim) const {
  if (budget_bytes_ == 0 || claim == MemoryClaim::kForced) {
    return std::numeric_limits<uint64_t>::max();
  }
  return claim == MemoryClaim::kFirst ? budget_bytes_
                                      : budget_bytes_ - budget_bytes_ / kFirstInstancesPart;
}

uint64_t HostMemory::Missing(uint64_t bytes, MemoryClaim claim) const {
  const uint64_t taken = reserved_bytes_ + bytes;
  return taken - std::min(taken, LimitFor(claim));
}

bool HostMemory::Reserve(uint64_t bytes, MemoryClaim claim) {
  if (Missing(bytes, claim) > 0) return false;
  reserved_bytes_ += bytes;
  return true;
}

void HostMemory::Release(uint64_t bytes) { reserved_bytes_ -= std::min(bytes, reserved_bytes_); }

std::vector<uint64_t> ChooseWhoGivesWay(std::vector<IdleInstance> idle, uint64_t bytes,
                                        int64_t now_ns) {
  std::erase_if(idle, [&](const IdleInstance& instance) {
    return now_ns - instance.active_ns < kGiveWayAfterNs;
  });
  std::sort(idle.begin(), idle.end(), [](const IdleInstance& a, const IdleInstance& b) {
    return a.active_ns != b.active_ns ? a.active_ns < b.active_ns : a.key < b.key;
  });
  std::vector<uint64_t> chosen;
  uint64_t together = 0;
  for (const IdleInstance& instance : idle) {
    if (together >= bytes) break;
    chosen.push_back(instance.key);
    together += instance.bytes;
  }
  if (together < bytes) chosen.clear();
  return chosen;
}

}  // namespace lever::policy
