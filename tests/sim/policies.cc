#include "tests/sim/policies.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <numeric>
#include <queue>

#include "liblever/policy/scale.h"

namespace lever::sim {
namespace {

constexpr int64_t kMinuteNs = 60 * kNanosPerSecond;

double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNanosPerSecond); }

uint32_t Ceil(double value) { return static_cast<uint32_t>(std::ceil(std::max(0.0, value) - 1e-9)); }

class Own final : public Policy {
 public:
  explicit Own(int64_t idle_timeout_ns) {
    limits_.instances_max = 1000;
    limits_.load_max = kConcurrency;
    limits_.concurrency_max = kConcurrency;
    limits_.idle_timeout_ns = idle_timeout_ns;
  }

  Wish Decide(const Seen& seen, Moment) override {
    policy::ScaleLoad load;
    load.instances_starting = seen.starting;
    load.instances_ready = seen.ready;
    load.calls = seen.in_flight;
    load.held_calls = seen.held;
    load.latency_ns = seen.latency_ns;
    load.start_ns = seen.last_ready_ns == 0 ? 0 : kStartLeastNs + kStartSpreadNs / 2;
    load.last_active_ns = seen.last_active_ns;
    load.last_ready_ns = seen.last_ready_ns;
    // The simulation's time begins at 0, which means never.
    const policy::ScaleDecision decision =
        policy::DecideScale(limits_, load, seen.now_ns + 1, &memory_);
    return {seen.starting + seen.ready + decision.start - decision.stop, decision.wake_at_ns};
  }

 private:
  policy::ScaleLimits limits_;
  policy::ScaleMemory memory_;
};

// Knative's pod autoscaler with its defaults (knative.dev/serving, pkg/autoscaler/scaling/autoscaler.go and
// config-autoscaler): concurrency averaged over 60 s and over 6 s, target 70 % of what a pod takes,
// a tick every 2 s; panic when the short average asks for twice what is ready, no scale-down until it was
// over for 60 s; at most halved at a tick; zero 30 s after the average is. A call that finds no pod starts one.
class Knative final : public Policy {
 public:
  Wish Decide(const Seen& seen, Moment moment) override {
    Pass(seen.now_ns);
    load_ = seen.in_flight + seen.held;
    const uint32_t present = seen.starting + seen.ready;
    if (present == 0 && seen.held > 0 && wanted_ == 0) wanted_ = 1;
    if (moment == Moment::kWake || next_tick_ns_ == 0) Tick(seen);
    return {wanted_, next_tick_ns_ == 0 ? kNever : next_tick_ns_};
  }

 private:
  static constexpr size_t kStable = 60;
  static constexpr size_t kPanic = 6;
  static constexpr int64_t kTickNs = 2 * kNanosPerSecond;
  static constexpr double kTarget = 0.7 * kConcurrency;

  void Pass(int64_t now_ns) {
    while (now_ns - second_ns_ >= kNanosPerSecond) {
      const int64_t end_ns = second_ns_ + kNanosPerSecond;
      sum_ += load_ * Seconds(end_ns - passed_ns_);
      passed_ns_ = second_ns_ = end_ns;
      seconds_.push_front(sum_);
      if (seconds_.size() > kStable) seconds_.pop_back();
      sum_ = 0;
    }
    sum_ += load_ * Seconds(now_ns - passed_ns_);
    passed_ns_ = now_ns;
  }

  double Mean(size_t seconds) const {
    const size_t count = std::min(seconds, seconds_.size());
    if (count == 0) return load_;
    return std::accumulate(seconds_.begin(), seconds_.begin() + static_cast<ptrdiff_t>(count), 0.0) /
           static_cast<double>(count);
  }

  void Tick(const Seen& seen) {
    next_tick_ns_ = seen.now_ns + kTickNs;
    const uint32_t ready = std::max(1u, seen.ready);
    const uint32_t stable = std::max(Ceil(Mean(kStable) / kTarget), ready / 2);
    const uint32_t panic = std::max(Ceil(Mean(kPanic) / kTarget), ready / 2);
    if (panic >= 2 * ready) {
      if (panic_ns_ == kNever) most_ = 0;
      panic_ns_ = seen.now_ns;
    } else if (panic_ns_ != kNever && seen.now_ns - panic_ns_ > kMinuteNs) {
      panic_ns_ = kNever;
    }
    uint32_t desired = stable;
    if (panic_ns_ != kNever) {
      most_ = std::max({most_, stable, panic, seen.ready});
      desired = most_;
    }
    if (desired > 0) {
      zero_ns_ = kNever;
    } else if (zero_ns_ == kNever) {
      zero_ns_ = seen.now_ns;
    }
    const bool grace = desired == 0 && seen.now_ns - zero_ns_ < 30 * kNanosPerSecond;
    wanted_ = grace || (desired == 0 && seen.held > 0) ? std::min(1u, wanted_) : desired;
    // Nothing is there and nothing is asked for: no need for ticks.
    if (wanted_ == 0 && load_ == 0 && seen.ready + seen.starting == 0) {
      seconds_.assign(kStable, 0);
      next_tick_ns_ = 0;  // the next call ticks at once
    }
  }

