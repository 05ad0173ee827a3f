// Instances that stand by: out of the tables, promoted when the load wants them, and replaced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/policy/silence.h"
#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Standby : public ControlTest {
 protected:
  static ServiceSpec With(uint32_t standby, uint64_t version = 1) {
    ServiceSpec spec = Spec(version);
    spec.instances_max = 5;
    spec.standby = standby;
    return spec;
  }
  // Of those that are there, in the order in which they were started.
  std::vector<uint64_t> In(InstancePhase phase) {
    std::vector<uint64_t> keys;
    for (const InstanceStatus& row : Rows()) {
      if (row.phase == phase) keys.push_back(static_cast<uint64_t>(row.pid - 1000));
    }
    return keys;
  }
  // A service that nobody has called.
  uint64_t Idle() {
    const size_t before = driver.order.size();
    Deploy(With(1));
    EXPECT_EQ(driver.order.size(), before + 1);
    Ready(Last());
    return Last();
  }
};

TEST_F(Standby, IsStartedByTheDeployAndListedNowhere) {
  const uint64_t key = Idle();
  EXPECT_TRUE(deployed && deployed->ok());
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(key));
  EXPECT_EQ(driver.order.size(), 1u);
  Live(3600 * kNanosPerSecond, {key});
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(key)) << "it is never idle";
  EXPECT_EQ(driver.order.size(), 1u);
}

TEST_F(Standby, NobodyIsConnectedToIt) {
  const uint64_t key = Idle();
  std::optional<StatusOr<HostWay>> end;
  Do([&] { control->Connect(key, loop.get(), [&](auto answer) { end = std::move(answer); }); });
  Settle();
  EXPECT_EQ(end->status().code(), LEVER_UNAVAILABLE);
  Demand();
  Do([&] { control->Connect(key, loop.get(), [&](auto answer) { end = std::move(answer); }); });
  Settle();
  EXPECT_TRUE(end->ok());
}

TEST_F(Standby, ACallThatWaitsGetsItAtOnceAndAnotherIsStarted) {
  const uint64_t key = Idle();
  Demand();
  EXPECT_THAT(Listed(), ElementsAre(key));
  ASSERT_EQ(driver.order.size(), 2u);
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(key));
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(Last()));
  EXPECT_EQ(driver.order.size(), 2u);
}

TEST_F(Standby, StaysWhenTheLoadedOnesWereIdle) {
  const uint64_t key = Idle();
  Demand();
  const uint64_t second = Last();
  Live(20 * kNanosPerSecond, {key});
  Ready(second);
  Live(Spec().idle_timeout_ns - 19 * kNanosPerSecond, {key, second});
  EXPECT_EQ(peers[key]->reason, "it was idle") << "another one that stands by is no reason to stay";
  Exited(key);
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(second));
  EXPECT_EQ(driver.order.size(), 2u);
  Demand();
  EXPECT_THAT(Listed(), ElementsAre(second));
}

TEST_F(Standby, ThoseThatBecomeReadyWhileCallsWaitAreForThem) {
  Deploy(With(1));
  Demand(300);
  ASSERT_EQ(driver.order.size(), 4u);
  const std::vector<uint64_t> all = driver.order;
  Ready(all[2]);
  EXPECT_THAT(Listed(), ElementsAre(all[2]));
  Load(all[2], 30, 0);
  Ready(all[0]);
  Ready(all[1]);
  Ready(all[3]);
  EXPECT_EQ(Listed().size(), 4u);
  EXPECT_EQ(driver.order.size(), 5u) << "not more than the most";
  Ready(Last());
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(Last()));
}

TEST_F(Standby, ComesBesideTheMinimum) {
  ServiceSpec spec = With(1);
  spec.instances_min = 1;
  Deploy(spec);
  const uint64_t first = Last();
  Ready(first);
  ASSERT_TRUE(deployed && deployed->ok());
  ASSERT_EQ(driver.order.size(), 2u);
  const uint64_t second = Last();
  Ready(second);
  EXPECT_THAT(Listed(), ElementsAre(first));
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(second));
  // One that is lost is replaced without a call, and without a start.
  Exited(first, 1);
  EXPECT_THAT(Listed(), ElementsAre(second));
}

