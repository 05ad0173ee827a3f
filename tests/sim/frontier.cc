#include "tests/sim/frontier.h"

#include <utility>

namespace lever::sim {

std::vector<Outcome> RunAll(const Scenario& scenario, uint64_t seed) {
  std::vector<Outcome> all;
  std::vector<PolicyMaker> own = OwnPolicies();
  if (scenario.services.size() == 1) own.resize(1);
  for (const PolicyMaker& maker : own) {
    all.push_back({maker.name, true, Simulate(scenario, maker, seed)});
  }
  for (const PolicyMaker& maker : RivalPolicies()) {
    all.push_back({maker.name, false, Simulate(scenario, maker, seed)});
  }
  return all;
}

std::string BetterRival(const Outcome& outcome, const std::vector<Outcome>& all) {
  const Measures& mine = outcome.measures;
  for (const Outcome& other : all) {
    if (other.own) continue;
    const Measures& theirs = other.measures;
    const bool worse = theirs.instance_s > mine.instance_s || theirs.over_goal > mine.over_goal;
    const bool same = theirs.instance_s == mine.instance_s && theirs.over_goal == mine.over_goal;
    if (!worse && !same) return other.policy;
  }
  return "";
}

}  // namespace lever::sim
