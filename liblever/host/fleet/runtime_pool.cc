#include "liblever/host/fleet/runtime_pool.h"

#include <algorithm>

namespace lever::fleet {

void RuntimePool::Expect(const Kind& kind, int64_t now_ns) {
  if (size_ == 0 || kinds_.contains(kind)) return;
  Members& members = kinds_[kind];
  members.due_ns = members.missing_ns = now_ns;
}

std::optional<uint64_t> RuntimePool::Take(const Kind& kind, int64_t now_ns) {
  const auto found = kinds_.find(kind);
  if (found == kinds_.end()) return std::nullopt;
  Members& members = found->second;
  if (members.waiting.size() == size_) members.missing_ns = now_ns;
  members.due_ns =
      std::max(members.due_ns, std::min(now_ns + kCalmNs, members.missing_ns + kMissingNs));
  if (members.waiting.empty()) return std::nullopt;
  const uint64_t id = members.waiting.front();
  members.waiting.pop_front();
  members.failed_pause_ns = 0;
  return id;
}

std::vector<RuntimePool::Kind> RuntimePool::Due(int64_t now_ns) const {
  std::vector<Kind> due;
  for (const auto& [kind, members] : kinds_) {
    if (members.due_ns > now_ns) continue;
    due.insert(due.end(), size_ - members.waiting.size(), kind);
  }
  return due;
}

void RuntimePool::Add(const Kind& kind, uint64_t id) { kinds_[kind].waiting.push_back(id); }

int64_t RuntimePool::NextNs() const {
  int64_t next_ns = kNever;
  for (const auto& [kind, members] : kinds_) {
    if (members.waiting.size() < size_) next_ns = std::min(next_ns, members.due_ns);
  }
  return next_ns;
}

void RuntimePool::OnEnded(uint64_t id, int64_t now_ns) {
  for (auto& [kind, members] : kinds_) {
    const auto found = std::find(members.waiting.begin(), members.waiting.end(), id);
    if (found == members.waiting.end()) continue;
    members.waiting.erase(found);
    members.failed_pause_ns =
        std::clamp(2 * members.failed_pause_ns, kFailedFirstNs, kFailedLastNs);
    members.due_ns = members.missing_ns = now_ns + members.failed_pause_ns;
  }
}

}  // namespace lever::fleet