// As a host does that starts: it serves at once, and then what is to be kept is started.
TEST_F(Standby, ADeployOfTheSameVersionTakesWhatStartsAlready) {
  Deploy(With(2));
  ServiceSpec spec = With(2);
  spec.instances_min = 1;
  Deploy(spec);
  EXPECT_EQ(driver.order.size(), 2u);
  const std::vector<uint64_t> all = driver.order;
  Ready(all[0]);
  EXPECT_TRUE(deployed && deployed->ok());
  EXPECT_THAT(Listed(), ElementsAre(all[0]));
  ASSERT_EQ(driver.order.size(), 3u);
  Ready(all[1]);
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(all[0]));
  EXPECT_EQ(In(InstancePhase::kStandby).size(), 2u);
  EXPECT_EQ(driver.order.size(), 3u);
}

TEST_F(Standby, ThatCrashesIsReplacedAfterTheBackoffAndFailsNoCall) {
  const uint64_t key = Idle();
  Demand();
  const uint64_t starting = Last();
  Started(starting);
  Exited(starting, 1);
  EXPECT_THAT(failures, IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre(key));
  EXPECT_EQ(driver.order.size(), 2u) << "not before the back-off is over";
  Live(static_cast<int64_t>(1.3 * policy::kBackoffFirstNs), {key});
  ASSERT_EQ(driver.order.size(), 3u);
  Ready(Last());
  const uint64_t standby = Last();
  ASSERT_THAT(In(InstancePhase::kStandby), ElementsAre(standby));
  Live(policy::kStableUptimeNs, {key, standby});
  Exited(standby, 1);
  EXPECT_EQ(driver.order.size(), 4u) << "it had run for a while: at once";
  EXPECT_THAT(Listed(), ElementsAre(key));
  EXPECT_THAT(failures, IsEmpty());
}

TEST_F(Standby, ThatLosesItsSessionIsNotPromoted) {
  const uint64_t key = Idle();
  Do([&] { control->AttachEnded(key, Unavailable("gone")); });
  Settle();
  EXPECT_EQ(driver.order.size(), 2u);
  Demand();
  EXPECT_THAT(Listed(), IsEmpty());
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(Last()));
}

TEST_F(Standby, ThatIsSilentIsNotPromotedAndKilledInTheEnd) {
  const uint64_t key = Idle();
  AdvanceInSteps(2 * policy::kStalledAfterNs, kNanosPerSecond / 2);
  Demand();
  EXPECT_THAT(Listed(), IsEmpty());
  ASSERT_EQ(driver.order.size(), 3u) << "one for the call, one to stand by";
  const uint64_t second = driver.order[1];
  const uint64_t third = driver.order[2];
  Ready(second);
  EXPECT_THAT(Listed(), ElementsAre(second));
  Ready(third);
  Live(policy::kStallTimeoutNs, {second, third});
  EXPECT_TRUE(driver.killed.contains(key));
  EXPECT_FALSE(driver.killed.contains(second) || driver.killed.contains(third));
}

TEST_F(Standby, ThatIsHeardAgainAfterItWasReplacedIsOneTooMany) {
  const uint64_t key = Idle();
  AdvanceInSteps(2 * policy::kStalledAfterNs, kNanosPerSecond / 2);
  Demand();
  Ready(driver.order[1]);
  Ready(driver.order[2]);
  Load(key, 0, 0);
  EXPECT_THAT(peers[key]->reason + peers[driver.order[2]]->reason, HasSubstr("more standbys"));
  EXPECT_EQ(In(InstancePhase::kStandby).size(), 1u);
  EXPECT_THAT(Listed(), ElementsAre(driver.order[1]));
}

// ---- Versions ----

