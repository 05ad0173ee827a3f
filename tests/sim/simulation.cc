#include "tests/sim/simulation.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>

#include "liblever/base/random.h"

namespace lever::sim {
namespace {

double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNanosPerSecond); }

struct SimInstance {
  uint64_t id = 0;
  bool ready = false;
  bool stopping = false;
  uint32_t in_flight = 0;
  int64_t begun_ns = 0;
  int64_t used_ns = 0;
};

enum class EventKind { kReady, kFinished, kCrash, kWake, kReport };
struct Event {
  int64_t at_ns = 0;
  uint64_t order = 0;
  EventKind kind = EventKind::kReady;
  uint64_t instance = 0;
  bool operator>(const Event& other) const {
    return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
  }
};

class Run {
 public:
  Run(const Workload& workload, Policy& policy, uint64_t seed)
      : workload_(workload), policy_(policy), random_(seed) {}

  Measures Go() {
    Ask(Moment::kChange);
    while (true) {
      const bool more = next_ < workload_.calls.size();
      const int64_t call_ns = more ? workload_.calls[next_].at_ns : workload_.length_ns;
      if (!events_.empty() && events_.top().at_ns <= call_ns) {
        const Event event = events_.top();
        events_.pop();
        PassTo(event.at_ns);
        Happen(event);
        continue;
      }
      PassTo(call_ns);
      if (!more) break;
      Arrive(workload_.calls[next_++]);
    }
    Finish();
    return std::move(measures_);
  }

 private:
  struct Waiting {
    SimCall call;
    bool cold = false;
  };

  // Time passes with everything as it is.
  void PassTo(int64_t now_ns) {
    const double passed = Seconds(now_ns - seen_.now_ns);
    measures_.instance_s += passed * static_cast<double>(instances_.size());
    measures_.needed_s += passed * std::ceil(static_cast<double>(seen_.in_flight) / kConcurrency);
    seen_.now_ns = now_ns;
  }

  void Push(int64_t at_ns, EventKind kind, uint64_t instance = 0) {
    events_.push({at_ns, order_++, kind, instance});
  }

  SimInstance* Find(uint64_t id) {
    const auto found = std::find_if(instances_.begin(), instances_.end(),
                                    [id](const SimInstance& i) { return i.id == id; });
    return found == instances_.end() ? nullptr : &*found;
  }

  SimInstance* WithRoom() {
    SimInstance* best = nullptr;
    for (SimInstance& instance : instances_) {
      if (!instance.ready || instance.stopping || instance.in_flight >= kConcurrency) continue;
      const bool better = best == nullptr || (policy_.packs() ? instance.in_flight > best->in_flight
                                                              : instance.in_flight < best->in_flight);
      if (better) best = &instance;
    }
    return best;
  }

  void Begin(SimInstance* instance, const Waiting& waiting) {
    const int64_t wait_ns = seen_.now_ns - waiting.call.at_ns;
    ++measures_.calls;
    measures_.over_goal += wait_ns > kGoalNs;
    measures_.cold += waiting.cold;
    measures_.call_s += Seconds(waiting.call.takes_ns);
    measures_.waits_s.push_back(static_cast<float>(Seconds(wait_ns)));
    ++instance->in_flight;
    ++seen_.in_flight;
    instance->used_ns = seen_.last_active_ns = seen_.now_ns;
    const int64_t takes_ns = waiting.call.takes_ns;
    seen_.latency_ns =
        seen_.latency_ns == 0 ? takes_ns : seen_.latency_ns + (takes_ns - seen_.latency_ns) / 64;
    Push(seen_.now_ns + takes_ns, EventKind::kFinished, instance->id);
    // Load reports come while anything is in flight.
    if (!reporting_) Push(seen_.now_ns + kReportNs, EventKind::kReport);
    reporting_ = true;
  }

  void Arrive(const SimCall& call) {
    ++seen_.arrived;
    const Waiting waiting{call, seen_.ready == 0};
    if (SimInstance* instance = WithRoom()) return Begin(instance, waiting);
    queue_.push_back(waiting);
    // The host tells at once that calls are held, then not more often than each 20 ms.
    if (seen_.now_ns - told_ns_ < 20 * kNanosPerMilli && queue_.size() > 1) return;
    told_ns_ = seen_.now_ns;
    Ask(Moment::kHeld);
  }

  void Happen(const Event& event) {
    if (event.kind == EventKind::kWake) {
      if (event.at_ns == wake_ns_) Ask(Moment::kWake);
      return;
    }
    if (event.kind == EventKind::kReport) {
      reporting_ = seen_.in_flight > 0 || !queue_.empty();
      if (reporting_) Push(seen_.now_ns + kReportNs, EventKind::kReport);
      return Ask(Moment::kReport);
    }
    SimInstance* instance = Find(event.instance);
    if (instance == nullptr) return;
    if (event.kind == EventKind::kReady) return BecomeReady(instance);
    if (event.kind == EventKind::kCrash) return Crash(instance);
    --instance->in_flight;
    --seen_.in_flight;
    instance->used_ns = seen_.last_active_ns = seen_.now_ns;
    if (instance->stopping) {
      if (instance->in_flight == 0) Erase(instance);
    } else if (!queue_.empty()) {
      Drain();
    }
    if (seen_.in_flight == 0) Ask(Moment::kReport);
  }

