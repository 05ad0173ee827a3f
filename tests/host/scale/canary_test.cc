// A version that gets a share of the calls beside the one that serves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

class CanaryTest : public ControlTest {
 protected:
  void SetCanary(uint64_t version, CanaryTerms terms, CanaryStart start = CanaryStart::kWhenReady) {
    set.reset();
    Do([&] {
      control->SetCanary(Spec(version), terms, start,
                         [this](Status status) { set = std::move(status); });
    });
    Settle();
  }
  const ListedService& Seen() { return *directory.Find(Hello()); }
  // Version 1 serves, version 2 has a tenth.
  void Begin() {
    Deploy(Spec(1));
    old = Up();
    SetCanary(2, {.share = 1000});
    canary = Last();
    ASSERT_NE(canary, old);
    ASSERT_FALSE(set.has_value()) << "it is not ready";
    EXPECT_THAT(Listed(), ElementsAre(old));
    Ready(canary);
    ASSERT_TRUE(set && set->ok());
  }
  void Ended(uint64_t key, uint64_t ended, uint64_t errors) {
    Do([&] {
      fleet::LoadReportData report;
      report.ended_total = ended;
      report.errors_total = errors;
      report.last_active_ns = clock.NowNs();
      control->AttachLoad(key, report);
    });
    Settle();
  }
  void Watch() {
    Do([&] {
      control->Watch(Hello(), 30 * kNanosPerSecond,
                     [this](WatchResult end) { result = std::move(end); });
    });
  }

  uint64_t old = 0;
  uint64_t canary = 0;
  std::optional<Status> set;
  std::optional<WatchResult> result;
};

TEST_F(CanaryTest, BothVersionsAreListedAndTheCanarysComeLast) {
  Begin();
  EXPECT_THAT(Listed(), ElementsAre(old, canary));
  EXPECT_EQ(Seen().canary_instances, 1u);
  EXPECT_EQ(Seen().canary_share, 1000u);
  EXPECT_EQ(Seen().view->canary_version, 2u);
  EXPECT_EQ(Seen().view->version, 1u);
  SetCanary(2, {.share = 5000, .sticky = true});
  EXPECT_TRUE(set && set->ok());
  EXPECT_EQ(driver.order.size(), 2u) << "another share starts nothing";
  EXPECT_EQ(Seen().canary_share, 5000u);
  EXPECT_TRUE(Seen().canary_sticky);
}

TEST_F(CanaryTest, NeitherVersionIsIdleForGood) {
  Begin();
  Live(1200 * kNanosPerSecond, {old, canary});
  EXPECT_THAT(Listed(), ElementsAre(old, canary));
}

TEST_F(CanaryTest, OneThatDoesNotStartIsGivenUp) {
  Deploy(Spec(1));
  old = Up();
  output.last_words = "no such module";
  SetCanary(2, {.share = 1000});
  Started(Last());
  Exited(Last(), 1);
  ASSERT_TRUE(set.has_value());
  EXPECT_THAT(set->message(), HasSubstr("no such module"));
  EXPECT_THAT(Listed(), ElementsAre(old));
  EXPECT_EQ(Seen().view->canary_version, 0u);
  EXPECT_EQ(driver.order.size(), 2u);
}

TEST_F(CanaryTest, AHostThatStartsHasItWhateverBecomesOfItsFirstStart) {
  Deploy(Spec(1));
  SetCanary(2, {.share = 1000}, CanaryStart::kAtOnce);
  EXPECT_TRUE(set && set->ok());
  ASSERT_EQ(driver.order.size(), 2u) << "each version starts an instance";
  Started(driver.order[1]);
  Exited(driver.order[1], 1);
  EXPECT_EQ(Seen().view->canary_version, 2u);
  Advance(kNanosPerSecond);
  EXPECT_GT(driver.order.size(), 2u) << "it is started again";
}

TEST_F(CanaryTest, PromotedItServesAloneFromTheSameMoment) {
  Begin();
  Deploy(Spec(2));
  EXPECT_TRUE(deployed && deployed->ok());
  EXPECT_THAT(Listed(), ElementsAre(canary));
  EXPECT_EQ(Seen().canary_instances, 0u);
  EXPECT_EQ(Seen().view->version, 2u);
  EXPECT_THAT(peers[old]->reason, HasSubstr("version 2 takes its place"));
  EXPECT_EQ(driver.order.size(), 2u);
}

