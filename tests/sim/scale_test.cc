// Lever's scaling beside others', in the simulator: where it is on the frontier of cost and waiting, it stays
// there.
#include <gtest/gtest.h>

#include "tests/sim/frontier.h"

namespace lever::sim {
namespace {

constexpr uint64_t kSeed = 7;

class ScaleSim : public ::testing::Test {
 protected:
  static const std::vector<Scenario>& Scenarios() {
    static const std::vector<Scenario> all = MakeScenarios(Extent::kShort, kSeed);
    return all;
  }
  static const Scenario& Named(const std::string& name) {
    for (const Scenario& scenario : Scenarios()) {
      if (scenario.name == name) return scenario;
    }
    ADD_FAILURE() << name;
    return Scenarios().front();
  }
};

TEST_F(ScaleSim, TheSameSeedGivesTheSameFigures) {
  for (const char* name : {"flash", "crashes"}) {
    const Measures a = Simulate(Named(name), OwnPolicies().front(), kSeed);
    const Measures b = Simulate(Named(name), OwnPolicies().front(), kSeed);
    EXPECT_EQ(a.instance_s, b.instance_s);
    EXPECT_EQ(a.over_goal, b.over_goal);
    EXPECT_EQ(a.starts, b.starts);
    EXPECT_EQ(a.calls, Named(name).services[0].calls.size()) << "every call is accounted for";
  }
}

class OnTheFrontier : public ScaleSim, public ::testing::WithParamInterface<const char*> {};

TEST_P(OnTheFrontier, NoRivalIsBetterInCostAndWaiting) {
  const Scenario& scenario = Named(GetParam());
  const std::vector<Outcome> all = RunAll(scenario, kSeed);
  EXPECT_EQ(BetterRival(all.front(), all), "");
}

INSTANTIATE_TEST_SUITE_P(Scenarios, OnTheFrontier,
                         ::testing::Values("steady", "step", "bursts", "rare"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lever::sim
