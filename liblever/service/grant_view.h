// What other threads may know of the grants of an instance: enough to look at the clock and the
// generation directly before user code begins.
//
// Threads: written by who holds the loop's word, read by any.
#ifndef LIBLEVER_SERVICE_GRANT_VIEW_H_
#define LIBLEVER_SERVICE_GRANT_VIEW_H_

#include <atomic>
#include <cstdint>
#include <vector>

namespace lever::service {

class GrantView {
 public:
  explicit GrantView(uint32_t shards) : granted_(shards) {}

  void SetEnd(int64_t end_ns) { end_ns_.store(end_ns); }
  // 0: none.
  void SetGranted(uint32_t shard, uint64_t generation) { granted_[shard].store(generation); }

  // Whether a request of the shard that is admitted under `generation` may begin at `now_ns`.
  bool MayBegin(uint32_t shard, uint64_t generation, int64_t now_ns) const {
    return granted_[shard].load() == generation && now_ns < end_ns_.load();
  }

 private:
  std::atomic<int64_t> end_ns_{0};
  std::vector<std::atomic<uint64_t>> granted_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_GRANT_VIEW_H_
