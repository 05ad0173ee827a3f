// Silence is not death: an instance that says nothing is stalled, gets no new calls, and comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/policy/silence.h"
#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Stalled : public ControlTest {
 protected:
  InstancePhase PhaseOf(uint64_t key) {
    for (const InstanceStatus& row : Rows()) {
      if (row.pid == 1000 + static_cast<int64_t>(key)) return row.phase;
    }
    return InstancePhase::kStopped;
  }
  void Silent(int64_t by_ns) { AdvanceInSteps(by_ns, kNanosPerSecond / 2); }
};

TEST_F(Stalled, AfterFiveSecondsOfSilenceItGetsNoNewCalls) {
  Deploy(Spec());
  const uint64_t key = Up();
  Silent(policy::kStalledAfterNs - kNanosPerSecond);
  EXPECT_THAT(Listed(), ElementsAre(key));
  Silent(2 * kNanosPerSecond);
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(PhaseOf(key), InstancePhase::kStalled);
  EXPECT_THAT(output.notes, Contains(HasSubstr("stalled: it has said nothing for 5 s")));
  EXPECT_TRUE(driver.killed.empty());
  // It counts as there: no other is started for the calls that wait.
  Demand(3);
  EXPECT_EQ(driver.order.size(), 1u);
  EXPECT_TRUE(failures.empty());
}

TEST_F(Stalled, HeardAgainItServesAgain) {
  Deploy(Spec());
  const uint64_t key = Up();
  Silent(2 * policy::kStalledAfterNs);
  ASSERT_EQ(PhaseOf(key), InstancePhase::kStalled);
  Load(key, 1, 0);
  EXPECT_EQ(PhaseOf(key), InstancePhase::kReady);
  EXPECT_THAT(Listed(), ElementsAre(key));
  // And again from the beginning.
  Silent(policy::kStalledAfterNs - kNanosPerSecond);
  EXPECT_THAT(Listed(), ElementsAre(key));
}

TEST_F(Stalled, AnInstanceThatReportsIsNot) {
  Deploy(Spec());
  const uint64_t key = Up();
  for (int i = 0; i < 100; ++i) {
    Advance(policy::kHeartbeatNs);
    Load(key, 0, 0);
  }
  EXPECT_THAT(Listed(), ElementsAre(key));
}

TEST_F(Stalled, AStartedOneIsKilledAfterThirtySecondsAndAnotherTakesTheCallsThatWait) {
  Deploy(Spec());
  const uint64_t key = Up();
  Silent(policy::kStalledAfterNs + kNanosPerSecond);
  Demand(3);
  Silent(policy::kStallTimeoutNs - policy::kStalledAfterNs - 2 * kNanosPerSecond);
  EXPECT_TRUE(driver.killed.empty());
  Silent(2 * kNanosPerSecond);
  EXPECT_TRUE(driver.killed.contains(key));
  EXPECT_EQ(driver.order.size(), 1u) << "not before it is gone";
  Exited(key);
  ASSERT_EQ(driver.order.size(), 2u);
  EXPECT_TRUE(failures.empty());
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(Last()));
}

TEST_F(Stalled, AnAttachedOneIsDetachedAndNeverSignalled) {
  auto peer = std::make_shared<FakePeer>();
  fleet::AttachHello hello;
  hello.environment = "dev.lever";
  hello.service = "hello";
  hello.listen = "127.0.0.1:5000";
  uint64_t key = 0;
  Do([&] {
    control->Attach(std::move(hello), peer, loop.get(), [&](StatusOr<fleet::AttachWelcome> welcome) {
      ASSERT_TRUE(welcome.ok());
      key = welcome->instance_key;
    });
  });
  Settle();
  Do([&] { control->AttachReady(key); });
  Settle();
  Silent(policy::kStalledAfterNs + kNanosPerSecond);
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_FALSE(peer->ended.has_value());
  Demand();
  EXPECT_TRUE(failures.empty()) << "calls wait for it";
  Silent(policy::kStallTimeoutNs - policy::kStalledAfterNs);
  ASSERT_TRUE(peer->ended.has_value());
  EXPECT_THAT(peer->ended->message(), HasSubstr("stallTimeout"));
  Do([&] { control->AttachEnded(key, *peer->ended); });
  Settle();
  EXPECT_EQ(directory.Find(Hello()), nullptr);
  EXPECT_EQ(removals, 1);
  EXPECT_TRUE(driver.killed.empty());
}

// A host that was stopped itself has heard nothing either.
TEST_F(Stalled, TimeInWhichTheHostDidNotRunIsNoSilence) {
  Deploy(Spec());
  const uint64_t key = Up();
  Advance(200 * kNanosPerSecond);
  EXPECT_EQ(PhaseOf(key), InstancePhase::kReady);
  EXPECT_TRUE(driver.killed.empty());
  EXPECT_THAT(Listed(), ElementsAre(key));
}

TEST_F(Stalled, ADrainingOneHasItsOwnDeadline) {
  Deploy(Spec());
  const uint64_t key = Up();
  Do([&] { control->Remove(Hello(), [](Status) {}); });
  Silent(10 * kNanosPerSecond);
  EXPECT_EQ(PhaseOf(key), InstancePhase::kDraining);
  EXPECT_TRUE(driver.killed.empty());
}

TEST(Silence, CountsWhatTheListenerWasThereFor) {
  policy::Silence silence;
  for (int i = 0; i < 4; ++i) silence.Pass(kNanosPerSecond);
  EXPECT_FALSE(silence.stalled());
  silence.Pass(kNanosPerSecond);
  EXPECT_TRUE(silence.stalled());
  EXPECT_FALSE(silence.over());
  silence.Heard();
  EXPECT_FALSE(silence.stalled());
  silence.Pass(3600 * kNanosPerSecond);
  EXPECT_EQ(silence.silent_ns(), 2 * policy::kSilenceLookNs);
  silence.Pass(-5);
  EXPECT_EQ(silence.silent_ns(), 2 * policy::kSilenceLookNs);
  for (int i = 0; i < 28; ++i) silence.Pass(kNanosPerSecond);
  EXPECT_TRUE(silence.over());
}

}  // namespace
}  // namespace lever::scale