  std::deque<double> seconds_;  // the newest first
  double sum_ = 0;
  double load_ = 0;
  int64_t second_ns_ = 0;
  int64_t passed_ns_ = 0;
  int64_t next_tick_ns_ = 0;
  int64_t panic_ns_ = kNever;
  int64_t zero_ns_ = kNever;
  uint32_t most_ = 0;
  uint32_t wanted_ = 0;
};

// The rule of the original Lever OS: rate x latency, smoothed, with an interval of 1.96 sigma; looked at
// every 16 calls but within 250 ms and 15 s; down after 45 s of less, at most 10 instances at a step.
class LeverOs final : public Policy {
 public:
  Wish Decide(const Seen& seen, Moment) override {
    const uint32_t present = seen.starting + seen.ready;
    if (present == 0 && seen.held > 0) wanted_ = std::max(wanted_, 1u);
    const int64_t passed_ns = seen.now_ns - ticked_ns_;
    const bool due = passed_ns >= 15 * kNanosPerSecond ||
                     (seen.arrived - arrived_ >= 16 && passed_ns >= 250 * kNanosPerMilli);
    if (due) Tick(seen, Seconds(passed_ns));
    if (present == 0 && wanted_ == 0) return {0, kNever};
    return {wanted_, ticked_ns_ + 15 * kNanosPerSecond};
  }

 private:
  static constexpr double kWeight = 0.25;

  void Tick(const Seen& seen, double passed_s) {
    const double load = static_cast<double>(seen.arrived - arrived_) / passed_s *
                        Seconds(seen.latency_ns);
    ticked_ns_ = seen.now_ns;
    arrived_ = seen.arrived;
    const double difference = load - mean_;
    mean_ += kWeight * difference;
    variance_ = (1 - kWeight) * (variance_ + kWeight * difference * difference);
    const uint32_t upper = Ceil((mean_ + 1.96 * std::sqrt(variance_)) / kConcurrency);
    const uint32_t desired = load == 0 && seen.held == 0 && seen.in_flight == 0 && mean_ < 0.05
                                 ? 0 : std::max(1u, upper);
    if (desired >= wanted_) {
      wanted_ = std::min(desired, wanted_ + 10);
      less_ns_ = kNever;
      return;
    }
    if (less_ns_ == kNever) less_ns_ = seen.now_ns;
    if (seen.now_ns - less_ns_ < 45 * kNanosPerSecond) return;
    wanted_ = std::max(desired, wanted_ - std::min(wanted_, 10u));
    less_ns_ = kNever;
  }

  int64_t ticked_ns_ = 0;
  int64_t less_ns_ = kNever;
  uint64_t arrived_ = 0;
  double mean_ = 0;
  double variance_ = 0;
  uint32_t wanted_ = 0;
};

// What all function platforms do that keep alive: an instance for what no instance has room for, and each
// one is kept for some time after its last call.
class KeepAlive : public Policy {
 public:
  explicit KeepAlive(int64_t keep_ns) : keep_ns_(keep_ns) {}
  bool packs() const override { return true; }

  Wish Decide(const Seen& seen, Moment) override { return Kept(seen, keep_ns_); }

 protected:
  static Wish Kept(const Seen& seen, int64_t keep_ns) {
    const uint32_t room = seen.starting * kConcurrency;
    Wish wish{seen.starting, kNever};
    if (seen.held > room) wish.wanted += (seen.held - room + kConcurrency - 1) / kConcurrency;
    for (const int64_t used_ns : seen.used_ns) {
      const int64_t until_ns = used_ns + keep_ns;
      if (until_ns <= seen.now_ns) continue;
      ++wish.wanted;
      wish.wake_ns = std::min(wish.wake_ns, until_ns);
    }
    return wish;
  }

 private:
  int64_t keep_ns_;
};

// "Serverless in the Wild", section 4: a histogram of idle times with bins of a minute up to 4 hours;
// loaded again at the 5th percentile less 10 %, kept until the 99th plus 10 %; if the histogram is not
// representative (coefficient of variation of its bins at most 2, or too few), kept for its whole range. In
// place of its ARIMA forecast for services whose idle times are mostly beyond the range stands the
// mean of these, plus and minus 15 %.
class Histogram final : public KeepAlive {
 public:
  Histogram() : KeepAlive(kRangeNs) {}

