// Resources under faults, from the callers to the registry: several real controllers over a real
// registry, instances with the real runtime, and callers that look for the owner. What happens
// (ownership_world.h) is written down, and held against the model of ownership_history.h: in histories of
// clean hand-offs, and in those of any faults.
//
// LEVER_SIMULATION_SEEDS: how many histories of each half (the default takes some seconds). A seed gives
// the same faults; what the registry's own thread has answered by then may differ a little between two
// runs.
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/host/scale/ownership_history.h"
#include "tests/host/scale/ownership_world.h"

namespace lever::scale {
namespace {

constexpr int kBusySteps = 500;
constexpr int kCalmSteps = 600;
// Acknowledged increments: a history with no more of them shows nothing.
constexpr uint64_t kAcknowledgedMin = kBusySteps / 20;

class OwnershipSimulation : public ::testing::TestWithParam<uint64_t> {
 protected:
  static void TearDownTestSuite() {
    const auto say = [](const char* what, uint64_t count) {
      std::printf("%s %" PRIu64 "\n", what, count);
    };
    say("grants", totals_.grants);
    say("hand-offs", totals_.hand_offs);
    say("opened as new", totals_.opened_new);
    say("opened as carried", totals_.opened_carried);
    say("opened as lost", totals_.opened_lost);
    say("dispatches", totals_.dispatches);
    say("successes", totals_.successes);
    say("acknowledged", totals_.acknowledged);
    say("unknown", totals_.unknown);
    say("cut off", totals_.cut);
    say("refused", totals_.refused);
    say("stored", totals_.stored);
    say("fenced", totals_.fenced);
    EXPECT_GT(totals_.acknowledged, histories_ < kHistoriesMin ? 0 : histories_ * kAcknowledgedMin)
        << "nothing has happened";
    totals_ = {};
    histories_ = 0;
  }

  void Run(Faults faults) {
    OwnershipWorld world(GetParam(), faults);
    for (int i = 0; i < kBusySteps && !HasFailure(); ++i) world.Step();
    world.Calm();
    const auto settled = [&world] {
      return world.waiting() == 0 && world.Owned() == world.kShards && world.Scaled();
    };
    for (int i = 0; i < kCalmSteps && !HasFailure() && !settled(); ++i) world.Step();
    EXPECT_EQ(world.Owned(), world.kShards) << "without faults every shard is somebody's";
    EXPECT_EQ(world.waiting(), 0u) << "calls got no answer";
    EXPECT_TRUE(world.Scaled()) << "what was to stop has not";
    for (const std::string& what : Violations(world.history(), faults)) ADD_FAILURE() << what;
    HistoryTotals here;
    AddTotals(world.history(), &here);
    // Of those with faults a few have all hosts paused for most of the time: their mean counts, above.
    if (faults == Faults::kNone) {
      EXPECT_GT(here.hand_offs, world.kShards / 2) << "nothing has happened";
      EXPECT_GT(here.acknowledged, kAcknowledgedMin) << "nothing has happened";
    }
    AddTotals(world.history(), &totals_);
    ++histories_;
  }

 private:
  // As many as a mean means anything of.
  static constexpr uint64_t kHistoriesMin = 6;

  static HistoryTotals totals_;
  static uint64_t histories_;
};

HistoryTotals OwnershipSimulation::totals_;
uint64_t OwnershipSimulation::histories_ = 0;

class CleanHandOffs : public OwnershipSimulation {};
class AnyFaults : public OwnershipSimulation {};

TEST_P(CleanHandOffs, LoseNoIncrementAndFailNoCall) { Run(Faults::kNone); }

TEST_P(AnyFaults, LeaveOneOwnerAndLoseNothingUnreported) { Run(Faults::kAny); }

std::vector<uint64_t> Seeds() {
  const char* wanted = std::getenv("LEVER_SIMULATION_SEEDS");
  const uint64_t count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 6;
  std::vector<uint64_t> seeds;
  for (uint64_t i = 1; i <= count; ++i) seeds.push_back(i);
  return seeds;
}

INSTANTIATE_TEST_SUITE_P(Seeds, CleanHandOffs, ::testing::ValuesIn(Seeds()));
INSTANTIATE_TEST_SUITE_P(Seeds, AnyFaults, ::testing::ValuesIn(Seeds()));

}  // namespace
}  // namespace lever::scale
