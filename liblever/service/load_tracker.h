// What an instance counts of its own load, for the reports to its host.
//
// A value; single-threaded. Latencies are those of the most recent kRecentCalls unary calls, so that
// the median follows a change within that many.
#ifndef LIBLEVER_SERVICE_LOAD_TRACKER_H_
#define LIBLEVER_SERVICE_LOAD_TRACKER_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "liblever/service/attach_messages.h"

namespace lever::service {

// Of a request that the program was given.
enum class Ending : uint8_t { kDone, kError };

class LoadTracker {
 public:
  static constexpr size_t kRecentCalls = 64;

  void CallBegan(int64_t now_ns) {
    ++report_.calls;
    ++report_.calls_total;
    Active(now_ns);
  }
  // A call or stream that the program had ended, or had let its deadline pass.
  void Ended(Ending outcome) {
    ++report_.ended_total;
    if (outcome == Ending::kError) ++report_.errors_total;
  }
  void CallEnded(int64_t now_ns, int64_t latency_ns) {
    --report_.calls;
    recent_[recent_count_++ % kRecentCalls] = latency_ns;
    Active(now_ns);
  }
  void StreamBegan(int64_t now_ns) {
    ++report_.streams;
    Active(now_ns);
  }
  void StreamEnded(int64_t now_ns) {
    --report_.streams;
    Active(now_ns);
  }

  uint32_t in_flight() const { return report_.calls + report_.streams; }

  LoadReport Report() const {
    LoadReport report = report_;
    std::array<int64_t, kRecentCalls> sorted = recent_;
    const size_t count = std::min(recent_count_, kRecentCalls);
    if (count > 0) {
      const auto middle = sorted.begin() + static_cast<ptrdiff_t>(count / 2);
      std::nth_element(sorted.begin(), middle, sorted.begin() + static_cast<ptrdiff_t>(count));
      report.latency_ns = static_cast<uint64_t>(std::max<int64_t>(*middle, 0));
    }
    return report;
  }

 private:
  void Active(int64_t now_ns) { report_.last_active_ns = static_cast<uint64_t>(now_ns); }

  LoadReport report_;
  std::array<int64_t, kRecentCalls> recent_{};
  size_t recent_count_ = 0;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_LOAD_TRACKER_H_
