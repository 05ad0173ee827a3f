// Lever's scaling beside others', in the simulator: where it is on the frontier of cost and waiting, it stays
// there.
#include <gtest/gtest.h>

#include "tests/sim/frontier.h"

namespace lever::sim {
namespace {

constexpr uint64_t kSeed = 7;

class ScaleSim : public ::testing::Test {
 protected:
  // In full, but for the one that takes a minute.
  static const Scenario& Named(const std::string& name) {
    static const std::vector<Scenario> full = MakeScenarios(Extent::kFull, kSeed);
    static const std::vector<Scenario> few = MakeScenarios(Extent::kShort, kSeed);
    const std::vector<Scenario>& scenarios = name == "rare" ? few : full;
    for (const Scenario& scenario : scenarios) {
      if (scenario.name == name) return scenario;
    }
    ADD_FAILURE() << name;
    return scenarios.front();
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
                         ::testing::Values("steady", "step", "ramp", "bursts", "diurnal", "flash", "tailed",
                                           "crashes", "rare"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lever::sim
