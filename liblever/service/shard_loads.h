// What the resources of each shard have in flight here, for the host that places shards.
//
// Calls count for the time that they are here, waiting for their turn included, as a mean over the time
// between two reports, and each for kCallFloorNs more: the clock stands still during a turn of the
// loop, and reading and answering one costs something as well. Streams count as those that are open.
//
// Counting is a few additions in a table with an entry for each shard. Only shards that had something
// since the last report are visited for the next one.
//
// A value; single-threaded.
#ifndef LIBLEVER_SERVICE_SHARD_LOADS_H_
#define LIBLEVER_SERVICE_SHARD_LOADS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/service/attach_messages.h"

namespace lever::service {

class ShardLoads {
 public:
  // How often they are reported while there are any.
  static constexpr int64_t kIntervalNs = 1 * kNanosPerSecond;
  // In one report: those with the most.
  static constexpr size_t kReportedMax = 256;
  static constexpr uint64_t kCallFloorNs = 100'000;

  // How many shards there are; it does not change any more. Before that nothing is counted.
  void SetShards(uint32_t shards);

  void CallBegan(uint32_t shard, int64_t now_ns) {
    if (Slot* slot = Touch(shard, now_ns)) ++slot->calls;
  }
  void CallEnded(uint32_t shard, int64_t now_ns) {
    if (shard >= slots_.size() || slots_[shard].calls == 0) return;
    slots_[shard].Count(now_ns);
    --slots_[shard].calls;
  }
  void StreamBegan(uint32_t shard, int64_t now_ns) {
    if (Slot* slot = Touch(shard, now_ns)) ++slot->streams;
  }
  void StreamEnded(uint32_t shard) {
    if (shard < slots_.size() && slots_[shard].streams > 0) --slots_[shard].streams;
  }

  // There is something to report, and the last one was long enough ago.
  bool Due(int64_t now_ns) const {
    return !touched_.empty() && now_ns >= DeadlineAfter(taken_ns_, kIntervalNs);
  }
  // What there was since the last time.
  ShardLoadsReport Take(int64_t now_ns);

 private:
  struct Slot {
    void Count(int64_t now_ns) {
      busy_ns += calls * static_cast<uint64_t>(now_ns - since_ns);
      since_ns = now_ns;
    }
    int64_t since_ns = 0;
    uint64_t busy_ns = 0;  // calls x time up to then
    uint32_t calls = 0;
    uint32_t streams = 0;
    bool touched = false;  // is in touched_
  };
  Slot* Touch(uint32_t shard, int64_t now_ns) {
    if (shard >= slots_.size()) return nullptr;
    Slot& slot = slots_[shard];
    slot.Count(now_ns);
    slot.busy_ns += kCallFloorNs;
    if (!slot.touched) List(shard, now_ns);
    return &slot;
  }
  void List(uint32_t shard, int64_t now_ns);

  std::vector<Slot> slots_;
  std::vector<uint32_t> touched_;
  int64_t taken_ns_ = 0;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_SHARD_LOADS_H_