TEST_F(Standby, OfTheOldVersionServesUntilTheNewOneDoesWhichBringsItsOwn) {
  const uint64_t old = Idle();
  Deploy(With(1, 2));
  ASSERT_EQ(driver.order.size(), 2u);
  const uint64_t next = Last();
  EXPECT_EQ(driver.started.at(next).version, 2u);
  Demand();
  EXPECT_THAT(Listed(), ElementsAre(old));
  const uint64_t old_standby = Last();
  ASSERT_EQ(driver.started.at(old_standby).version, 1u);
  Ready(old_standby);
  Ready(next);
  ASSERT_TRUE(deployed && deployed->ok());
  EXPECT_THAT(Listed(), ElementsAre(next));
  EXPECT_EQ(peers[old]->reason, "version 2 takes its place");
  EXPECT_EQ(peers[old_standby]->reason, "version 2 takes its place");
  ASSERT_EQ(driver.order.size(), 4u);
  EXPECT_EQ(driver.started.at(Last()).version, 2u);
  Ready(Last());
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(Last()));
}

TEST_F(Standby, ANewVersionThatWantsNoneStopsThem) {
  const uint64_t old = Idle();
  Deploy(With(0, 2));
  Ready(Last());
  EXPECT_EQ(peers[old]->reason, "version 2 takes its place");
  EXPECT_EQ(driver.order.size(), 2u);
  EXPECT_THAT(Listed(), ElementsAre(Last()));
}

TEST_F(Standby, OfABadVersionGoesWithIt) {
  Deploy(Spec(1));
  const uint64_t old = Up();
  Deploy(With(3, 2));
  const uint64_t bad = Last();
  Ready(bad);
  std::optional<WatchResult> result;
  Do([&] {
    control->Watch(Hello(), 30 * kNanosPerSecond, [&](WatchResult end) { result = std::move(end); });
  });
  Exited(old);
  ASSERT_EQ(driver.order.size(), 5u);
  const std::vector<uint64_t> standbys(driver.order.begin() + 2, driver.order.end());
  Ready(standbys[0]);
  for (size_t i = 1; i < standbys.size(); ++i) Started(standbys[i]);
  Exited(bad, 139);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_EQ(peers[standbys[0]]->reason, "version 1 takes its place");
  EXPECT_TRUE(driver.killed.contains(standbys[1]) && driver.killed.contains(standbys[2]));
  Demand();
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(driver.started.at(Last()).version, 1u);
}

TEST_F(Standby, ACanaryHasNone) {
  const uint64_t standby = Idle();
  Demand();
  Ready(Last());
  std::optional<Status> ready;
  Do([&] {
    control->SetCanary(With(1, 2), {.share = 1000}, CanaryStart::kWhenReady,
                       [&](Status status) { ready = std::move(status); });
  });
  Settle();
  ASSERT_EQ(driver.order.size(), 3u);
  const uint64_t canary = Last();
  Ready(canary);
  EXPECT_TRUE(ready && ready->ok());
  EXPECT_THAT(Listed(), ElementsAre(standby, canary));
  EXPECT_EQ(driver.order.size(), 3u);
  // Once it serves, it has.
  Deploy(With(1, 2));
  EXPECT_THAT(Listed(), ElementsAre(canary));
  ASSERT_EQ(driver.order.size(), 4u);
  Ready(Last());
  EXPECT_THAT(In(InstancePhase::kStandby), ElementsAre(Last()));
}

TEST_F(Standby, GoesWithTheServiceAndWithTheHost) {
  const uint64_t key = Idle();
  Do([&] { control->Remove(Hello(), [](Status) {}); });
  Settle();
  EXPECT_EQ(peers[key]->reason, "the service was removed");
  Exited(key);
  const uint64_t second = Idle();
  bool done = false;
  Do([&] { control->Shutdown([&] { done = true; }); });
  Settle();
  EXPECT_EQ(peers[second]->reason, "the host is shutting down");
  Exited(second);
  EXPECT_TRUE(done);
  EXPECT_EQ(driver.order.size(), 2u);
}

}  // namespace
}  // namespace lever::scale
