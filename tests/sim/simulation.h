// A service and its instances in virtual time, and what became of its calls under a scaling policy.
//
// The model: an instance takes `kConcurrency` calls at a time, calls beyond wait in one queue in the order
// of arrival, a start takes 0.8 to 1.2 s, an instance that stops finishes what it has, one that crashes
// loses it. Functions and values; any thread. The same seed gives the same figures.
#ifndef TESTS_SIM_SIMULATION_H_
#define TESTS_SIM_SIMULATION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/workload.h"

namespace lever::sim {

inline constexpr uint32_t kConcurrency = 10;
// A call that waited longer is over the latency goal.
inline constexpr int64_t kGoalNs = 100 * kNanosPerMilli;
inline constexpr int64_t kStartLeastNs = 800 * kNanosPerMilli;
inline constexpr int64_t kStartSpreadNs = 400 * kNanosPerMilli;
// A load report's interval.
inline constexpr int64_t kReportNs = 250 * kNanosPerMilli;
// CPU of a start and a stop, and of a call a second of its time: assumptions, the same for all.
inline constexpr double kStartCpuSeconds = 0.15;
inline constexpr double kCallCpuPart = 0.1;

// What a policy sees.
struct Seen {
  int64_t now_ns = 0;
  uint32_t starting = 0;
  uint32_t ready = 0;
  uint32_t in_flight = 0;
  uint32_t held = 0;
  uint64_t arrived = 0;
  int64_t latency_ns = 0;      // moving average; 0: none yet
  int64_t last_active_ns = 0;  // a call began or ended
  int64_t last_ready_ns = 0;
  std::vector<int64_t> used_ns;  // of each ready instance: when it last had a call, now if it has one
};

struct Wish {
  uint32_t wanted = 0;  // instances
  int64_t wake_ns = kNever;
};

// A way to scale one service. `moment` says why it is asked.
enum class Moment { kHeld, kChange, kReport, kWake };
class Policy {
 public:
  virtual ~Policy() = default;
  virtual Wish Decide(const Seen& seen, Moment moment) = 0;
  // Whether a call goes to the fullest instance that has room, so that the others get old, or to the
  // emptiest.
  virtual bool packs() const { return false; }
};

struct PolicyMaker {
  std::string name;
  std::unique_ptr<Policy> (*make)(const Workload& workload);
};

struct Measures {
  uint64_t calls = 0;
  uint64_t over_goal = 0;
  uint64_t cold = 0;  // came when no instance was ready
  uint64_t lost = 0;  // their instance crashed
  uint64_t starts = 0;
  double instance_s = 0;
  double needed_s = 0;  // of the fewest instances that hold what was in flight
  double call_s = 0;
  double hours = 0;
  std::vector<float> waits_s;

  void Add(const Measures& other);
  double OverGoal() const;
  double Cold() const;
  double WaitP99();
  double StartsAnHour() const { return static_cast<double>(starts) / hours; }
  double StartCpu() const;  // CPU of starts and stops, by CPU of calls
  double Held() const { return instance_s / needed_s; }  // memory held, by memory needed
};

Measures Simulate(const Workload& workload, Policy& policy, uint64_t seed);
// A scenario with a policy of its own for each of its services.
Measures Simulate(const Scenario& scenario, const PolicyMaker& maker, uint64_t seed);

}  // namespace lever::sim

#endif  // TESTS_SIM_SIMULATION_H_
