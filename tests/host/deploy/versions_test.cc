#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/policy/versions_kept.h"
#include "tests/host/deploy/deployer_fixture.h"

namespace lever::deploy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class VersionsTest : public DeployerTest {
 protected:
  template <typename Result, typename Ask>
  Result Answer(Ask ask) {
    std::optional<Result> answer;
    ask([&](Result result) { answer = std::move(result); });
    Until([&] { return answer.has_value(); });
    Settle();
    return std::move(*answer);
  }
  // What a deploy leaves to be done: looking at old versions, dropping them, collecting bundles,
  // twice.
  void Settle() {
    for (int i = 0; i < 4; ++i) Quiet();
  }
  StatusOr<DeployResult> Change(SettingsChange change) {
    return Answer<StatusOr<DeployResult>>([&](auto done) {
      deployer_->ChangeSettings("dev.lever", "hello", std::move(change), loop_.get(), done);
    });
  }
  StatusOr<DeployResult> Rollback(uint64_t version = 0) {
    return Answer<StatusOr<DeployResult>>(
        [&](auto done) { deployer_->Rollback("dev.lever", "hello", version, loop_.get(), done); });
  }
  SettingsInfo Settings() {
    return Answer<StatusOr<SettingsInfo>>(
               [&](auto done) { deployer_->ListSettings("dev.lever", "hello", loop_.get(), done); })
        .value();
  }
  // "3*deploy 2 config": newest first, the one that serves with a star.
  std::string Versions() {
    const auto rows = Answer<StatusOr<std::vector<VersionInfo>>>(
        [&](auto done) { deployer_->ListVersions("dev.lever", "hello", loop_.get(), done); });
    if (!rows.ok()) return rows.status().ToString();
    std::string text;
    for (const VersionInfo& row : *rows) {
      text += (text.empty() ? "" : " ") + std::to_string(row.version) + (row.current ? "*" : ":") +
              row.reason;
    }
    return text;
  }
  const scale::ServiceSpec& Serving() { return control_->deployed.back(); }

  static constexpr const char* kConfigured = R"({"name": "hello", "config": {"a": 1}})";
};

TEST_F(VersionsTest, OldVersionsAreKeptWithTheirBundles) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  EXPECT_EQ(Versions(), "2*deploy 1:deploy");
  EXPECT_EQ(Count("bundles"), 2u);
  ASSERT_TRUE(Remove("hello").ok());
  Settle();
  EXPECT_EQ(Count("bundles"), 0u);
  EXPECT_THAT(Versions(), HasSubstr("NOT_FOUND"));
}

TEST_F(VersionsTest, TheOldestAreCollected) {
  for (size_t i = 0; i < policy::kOldVersionsMax + 3; ++i) {
    ASSERT_TRUE(Deploy("content " + std::to_string(i)).ok());
  }
  // While the last one is watched, none goes that it may be taken back to.
  control_->EndWatch(scale::ServiceName{"dev.lever", "hello"});
  Settle();
  EXPECT_EQ(Count("bundles"), policy::kOldVersionsMax + 1);
  EXPECT_THAT(Versions(), testing::EndsWith(" 3:deploy"));
  EXPECT_EQ(Rollback(2).status().code(), LEVER_NOT_FOUND);
}

TEST_F(VersionsTest, RollbackGoesToTheOneBeforeOrTheOneNamed) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  ASSERT_TRUE(Deploy("three").ok());
  const StatusOr<DeployResult> back = Rollback();
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->version, 2u);
  EXPECT_EQ(Serving().version, 2u);
  EXPECT_EQ(Rollback(1)->version, 1u);
  EXPECT_EQ(Versions(), "3:deploy 2:deploy 1*deploy");
  EXPECT_EQ(Rollback().status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(Rollback(9).status().code(), LEVER_NOT_FOUND);
  EXPECT_TRUE(Rollback(1)->unchanged);
  EXPECT_EQ(Rollback(3)->version, 3u);
  // Numbers go on from the highest.
  Rollback(1).value();
  EXPECT_EQ(Deploy("four")->version, 4u);
}

TEST_F(VersionsTest, ARollbackThatDoesNotStartLeavesWhatServes) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  control_->answer = Unavailable("it crashed: no such module");
  const StatusOr<DeployResult> back = Rollback();
  EXPECT_EQ(back.status().code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(back.status().message(), HasSubstr("no such module"));
  EXPECT_EQ(Versions(), "2*deploy 1:deploy");
}

