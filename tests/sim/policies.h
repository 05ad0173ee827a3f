// The scaling policies that are compared: Lever's own, and those of others as they are published.
#ifndef TESTS_SIM_POLICIES_H_
#define TESTS_SIM_POLICIES_H_

#include <vector>

#include "tests/sim/simulation.h"

namespace lever::sim {

// Lever's with the default idleTimeout of 5 minutes, and with 10 and 20.
std::vector<PolicyMaker> OwnPolicies();
// Knative's pod autoscaler, the rule of the original Lever OS, fixed keep-alive of 5, 10 and 20 minutes,
// the hybrid histogram of "Serverless in the Wild", and a fixed number of instances.
std::vector<PolicyMaker> RivalPolicies();

}  // namespace lever::sim

#endif  // TESTS_SIM_POLICIES_H_
