#include "liblever/service/shard_loads.h"

#include <algorithm>
#include <utility>

namespace lever::service {
namespace {

constexpr uint64_t kMilli = 1000;

// Which of them to leave out is not for the host to say, which alone knows what a stream counts for:
// as much as by default.
uint64_t Weight(const ShardLoad& load) {
  return load.calls_milli + uint64_t{load.streams} * kMilli / 10;
}

}  // namespace

void ShardLoads::SetShards(uint32_t shards) {
  if (slots_.empty()) slots_.resize(shards);
}

// A report is of the time since the one before, or since there was something again.
void ShardLoads::List(uint32_t shard, int64_t now_ns) {
  if (touched_.empty()) taken_ns_ = std::max(taken_ns_, now_ns - kIntervalNs);
  slots_[shard].touched = true;
  touched_.push_back(shard);
}

ShardLoadsReport ShardLoads::Take(int64_t now_ns) {
  ShardLoadsReport report;
  report.window_ns = static_cast<uint64_t>(now_ns - std::exchange(taken_ns_, now_ns));
  if (report.window_ns == 0) return report;
  std::erase_if(touched_, [&](uint32_t shard) {
    Slot& slot = slots_[shard];
    slot.Count(now_ns);
    const uint64_t calls = std::exchange(slot.busy_ns, 0) * kMilli / report.window_ns;
    const uint32_t milli = static_cast<uint32_t>(std::min<uint64_t>(calls, UINT32_MAX));
    if (milli > 0 || slot.streams > 0) report.loads.push_back({shard, milli, slot.streams});
    slot.touched = slot.calls > 0 || slot.streams > 0;
    return !slot.touched;
  });
  if (report.loads.size() > kReportedMax) {
    std::nth_element(report.loads.begin(), report.loads.begin() + kReportedMax, report.loads.end(),
                     [](const ShardLoad& a, const ShardLoad& b) { return Weight(a) > Weight(b); });
    report.loads.resize(kReportedMax);
  }
  return report;
}

}  // namespace lever::service