  Wish Decide(const Seen& seen, Moment) override {
    const bool busy = seen.in_flight > 0 || seen.held > 0;
    if (busy && idle_ns_ != kNever) {
      if (used_) Learn(seen.now_ns - idle_ns_);
      idle_ns_ = kNever;
    }
    if (busy) {
      used_ = true;
      return Kept(seen, std::max(kMinuteNs, keep_ns_));
    }
    if (idle_ns_ == kNever) {
      idle_ns_ = seen.now_ns;
      Plan();
    }
    const int64_t passed_ns = seen.now_ns - idle_ns_;
    if (!used_) return {seen.starting, kNever};
    if (from_ns_ > 0 && passed_ns < from_ns_) return {seen.starting, idle_ns_ + from_ns_};
    if (passed_ns >= keep_ns_) return {seen.starting, kNever};
    if (from_ns_ > 0) return {1, idle_ns_ + keep_ns_};
    return Kept(seen, keep_ns_);
  }

 private:
  static constexpr size_t kBins = 240;
  static constexpr int64_t kRangeNs = kBins * kMinuteNs;

  void Learn(int64_t pause_ns) {
    const auto bin = static_cast<size_t>(pause_ns / kMinuteNs);
    if (bin < kBins) {
      ++bins_[bin];
      ++within_;
    } else {
      ++beyond_;
      beyond_ns_ += static_cast<double>(pause_ns);
    }
  }

  void Plan() {
    from_ns_ = 0;
    keep_ns_ = kRangeNs;
    if (beyond_ > within_) {
      const double mean = beyond_ns_ / beyond_;
      from_ns_ = static_cast<int64_t>(0.85 * mean);
      keep_ns_ = static_cast<int64_t>(1.15 * mean);
      return;
    }
    if (within_ < 2) return;
    const double mean = static_cast<double>(within_) / kBins;
    double squares = 0;
    for (const uint32_t count : bins_) squares += (count - mean) * (count - mean);
    if (std::sqrt(squares / kBins) / mean <= 2) return;
    const size_t head = Percentile(0.05);
    const size_t tail = Percentile(0.99) + 1;
    from_ns_ = static_cast<int64_t>(0.9 * static_cast<double>(head * kMinuteNs));
    keep_ns_ = static_cast<int64_t>(1.1 * static_cast<double>(tail * kMinuteNs));
  }

  size_t Percentile(double part) const {
    double left = part * within_;
    size_t bin = 0;
    while (bin + 1 < kBins && (left -= bins_[bin]) > 0) ++bin;
    return bin;
  }

  std::array<uint32_t, kBins> bins_{};
  uint32_t within_ = 0;
  uint32_t beyond_ = 0;
  double beyond_ns_ = 0;
  bool used_ = false;
  int64_t idle_ns_ = kNever;
  int64_t from_ns_ = 0;
  int64_t keep_ns_ = kRangeNs;
};

// As many instances as the highest load needs, which nobody knows beforehand.
class Fixed final : public Policy {
 public:
  explicit Fixed(const Workload& workload) {
    std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> ends;
    size_t most = 0;
    for (const SimCall& call : workload.calls) {
      while (!ends.empty() && ends.top() <= call.at_ns) ends.pop();
      ends.push(call.at_ns + call.takes_ns);
      most = std::max(most, ends.size());
    }
    wanted_ = static_cast<uint32_t>((most + kConcurrency - 1) / kConcurrency);
  }
  Wish Decide(const Seen&, Moment) override { return {wanted_, kNever}; }

 private:
  uint32_t wanted_ = 0;
};

template <int kMinutes, typename T>
std::unique_ptr<Policy> ForMinutes(const Workload&) {
  return std::make_unique<T>(kMinutes * kMinuteNs);
}

}  // namespace

std::vector<PolicyMaker> OwnPolicies() {
  return {{"lever", ForMinutes<5, Own>},
          {"lever-10", ForMinutes<10, Own>},
          {"lever-20", ForMinutes<20, Own>}};
}

std::vector<PolicyMaker> RivalPolicies() {
  return {
      {"knative", [](const Workload&) -> std::unique_ptr<Policy> { return std::make_unique<Knative>(); }},
      {"lever-os", [](const Workload&) -> std::unique_ptr<Policy> { return std::make_unique<LeverOs>(); }},
      {"keep-5", ForMinutes<5, KeepAlive>},
      {"keep-10", ForMinutes<10, KeepAlive>},
      {"keep-20", ForMinutes<20, KeepAlive>},
      {"histogram",
       [](const Workload&) -> std::unique_ptr<Policy> { return std::make_unique<Histogram>(); }},
      {"fixed", [](const Workload& w) -> std::unique_ptr<Policy> { return std::make_unique<Fixed>(w); }},
  };
}

}  // namespace lever::sim
