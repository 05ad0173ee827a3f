// What a simulated service is asked to do: its calls, in the order of their arrival, out of a seed.
//
// Functions and values; any thread.
#ifndef TESTS_SIM_WORKLOAD_H_
#define TESTS_SIM_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "liblever/base/clock.h"

namespace lever::sim {

struct SimCall {
  int64_t at_ns = 0;
  int64_t takes_ns = 0;
};

// One service over time.
struct Workload {
  std::vector<SimCall> calls;
  int64_t length_ns = 0;
  int64_t crash_every_ns = 0;  // mean life of an instance; 0: none crashes
};

// A scenario has one service, or many that share nothing.
struct Scenario {
  std::string name;
  std::string what;
  std::vector<Workload> services;
};

// How much of each scenario is simulated.
enum class Extent { kShort, kFull };

// All scenarios, from one seed.
std::vector<Scenario> MakeScenarios(Extent extent, uint64_t seed);

}  // namespace lever::sim

#endif  // TESTS_SIM_WORKLOAD_H_
