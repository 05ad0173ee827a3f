#include "liblever/policy/idle_history.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace lever::policy {
namespace {

// The pauses in ascending order, and what a plan would have cost over them, in milliseconds of an idle
// instance. One endless pause is counted with them, so that no plan looks free.
class Costs {
 public:
  Costs(std::span<const double> sorted, double price) : pauses_(sorted), price_(price) {
    for (size_t i = 0; i < sorted.size(); ++i) sums_[i + 1] = sums_[i] + sorted[i];
  }

  double Keep(double until) const {
    const size_t within = CountUpTo(until);
    const auto beyond = static_cast<double>(pauses_.size() - within + 1);
    return sums_[within] + beyond * (until + price_);
  }

  // Stopped at `least`, there again from `from` until `until`. A call before `from` starts one cold.
  double StartAhead(double least, double from, double until) const {
    const size_t kept = CountUpTo(least);
    const size_t early = CountUpTo(from);
    const size_t within = std::max(early, CountUpTo(until));
    const auto hits = static_cast<double>(within - early);
    const auto beyond = static_cast<double>(pauses_.size() - within + 1);
    const auto stopped = static_cast<double>(pauses_.size() - kept + 1);
    return sums_[kept] + stopped * least + static_cast<double>(early - kept) * price_ +
           (sums_[within] - sums_[early] - hits * from) + beyond * (until - from + price_) +
           (hits + beyond) * kStartAheadPart * price_;
  }

 private:
  size_t CountUpTo(double pause) const {
    return static_cast<size_t>(std::upper_bound(pauses_.begin(), pauses_.end(), pause) -
                               pauses_.begin());
  }

  std::span<const double> pauses_;
  double price_;
  std::array<double, kPausesKept + 1> sums_{};
};

int64_t FromMillis(double ms) { return std::llround(ms) * kNanosPerMilli; }

}  // namespace

void IdleHistory::Add(int64_t pause_ns, int64_t price_ns) {
  if (pause_ns < price_ns / kPauseLeastPart) return;
  pauses_ms_[next_ % kPausesKept] =
      static_cast<uint32_t>(std::min<int64_t>(pause_ns / kNanosPerMilli, UINT32_MAX));
  next_ = static_cast<uint16_t>((next_ + 1) % kPausesKept);
  count_ = static_cast<uint16_t>(std::min<size_t>(count_ + 1u, kPausesKept));
}

IdlePlan IdleHistory::Plan(int64_t price_ns, int64_t start_ns) const {
  IdlePlan best{.stop_after_ns = price_ns};
  if (count_ < kPausesNeeded) return best;
  std::array<double, kPausesKept> sorted{};
  const size_t count = std::min<size_t>(count_, kPausesKept);
  std::copy_n(pauses_ms_.begin(), count, sorted.begin());
  std::sort(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(count));
  const std::span<const double> pauses(sorted.data(), count);
  const double price = static_cast<double>(price_ns) / static_cast<double>(kNanosPerMilli);
  const double start = static_cast<double>(start_ns) / static_cast<double>(kNanosPerMilli);
  const double least = price / kPauseLeastPart;
  const Costs costs(pauses, price);
  double lowest = kPlanGain * costs.Keep(price);
  const auto consider = [&](double cost, const IdlePlan& plan) {
    if (cost >= lowest) return;
    lowest = cost;
    best = plan;
  };
  consider(costs.Keep(least), {.stop_after_ns = price_ns / kPauseLeastPart});
  for (size_t j = 0; j < pauses.size(); ++j) {
    const double until = pauses[j] * (1 + kPauseMargin);
    consider(costs.Keep(until), {.stop_after_ns = FromMillis(until)});
    for (size_t i = 0; i <= j; ++i) {
      const double from = pauses[i] * (1 - kPauseMargin) - start;
      if (from <= 2 * least) continue;
      consider(costs.StartAhead(least, from, until),
               {price_ns / kPauseLeastPart, FromMillis(from), FromMillis(until)});
    }
  }
  return best;
}

}  // namespace lever::policy
