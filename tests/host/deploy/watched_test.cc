// Versions that are watched, and those that are taken back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/deploy/deployer_fixture.h"

namespace lever::deploy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kService[] = "lever://dev.lever/hello";

class WatchedTest : public DeployerTest {
 protected:
  // A deploy that waits for its verdict; the answer comes in `result_`.
  void DeployAwaited(const std::string& content, WatchMode mode = WatchMode::kAwait,
                     const std::string& manifest = kHello) {
    auto upload = Begin(manifest);
    ASSERT_TRUE(upload.ok()) << upload.status().ToString();
    (*upload)->SetWatch(mode);
    std::optional<Status> appended;
    SliceList bytes;
    bytes.push_back(Slice::Copy(Bundle(manifest, content)));
    (*upload)->Append(std::move(bytes), [&](Status status) { appended = std::move(status); });
    Until([&] { return appended.has_value(); });
    result_.reset();
    steps_.clear();
    (*upload)->Finish([this](DeployStep step) { steps_.push_back(step); },
                      [this](StatusOr<DeployResult> done) { result_ = std::move(done); });
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 4; ++i) Quiet();
  }
  std::optional<StatusOr<DeployResult>> result_;
};

TEST_F(WatchedTest, TheFirstVersionIsNotWatched) {
  DeployAwaited("one");
  ASSERT_TRUE(result_.has_value());
  EXPECT_TRUE(result_->ok());
  EXPECT_TRUE(control_->watches.empty());
}

TEST_F(WatchedTest, ADeployAnswersWhenTheWatchIsOver) {
  DeployAwaited("one");
  DeployAwaited("two");
  EXPECT_FALSE(result_.has_value());
  EXPECT_THAT(steps_,
              ElementsAre(DeployStep::kStored, DeployStep::kStarting, DeployStep::kWatching));
  EXPECT_EQ(control_->watches.at(kService).first, 30 * kNanosPerSecond);
  control_->EndWatch(kService, scale::WatchResult{});
  Settle();
  ASSERT_TRUE(result_.has_value());
  EXPECT_EQ(result_->value().version, 2u);
}

TEST_F(WatchedTest, ABadVersionIsForgottenAndItsNumberIsNotGivenAgain) {
  DeployAwaited("one");
  DeployAwaited("two");
  control_->services.clear();  // nothing serves version 2 any more
  control_->EndWatch(kService, {.taken_back = true, .why = Unavailable("30 % errors")});
  Settle();
  ASSERT_TRUE(result_.has_value());
  EXPECT_THAT(result_->status().message(),
              HasSubstr("is back at version 1; version 2 was bad: 30 % errors"));
  EXPECT_THAT(Keys(), Not(::testing::Contains(registry::VersionKey("dev.lever", "hello", 2))));
  EXPECT_EQ(Count("bundles"), 1u);
  CloseHost();
  control_->deployed.clear();
  OpenHost();
  deployer_->LoadAll([](Status) {});
  Until([&] { return !control_->deployed.empty(); });
  EXPECT_EQ(control_->deployed.back().version, 1u);
  DeployAwaited("three", WatchMode::kOff);
  EXPECT_EQ(result_->value().version, 3u);
}

TEST_F(WatchedTest, OneThatIsBadAndCannotBeTakenBackStays) {
  DeployAwaited("one");
  DeployAwaited("two");
  control_->EndWatch(kService, {.taken_back = false, .why = Unavailable("it serves still")});
  Settle();
  EXPECT_THAT(result_->status().message(), HasSubstr("it serves still"));
  EXPECT_EQ(Deploy("two")->unchanged, true);
}

TEST_F(WatchedTest, WhoDoesNotWaitIsAnsweredAndItIsWatchedAllTheSame) {
  DeployAwaited("one");
  DeployAwaited("two", WatchMode::kDetach);
  EXPECT_EQ(result_->value().version, 2u);
  control_->EndWatch(kService, {.taken_back = true, .why = Unavailable("bad")});
  Settle();
  EXPECT_THAT(Keys(), Not(::testing::Contains(registry::VersionKey("dev.lever", "hello", 2))));
}

TEST_F(WatchedTest, NothingIsWatchedWhereItIsOff) {
  DeployAwaited("one");
  DeployAwaited("two", WatchMode::kOff);
  EXPECT_TRUE(result_->ok());
  DeployAwaited("three", WatchMode::kAwait, R"({"name": "hello", "watch": 0})");
  EXPECT_TRUE(result_->ok());
  EXPECT_TRUE(control_->watches.empty());
}

TEST_F(WatchedTest, TheNextChangeEndsTheWatch) {
  DeployAwaited("one");
  DeployAwaited("two");
  const auto first = std::exchange(result_, std::nullopt);
  EXPECT_FALSE(first.has_value());
  DeployAwaited("three", WatchMode::kDetach);
  EXPECT_EQ(result_->value().version, 3u);
  std::optional<StatusOr<DeployResult>> back;
  deployer_->Rollback("dev.lever", "hello", 2, loop_.get(),
                      [&](auto done) { back = std::move(done); });
  Settle();
  ASSERT_TRUE(back.has_value() && back->ok());
  EXPECT_TRUE(control_->watches.empty()) << "what was gone back to is not watched";
}

TEST_F(WatchedTest, WhileItIsTakenBackNothingElseIsChanged) {
  DeployAwaited("one");
  DeployAwaited("two");
  control_->taking_back = true;
  EXPECT_EQ(Begin(kHello).status().code(), LEVER_ABORTED);
  control_->taking_back = false;
  control_->EndWatch(kService, {.taken_back = true, .why = Unavailable("bad")});
  Settle();
  EXPECT_TRUE(Begin(kHello).ok());
}

}  // namespace
}  // namespace lever::deploy
