#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/deploy/deployer_fixture.h"

namespace lever::deploy {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class EnvironmentsTest : public DeployerTest {
 protected:
  StatusOr<uint32_t> Create(const std::string& name, const std::string& copy_from = "") {
    std::optional<StatusOr<uint32_t>> answer;
    deployer_->CreateEnvironment(name, copy_from, loop_.get(),
                                 [&](StatusOr<uint32_t> services) { answer = services; });
    Until([&] { return answer.has_value(); });
    return *answer;
  }
  StatusOr<uint32_t> Delete(const std::string& name, Force force = Force::kNo) {
    std::optional<StatusOr<uint32_t>> answer;
    deployer_->DeleteEnvironment(name, force, loop_.get(),
                                 [&](StatusOr<uint32_t> services) { answer = services; });
    Until([&] { return answer.has_value(); });
    return *answer;
  }
  std::vector<std::string> List() {
    std::optional<StatusOr<std::vector<EnvironmentInfo>>> answer;
    deployer_->ListEnvironments(loop_.get(), [&](auto rows) { answer = std::move(rows); });
    Until([&] { return answer.has_value(); });
    std::vector<std::string> texts;
    if (answer->ok()) {
      for (const auto& row : **answer) {
        texts.push_back(row.environment + " " + std::to_string(row.services));
      }
    }
    return texts;
  }
  bool Serves(const std::string& environment, const std::string& service) {
    return std::any_of(control_->services.begin(), control_->services.end(), [&](const auto& row) {
      return row.spec.environment == environment && row.spec.service == service;
    });
  }
};

TEST_F(EnvironmentsTest, OneThatWasMadeTakesServicesAndOutlivesTheHost) {
  EXPECT_THAT(List(), ElementsAre("dev.lever 0"));
  ASSERT_TRUE(Create("shop.prod").ok());
  EXPECT_THAT(control_->environments, Contains("shop.prod"));
  ASSERT_TRUE(DeployBytes(kHello, Bundle(kHello, "a"), "shop.prod").ok());
  EXPECT_THAT(List(), ElementsAre("dev.lever 0", "shop.prod 1"));
  CloseHost();
  control_->environments.clear();
  OpenHost();
  std::optional<Status> loaded;
  deployer_->LoadAll([&](Status status) { loaded = std::move(status); });
  Until([&] { return loaded.has_value(); });
  EXPECT_THAT(control_->environments, Contains("shop.prod"));
  EXPECT_TRUE(Serves("shop.prod", "hello"));
}

TEST_F(EnvironmentsTest, OneIsMadeOnce) {
  ASSERT_TRUE(Create("a").ok());
  EXPECT_EQ(Create("a").status().code(), LEVER_ALREADY_EXISTS);
  EXPECT_EQ(Create("dev.lever").status().code(), LEVER_ALREADY_EXISTS);
  EXPECT_EQ(Create("Not A Name").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Create("").status().code(), LEVER_INVALID_ARGUMENT);
}

TEST_F(EnvironmentsTest, ACopyHasTheServicesAsTheyAre) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  ASSERT_TRUE(Deploy("x", R"({"name": "other", "config": {"a": 1}})").ok());
  const StatusOr<uint32_t> copied = Create("copy", "dev.lever");
  ASSERT_TRUE(copied.ok()) << copied.status().ToString();
  EXPECT_EQ(*copied, 2u);
  EXPECT_TRUE(Serves("copy", "hello"));
  EXPECT_EQ(control_->deployed.back().config_json, R"({"a":1})");
  EXPECT_THAT(Keys(), Contains("version/copy/hello/00000000000000000002"));
  // Each goes its own way, and what both have stays while one has it.
  ASSERT_TRUE(Remove("hello").ok());
  Quiet();
  EXPECT_EQ(Count("bundles"), 2u);
  EXPECT_TRUE(Serves("copy", "hello"));
  const auto next = DeployBytes(kHello, Bundle(kHello, "three"), "copy");
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->version, 3u);
}

TEST_F(EnvironmentsTest, ACopyOfWhatIsNotThereMakesNothing) {
  EXPECT_EQ(Create("copy", "nowhere").status().code(), LEVER_NOT_FOUND);
  EXPECT_THAT(List(), ElementsAre("dev.lever 0"));
}

TEST_F(EnvironmentsTest, OneWithServicesIsDeletedByForceOnly) {
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(DeployBytes(kHello, Bundle(kHello, "a"), "a").ok());
  const StatusOr<uint32_t> refused = Delete("a");
  EXPECT_EQ(refused.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(refused.status().message(), HasSubstr("has hello"));
  EXPECT_TRUE(Serves("a", "hello"));
  const StatusOr<uint32_t> deleted = Delete("a", Force::kYes);
  ASSERT_TRUE(deleted.ok()) << deleted.status().ToString();
  EXPECT_EQ(*deleted, 1u);
  EXPECT_FALSE(Serves("a", "hello"));
  EXPECT_THAT(control_->environments, Not(Contains("a")));
  EXPECT_THAT(List(), ElementsAre("dev.lever 0"));
  EXPECT_EQ(DeployBytes(kHello, Bundle(kHello, "a"), "a").status().code(), LEVER_NOT_FOUND);
}

TEST_F(EnvironmentsTest, OneWithAttachedProgramsStays) {
  ASSERT_TRUE(Create("a").ok());
  scale::ServiceStatus attached;
  attached.spec.environment = "a";
  attached.spec.service = "mine";
  attached.instances = 1;
  control_->services.push_back(attached);
  EXPECT_EQ(Delete("a", Force::kYes).status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(List(), Contains("a 0"));
}

TEST_F(EnvironmentsTest, WhatIsNotThereOrIsTheDefaultIsNotDeleted) {
  EXPECT_EQ(Delete("nowhere").status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(Delete("dev.lever", Force::kYes).status().code(), LEVER_FAILED_PRECONDITION);
}

TEST_F(EnvironmentsTest, NothingIsDeployedToOneThatIsBeingDeleted) {
  ASSERT_TRUE(Create("a").ok());
  auto upload = Begin(kHello, "a");
  ASSERT_TRUE(upload.ok());
  EXPECT_EQ(Delete("a", Force::kYes).status().code(), LEVER_ABORTED);
  upload->reset();
  Quiet();
  // Both at once: one of them comes second, and is refused.
  std::optional<StatusOr<uint32_t>> deleted;
  deployer_->DeleteEnvironment("a", Force::kYes, loop_.get(),
                               [&](StatusOr<uint32_t> services) { deleted = services; });
  EXPECT_EQ(Begin(kHello, "a").status().code(), LEVER_ABORTED);
  Until([&] { return deleted.has_value(); });
  EXPECT_TRUE(deleted->ok());
}

}  // namespace
}  // namespace lever::deploy