  void Drain() {
    while (!queue_.empty()) {
      SimInstance* instance = WithRoom();
      if (instance == nullptr) return;
      Begin(instance, queue_.front());
      queue_.pop_front();
    }
  }

  void BecomeReady(SimInstance* instance) {
    --seen_.starting;
    ++seen_.ready;
    instance->ready = true;
    instance->used_ns = seen_.last_ready_ns = seen_.now_ns;
    if (workload_.crash_every_ns > 0) {
      const double life = -std::log(1 - random_.NextDouble());
      Push(seen_.now_ns +
               static_cast<int64_t>(life * static_cast<double>(workload_.crash_every_ns)),
           EventKind::kCrash, instance->id);
    }
    Drain();
    Ask(Moment::kChange);
  }

  void Crash(SimInstance* instance) {
    measures_.lost += instance->in_flight;
    seen_.in_flight -= instance->in_flight;
    if (!instance->stopping) --seen_.ready;
    Erase(instance);
    Ask(Moment::kChange);
  }

  void Erase(SimInstance* instance) { instances_.erase(instances_.begin() + (instance - instances_.data())); }

  void Ask(Moment moment) {
    seen_.held = static_cast<uint32_t>(queue_.size());
    seen_.used_ns.clear();
    for (const SimInstance& instance : instances_) {
      if (!instance.ready || instance.stopping) continue;
      seen_.used_ns.push_back(instance.in_flight > 0 ? seen_.now_ns : instance.used_ns);
    }
    const Wish wish = policy_.Decide(seen_, moment);
    const uint32_t present = seen_.starting + seen_.ready;
    for (uint32_t i = present; i < wish.wanted; ++i) Start();
    for (uint32_t i = wish.wanted; i < present && seen_.ready > 0; ++i) Stop();
    if (wish.wake_ns == kNever) {
      wake_ns_ = kNever;
      return;
    }
    const int64_t wake_ns = std::max(wish.wake_ns, seen_.now_ns + 1);
    if (wake_ns != wake_ns_ && wake_ns < workload_.length_ns) Push(wake_ns, EventKind::kWake);
    wake_ns_ = wake_ns;
  }

  void Start() {
    ++seen_.starting;
    ++measures_.starts;
    instances_.push_back({.id = ++last_id_, .begun_ns = seen_.now_ns});
    const auto spread = static_cast<double>(kStartSpreadNs) * random_.NextDouble();
    Push(seen_.now_ns + kStartLeastNs + static_cast<int64_t>(spread), EventKind::kReady, last_id_);
  }

  // The one with the least in flight; of several, the one that was used longest ago.
  void Stop() {
    SimInstance* best = nullptr;
    for (SimInstance& instance : instances_) {
      if (!instance.ready || instance.stopping) continue;
      const bool better = best == nullptr || instance.in_flight < best->in_flight ||
                          (instance.in_flight == best->in_flight && instance.used_ns < best->used_ns);
      if (better) best = &instance;
    }
    --seen_.ready;
    best->stopping = true;
    if (best->in_flight == 0) Erase(best);
  }

  // What still waits at the end has waited until then.
  void Finish() {
    for (const Waiting& waiting : queue_) {
      const int64_t wait_ns = seen_.now_ns - waiting.call.at_ns;
      ++measures_.calls;
      measures_.over_goal += wait_ns > kGoalNs;
      measures_.cold += waiting.cold;
      measures_.waits_s.push_back(static_cast<float>(Seconds(wait_ns)));
    }
    measures_.hours = Seconds(workload_.length_ns) / 3600;
  }

  const Workload& workload_;
  Policy& policy_;
  Random random_;
  Seen seen_;
  std::vector<SimInstance> instances_;
  std::deque<Waiting> queue_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  Measures measures_;
  size_t next_ = 0;
  uint64_t order_ = 0;
  uint64_t last_id_ = 0;
  int64_t wake_ns_ = kNever;
  int64_t told_ns_ = -kNanosPerSecond;
  bool reporting_ = false;
};

}  // namespace

void Measures::Add(const Measures& other) {
  calls += other.calls;
  over_goal += other.over_goal;
  cold += other.cold;
  lost += other.lost;
  starts += other.starts;
  instance_s += other.instance_s;
  needed_s += other.needed_s;
  call_s += other.call_s;
  hours = std::max(hours, other.hours);
  waits_s.insert(waits_s.end(), other.waits_s.begin(), other.waits_s.end());
}

double Measures::OverGoal() const { return static_cast<double>(over_goal) / static_cast<double>(calls); }
double Measures::Cold() const { return static_cast<double>(cold) / static_cast<double>(calls); }

double Measures::WaitP99() {
  const auto at = waits_s.begin() + static_cast<ptrdiff_t>(waits_s.size() * 99 / 100);
  std::nth_element(waits_s.begin(), at, waits_s.end());
  return *at;
}

double Measures::StartCpu() const {
  return static_cast<double>(starts) * kStartCpuSeconds / (call_s * kCallCpuPart);
}

Measures Simulate(const Workload& workload, Policy& policy, uint64_t seed) {
  return Run(workload, policy, seed).Go();
}

Measures Simulate(const Scenario& scenario, const PolicyMaker& maker, uint64_t seed) {
  Measures sum;
  for (const Workload& workload : scenario.services) {
    const std::unique_ptr<Policy> policy = maker.make(workload);
    sum.Add(Simulate(workload, *policy, seed++));
  }
  return sum;
}

}  // namespace lever::sim
