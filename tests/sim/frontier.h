// A scenario under all policies, and who is on the frontier of cost and waiting.
//
// Cost is instance-seconds, waiting is the share of calls over the latency goal. A policy is on the
// frontier if no other policy is at most equal in both and better in one.
#ifndef TESTS_SIM_FRONTIER_H_
#define TESTS_SIM_FRONTIER_H_

#include <string>
#include <vector>

#include "tests/sim/policies.h"

namespace lever::sim {

struct Outcome {
  std::string policy;
  bool own = false;
  Measures measures;
};

// Lever's policies come first; those with another idleTimeout only where it matters, in `rare`.
std::vector<Outcome> RunAll(const Scenario& scenario, uint64_t seed);

// The name of a rival that is better than `outcome`; empty: it is on the frontier.
std::string BetterRival(const Outcome& outcome, const std::vector<Outcome>& all);

}  // namespace lever::sim

#endif  // TESTS_SIM_FRONTIER_H_