// Version 1 with several instances, version 2 a canary with one.
class Promotion : public CanaryTest {
 protected:
  static ServiceSpec Wide(uint64_t version) {
    auto spec = Spec(version);
    spec.instances_max = 10;
    return spec;
  }
  void Begin() {
    Deploy(Wide(1));
    old = Up();
    Load(old, 25, 0);
    all_old = driver.order;
    for (size_t i = 1; i < all_old.size(); ++i) Ready(all_old[i]);
    ASSERT_GE(all_old.size(), 3u);
    SetCanary(2, {.share = 1000});
    canary = Last();
    Ready(canary);
    Deploy(Wide(2));
    EXPECT_FALSE(deployed.has_value());
    started.assign(driver.order.begin() + static_cast<ptrdiff_t>(all_old.size()) + 1,
                   driver.order.end());
    ASSERT_EQ(started.size(), all_old.size() - 1) << "one is there";
  }
  std::vector<uint64_t> all_old, started;
};

TEST_F(Promotion, WaitsForAsManyAsTheLoadNeeds) {
  Begin();
  EXPECT_EQ(Seen().canary_share, 1000u) << "it keeps its share meanwhile";
  for (const uint64_t key : started) Ready(key);
  EXPECT_TRUE(deployed && deployed->ok());
  EXPECT_EQ(Listed().size(), all_old.size());
  EXPECT_EQ(Seen().view->version, 2u);
  EXPECT_THAT(peers[old]->reason, HasSubstr("version 2 takes its place"));
}

TEST_F(Promotion, ThatFailsLeavesACanary) {
  Begin();
  Exited(started[0], 1);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_EQ(deployed->code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Seen().view->version, 1u);
  EXPECT_EQ(Seen().canary_share, 1000u);
  EXPECT_EQ(peers[canary]->reason, "");
}

TEST_F(Promotion, IsOverWhenTheCanaryIsGivenUp) {
  Begin();
  Do([&] { control->EndCanary(Hello()); });
  Settle();
  ASSERT_TRUE(deployed.has_value());
  EXPECT_EQ(deployed->code(), LEVER_ABORTED);
  EXPECT_THAT(Listed(), UnorderedElementsAreArray(all_old));
}

TEST_F(CanaryTest, GivenUpItsInstancesDrain) {
  Begin();
  Do([&] { control->EndCanary(Hello()); });
  Settle();
  EXPECT_THAT(Listed(), ElementsAre(old));
  EXPECT_THAT(peers[canary]->reason, HasSubstr("given up"));
}

TEST_F(CanaryTest, ABadOneIsMeasuredByTheVersionBesideItAndTakenBack) {
  Begin();
  Watch();
  Ended(old, 900, 9);
  Ended(canary, 100, 1);
  EXPECT_FALSE(result.has_value()) << "both have one error in a hundred";
  Ended(canary, 200, 31);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_THAT(result->why.message(), HasSubstr("calls ended in errors"));
  EXPECT_THAT(Listed(), ElementsAre(old));
  EXPECT_EQ(driver.order.size(), 2u) << "the version beside it serves already";
}

TEST_F(CanaryTest, OneThatCrashesIsTakenBackAndTheOtherIsNot) {
  Begin();
  Watch();
  Exited(old, 139);
  EXPECT_FALSE(result.has_value()) << "it was not the canary";
  Advance(kNanosPerSecond);  // the back-off
  ASSERT_EQ(driver.started.at(Last()).version, 1u);
  Ready(Last());
  Exited(canary, 139);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->taken_back);
  EXPECT_THAT(Listed(), ElementsAre(Last()));
}

TEST_F(CanaryTest, AfterItsWatchOneThatCrashesStartsAgain) {
  Begin();
  Exited(canary, 139);
  EXPECT_THAT(Listed(), ElementsAre(old));
  Advance(kNanosPerSecond);
  ASSERT_NE(Last(), canary);
  EXPECT_EQ(driver.started.at(Last()).version, 2u);
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(old, Last()));
}

TEST_F(CanaryTest, WithoutAServiceThereIsNone) {
  SetCanary(2, {.share = 1000});
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(set->code(), LEVER_FAILED_PRECONDITION);
}

}  // namespace
}  // namespace lever::scale