TEST_F(VersionsTest, AHostThatStartsServesTheVersionThatWasRolledBackTo) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  ASSERT_TRUE(Rollback().ok());
  CloseHost();
  OpenHost();
  std::optional<Status> loaded;
  deployer_->LoadAll([&](Status status) { loaded = std::move(status); });
  Until([&] { return loaded.has_value(); });
  Quiet();
  EXPECT_EQ(Serving().version, 1u);
  EXPECT_EQ(Versions(), "2:deploy 1*deploy");
  EXPECT_EQ(Count("bundles"), 2u);
}

TEST_F(VersionsTest, AChangeOfSettingsIsAVersionOfTheSameBundle) {
  ASSERT_TRUE(Deploy("one", kConfigured).ok());
  const auto changed = Change({.config_json = {{"b", "\"x\""}}});
  ASSERT_TRUE(changed.ok()) << changed.status().ToString();
  EXPECT_EQ(changed->version, 2u);
  EXPECT_EQ(Serving().config_json, R"({"a":1,"b":"x"})");
  EXPECT_EQ(Count("bundles"), 1u);
  EXPECT_TRUE(Change({.config_json = {{"b", "\"x\""}}})->unchanged);
  ASSERT_TRUE(Change({.secrets = {{"token", "hunter2"}}}).ok());
  EXPECT_EQ(Serving().secrets_json, R"({"token":"hunter2"})");
  EXPECT_EQ(Versions(), "3*secret 2:config 1:deploy");
  const SettingsInfo settings = Settings();
  EXPECT_EQ(settings.config_json, R"({"a":1,"b":"x"})");
  EXPECT_THAT(settings.config_set, ElementsAre("b"));
  EXPECT_THAT(settings.secrets, ElementsAre("token"));
}

TEST_F(VersionsTest, ADeployKeepsTheSettingsAndARollbackGoesBackInThem) {
  ASSERT_TRUE(Deploy("one", kConfigured).ok());
  ASSERT_TRUE(Change({.config_json = {{"b", "2"}}, .secrets = {{"s", "x"}}}).ok());
  ASSERT_TRUE(Deploy("two", kConfigured).ok());
  EXPECT_EQ(Serving().config_json, R"({"a":1,"b":2})");
  EXPECT_EQ(Serving().secrets_json, R"({"s":"x"})");
  ASSERT_TRUE(Rollback(1).ok());
  EXPECT_EQ(Serving().config_json, R"({"a":1})");
  EXPECT_EQ(Serving().secrets_json, "");
}

TEST_F(VersionsTest, SettingsThatTheServiceDoesNotStartWithAreTakenBack) {
  ASSERT_TRUE(Deploy("one", kConfigured).ok());
  control_->answer = Unavailable("bad config");
  EXPECT_FALSE(Change({.config_json = {{"b", "2"}}}).ok());
  EXPECT_EQ(Settings().config_json, R"({"a":1})");
  EXPECT_EQ(Versions(), "1*deploy");
}

TEST_F(VersionsTest, WhatIsRefusedChangesNothing) {
  EXPECT_EQ(Change({.config_json = {{"a", "1"}}}).status().code(), LEVER_NOT_FOUND);
  ASSERT_TRUE(Deploy("one", R"({"name": "hello", "config": [1]})").ok());
  EXPECT_EQ(Change({.config_json = {{"a", "1"}}}).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Change({.secrets_unset = {"none"}}).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(Versions(), "1*deploy");
}

TEST_F(VersionsTest, NoSecretIsInTheRegistryAsItIs) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Change({.secrets = {{"token", "hunter2hunter2"}}}).ok());
  const auto range =
      Answer<StatusOr<registry::RangeResult>>([&](auto done) { registry_->Range({}, done); });
  ASSERT_TRUE(range.ok());
  for (const auto& entry : range->entries) EXPECT_THAT(entry.value, Not(HasSubstr("hunter2")));
}

TEST_F(VersionsTest, ACopiedEnvironmentHasTheConfigurationAndNoSecrets) {
  ASSERT_TRUE(Deploy("one", kConfigured).ok());
  ASSERT_TRUE(Change({.config_json = {{"b", "2"}}, .secrets = {{"s", "x"}}}).ok());
  const auto copied = Answer<StatusOr<uint32_t>>(
      [&](auto done) { deployer_->CreateEnvironment("copy", "dev.lever", loop_.get(), done); });
  ASSERT_TRUE(copied.ok());
  EXPECT_EQ(Serving().environment, "copy");
  EXPECT_EQ(Serving().config_json, R"({"a":1,"b":2})");
  EXPECT_EQ(Serving().secrets_json, "");
}

}  // namespace
}  // namespace lever::deploy
