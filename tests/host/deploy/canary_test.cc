// Canaries: what the registry knows of them, and what may be done while there is one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/deploy/deployer_fixture.h"

namespace lever::deploy {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr char kService[] = "lever://dev.lever/hello";
constexpr scale::CanaryTerms kTenth{.share = 1000};
constexpr scale::CanaryTerms kHalf{.share = 5000, .sticky = true};

class DeployCanaryTest : public DeployerTest {
 protected:
  StatusOr<DeployResult> DeployCanary(const std::string& content, scale::CanaryTerms terms) {
    auto upload = Begin(kHello);
    if (!upload.ok()) return upload.status();
    (*upload)->SetCanary(terms);
    (*upload)->SetWatch(WatchMode::kDetach);
    std::optional<Status> appended;
    SliceList bytes;
    bytes.push_back(Slice::Copy(Bundle(kHello, content)));
    (*upload)->Append(std::move(bytes), [&](Status status) { appended = std::move(status); });
    Until([&] { return appended.has_value(); });
    std::optional<StatusOr<DeployResult>> result;
    (*upload)->Finish([](DeployStep) {}, [&](auto done) { result = std::move(done); });
    Until([&] { return result.has_value(); });
    return *result;
  }
  StatusOr<DeployResult> Promote() {
    std::optional<StatusOr<DeployResult>> result;
    deployer_->Promote("dev.lever", "hello", loop_.get(),
                       [&](auto done) { result = std::move(done); });
    Until([&] { return result.has_value(); });
    return *result;
  }
  StatusOr<DeployResult> Rollback(uint64_t version) {
    std::optional<StatusOr<DeployResult>> result;
    deployer_->Rollback("dev.lever", "hello", version, loop_.get(),
                        [&](auto done) { result = std::move(done); });
    Until([&] { return result.has_value(); });
    return *result;
  }
  std::vector<VersionInfo> Versions() {
    std::optional<StatusOr<std::vector<VersionInfo>>> rows;
    deployer_->ListVersions("dev.lever", "hello", loop_.get(),
                            [&](auto done) { rows = std::move(done); });
    Until([&] { return rows.has_value(); });
    return std::move(**rows);
  }
  void Begin12() {
    ASSERT_TRUE(Deploy("one").ok());
    const auto result = DeployCanary("two", kTenth);
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    EXPECT_EQ(result->version, 2u);
    EXPECT_EQ(result->canary_share, 1000u);
  }
};

TEST_F(DeployCanaryTest, ItStandsBesideTheVersionThatServes) {
  Begin12();
  EXPECT_THAT(control_->canaries, Contains(Pair(kService, Pair(2u, kTenth))));
  EXPECT_EQ(control_->deployed.size(), 1u) << "version 1";
  const std::vector<VersionInfo> rows = Versions();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].canary, kTenth);
  EXPECT_FALSE(rows[0].current);
  EXPECT_TRUE(rows[1].current);
  EXPECT_EQ(rows[1].canary.share, 0u);
  EXPECT_EQ(control_->watches.size(), 1u);
}

TEST_F(DeployCanaryTest, WithoutAVersionThatServesThereIsNone) {
  const auto result = DeployCanary("one", kTenth);
  EXPECT_EQ(result.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_TRUE(control_->canaries.empty());
}

TEST_F(DeployCanaryTest, TheSameContentChangesItsShare) {
  Begin12();
  const auto result = DeployCanary("two", kHalf);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->version, 2u);
  EXPECT_EQ(result->canary_share, 5000u);
  EXPECT_THAT(control_->canaries, Contains(Pair(kService, Pair(2u, kHalf))));
  EXPECT_TRUE(DeployCanary("two", kHalf)->unchanged);
  EXPECT_EQ(Versions().size(), 2u);
}

TEST_F(DeployCanaryTest, AHostThatStartsAgainHasIt) {
  Begin12();
  CloseHost();
  control_->canaries.clear();
  control_->deployed.clear();
  OpenHost();
  deployer_->LoadAll([](Status) {});
  Until([&] { return !control_->canaries.empty(); });
  EXPECT_THAT(control_->canaries, Contains(Pair(kService, Pair(2u, kTenth))));
  EXPECT_EQ(control_->deployed.back().version, 1u);
}

TEST_F(DeployCanaryTest, PromotedItIsTheVersionThatServes) {
  Begin12();
  const auto result = Promote();
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->version, 2u);
  EXPECT_EQ(control_->deployed.back().version, 2u);
  const std::vector<VersionInfo> rows = Versions();
  EXPECT_TRUE(rows[0].current);
  EXPECT_EQ(rows[0].canary.share, 0u);
  EXPECT_EQ(control_->watches.size(), 1u) << "it is watched";
  EXPECT_EQ(Promote().status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(Deploy("three")->version, 3u);
}

TEST_F(DeployCanaryTest, RollbackGivesItUpAndKeepsTheVersion) {
  Begin12();
  const auto result = Rollback(0);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->version, 1u);
  EXPECT_TRUE(control_->canaries.empty());
  EXPECT_EQ(control_->deployed.size(), 1u) << "version 1 served all the while";
  EXPECT_EQ(Versions().size(), 2u);
  EXPECT_EQ(Rollback(2)->version, 2u) << "it is a version like any other";
}

TEST_F(DeployCanaryTest, NothingElseIsChangedMeanwhile) {
  Begin12();
  const auto other = Deploy("three");
  EXPECT_EQ(other.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(other.status().message(),
              HasSubstr("version 2 is a canary with 10 % of the calls: `lever promote`"));
  EXPECT_EQ(DeployCanary("three", kTenth).status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(Rollback(2).status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(control_->canaries, Contains(Pair(kService, Pair(2u, kTenth))));
  EXPECT_EQ(Versions().size(), 2u);
}

TEST_F(DeployCanaryTest, ABadOneIsForgotten) {
  Begin12();
  control_->EndWatch(kService, {.taken_back = true, .why = Unavailable("30 % errors")});
  for (int i = 0; i < 4; ++i) Quiet();
  EXPECT_THAT(Keys(), Not(Contains(registry::VersionKey("dev.lever", "hello", 2))));
  ASSERT_EQ(Versions().size(), 1u);
  EXPECT_TRUE(Versions()[0].current);
  EXPECT_EQ(DeployCanary("three", kTenth)->version, 3u) << "its number is not given again";
}

TEST_F(DeployCanaryTest, OneThatIsBadOncePromotedIsTakenBackAsAnyOther) {
  Begin12();
  ASSERT_TRUE(Promote().ok());
  control_->EndWatch(kService, {.taken_back = true, .why = Unavailable("30 % errors")});
  for (int i = 0; i < 4; ++i) Quiet();
  const std::vector<VersionInfo> rows = Versions();
  ASSERT_EQ(rows.size(), 2u) << "it is kept, as one that was gone back from";
  EXPECT_TRUE(rows[1].current);
  EXPECT_EQ(rows[0].canary.share, 0u);
}

TEST_F(DeployCanaryTest, OneThatDoesNotStartLeavesNothing) {
  ASSERT_TRUE(Deploy("one").ok());
  control_->answer = Unavailable("no such module");
  const auto result = DeployCanary("two", kTenth);
  EXPECT_THAT(result.status().message(),
              HasSubstr("stays at version 1; version 2 does not start: no such module"));
  EXPECT_THAT(Keys(), Not(Contains(registry::VersionKey("dev.lever", "hello", 2))));
}

}  // namespace
}  // namespace lever::deploy
