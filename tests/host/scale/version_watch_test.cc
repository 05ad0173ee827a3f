// A version that took over is watched, and taken back if it is bad.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/policy/silence.h"
#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class VersionWatchTest : public ControlTest {
 protected:
  static constexpr int64_t kWatchNs = 30 * kNanosPerSecond;

  void Watch() {
    result.reset();
    Do([&] {
      control->Watch(Hello(), kWatchNs, [this](WatchResult end) { result = std::move(end); });
    });
  }
  void Ended(uint64_t key, uint64_t ended, uint64_t errors) {
    Do([&] {
      fleet::LoadReportData report;
      report.ended_total = totals[key].first += ended;
      report.errors_total = totals[key].second += errors;
      report.last_active_ns = clock.NowNs();
      control->AttachLoad(key, report);
    });
    Settle();
  }
  // Version 2 took over from version 1, which had answered 1,000 calls.
  void Upgrade() {
    Deploy(Spec(1));
    old = Up();
    Ended(old, 1000, 5);
    Deploy(Spec(2));
    bad = Last();
    Ready(bad);
    ASSERT_TRUE(deployed && deployed->ok());
    Watch();
    Exited(old);
    ASSERT_THAT(Listed(), ElementsAre(bad));
  }

  uint64_t old = 0;
  uint64_t bad = 0;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> totals;
  std::optional<WatchResult> result;
};

TEST_F(VersionWatchTest, OneThatIsGoodIsKept) {
  Upgrade();
  Ended(bad, 1000, 5);
  Live(kWatchNs - kNanosPerSecond, {bad});
  EXPECT_FALSE(result.has_value());
  Live(2 * kNanosPerSecond, {bad});
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->taken_back);
  EXPECT_TRUE(result->why.ok());
  Ended(bad, 1000, 1000);
  EXPECT_THAT(Listed(), ElementsAre(bad)) << "the watch is over";
}

TEST_F(VersionWatchTest, OneWithErrorsServesUntilTheVersionBeforeDoes) {
  Upgrade();
  output.last_words = "TypeError: x is undefined";
  Ended(bad, 100, 30);
  EXPECT_THAT(Listed(), ElementsAre(bad));
  EXPECT_FALSE(result.has_value());
  ASSERT_NE(Last(), bad);
  EXPECT_EQ(driver.started.at(Last()).version, 1u);
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(Last()));
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_THAT(result->why.message(), HasSubstr("30 % of its 100 calls ended in errors"));
  EXPECT_THAT(result->why.message(), HasSubstr("TypeError: x is undefined"));
  EXPECT_THAT(peers[bad]->reason, HasSubstr("version 1 takes its place"));
}

TEST_F(VersionWatchTest, ACrashOfItsOnlyInstanceTakesItBackAndCallsWait) {
  Upgrade();
  output.last_words = "Segmentation fault";
  Exited(bad, 139);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_THAT(result->why.message(), HasSubstr("Segmentation fault"));
  Demand(3);
  EXPECT_EQ(driver.started.at(Last()).version, 1u);
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(Last()));
  EXPECT_THAT(failures, IsEmpty());
}

TEST_F(VersionWatchTest, OneThatIsSilentDoesNotOutliveItsVersion) {
  Deploy(Spec(1));
  old = Up();
  ServiceSpec two = Spec(2);
  two.instances_min = 2;
  Deploy(two);
  ASSERT_EQ(driver.order.size(), 3u);
  const uint64_t silent = driver.order[1];
  const uint64_t crashes = driver.order[2];
  Ready(silent);
  Ready(crashes);
  Watch();
  Exited(old);
  Live(policy::kStalledAfterNs + kNanosPerSecond, {crashes});
  ASSERT_THAT(Listed(), ElementsAre(crashes));
  Exited(crashes, 139);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_THAT(peers[silent]->reason, HasSubstr("version 1 takes its place"));
}

// It was deployed while nothing of the service ran.
TEST_F(VersionWatchTest, OneThatDoesNotStartAtItsFirstCallIsTakenBackAndTheCallGoesOn) {
  Deploy(Spec(1));
  Deploy(Spec(2));
  Watch();
  Demand(1);
  EXPECT_EQ(driver.started.at(Last()).version, 2u);
  Started(Last());
  Exited(Last(), 1);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_EQ(driver.started.at(Last()).version, 1u);
  Ready(Last());
  EXPECT_THAT(failures, IsEmpty());
}

TEST_F(VersionWatchTest, IfTheVersionBeforeDoesNotStartAgainTheBadOneStays) {
  Upgrade();
  Ended(bad, 100, 30);
  Do([&] { EXPECT_FALSE(control->EndWatch(Hello())) << "it is being taken back"; });
  const uint64_t again = Last();
  Started(again);
  Exited(again, 1);
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->taken_back);
  EXPECT_THAT(result->why.message(), HasSubstr("version 1 does not start again"));
  EXPECT_THAT(Listed(), ElementsAre(bad));
  Do([&] { EXPECT_TRUE(control->EndWatch(Hello())); });
}

TEST_F(VersionWatchTest, ADeployARemovalAndTheEndOfTheHostEndIt) {
  Upgrade();
  Deploy(Spec(3));
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->taken_back);
  Ready(Last());
  Watch();
  Do([&] { control->Remove(Hello(), [](Status) {}); });
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->taken_back);
}

TEST_F(VersionWatchTest, WithoutAVersionBeforeThereIsNothingToWatch) {
  Deploy(Spec(1));
  Watch();
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->taken_back);
}

}  // namespace
}  // namespace lever::scale
