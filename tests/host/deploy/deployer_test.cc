// From a bundle to a version that serves, with a real store and registry and a control plane that does
// what the test says.
#include "liblever/host/deploy/deployer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/host/deploy/deployer_fixture.h"

namespace lever::deploy {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(DeployerTest, ANewServiceBecomesVersionOne) {
  const auto result = Deploy("one");
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->environment, "dev.lever");
  EXPECT_EQ(result->service, "hello");
  EXPECT_EQ(result->version, 1u);
  EXPECT_FALSE(result->unchanged);
  ASSERT_EQ(control_->deployed.size(), 1u);
  EXPECT_EQ(control_->deployed[0].version, 1u);
  EXPECT_EQ(ReadFile(*store_->EnsureUnpacked(control_->deployed[0].bundle) + "/serve"), "one");
  EXPECT_EQ(steps_.front(), DeployStep::kStored);
}

TEST_F(DeployerTest, TheSameContentIsUnchangedAndStartsNothing) {
  ASSERT_TRUE(Deploy("one").ok());
  const auto again = Deploy("one");
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->unchanged);
  EXPECT_EQ(again->version, 1u);
  EXPECT_EQ(control_->deployed.size(), 1u);
}

TEST_F(DeployerTest, NumbersRiseAndAreNotGivenTwice) {
  ASSERT_EQ(Deploy("one")->version, 1u);
  ASSERT_EQ(Deploy("two")->version, 2u);
  control_->answer = Unavailable("exit status 1: no such module");
  const auto failed = Deploy("three");
  EXPECT_EQ(failed.status().code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(failed.status().message(), HasSubstr("stays at version 2"));
  EXPECT_THAT(failed.status().message(), HasSubstr("no such module"));
  control_->answer = Status::Ok();
  EXPECT_EQ(Deploy("four")->version, 4u);
  // What served before is deployed anew, as what it is: another version.
  EXPECT_EQ(Deploy("one")->version, 5u);
}

TEST_F(DeployerTest, AFirstVersionThatDoesNotStartIsForgotten) {
  control_->answer = Unavailable("no");
  EXPECT_FALSE(Deploy("one").ok());
  Quiet();
  EXPECT_TRUE(Keys().empty());
  EXPECT_EQ(Count("bundles") + Count("trees") + Count("uploads"), 0u);
}

TEST_F(DeployerTest, ABundleIsWhatItsManifestSaid) {
  const auto other = DeployBytes(R"({"name": "other"})", Bundle(kHello, "one"));
  EXPECT_EQ(other.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(other.status().message(), HasSubstr("not the one that was sent before"));
  const auto missing = DeployBytes(R"({"name":"hello","jsEntry":"main.js"})",
                                   Zstd(File("lever.json", R"({"name":"hello","jsEntry":"main.js"})") + End()));
  EXPECT_THAT(missing.status().message(), HasSubstr("jsEntry: \"main.js\" is not in the bundle"));
  const auto plain = DeployBytes(kHello, Zstd(File("lever.json", kHello) + File("serve") + End()));
  EXPECT_THAT(plain.status().message(), HasSubstr("is not executable"));
  const auto broken = DeployBytes(kHello, "no bundle at all");
  EXPECT_EQ(broken.status().code(), LEVER_INVALID_ARGUMENT);
  Quiet();
  EXPECT_TRUE(Keys().empty());
  EXPECT_TRUE(control_->deployed.empty());
  EXPECT_EQ(Count("bundles") + Count("trees") + Count("uploads"), 0u);
}

TEST_F(DeployerTest, RefusesBeforeTheFirstByteWhatCannotBe) {
  EXPECT_EQ(Begin(kHello, "elsewhere").status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(Begin(kHello, "No/Environment").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Begin(R"({"name": "Hello"})").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Begin("{").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Count("uploads"), 0u);
}

TEST_F(DeployerTest, RefusesBeforeTheFirstByteWhatTheHostCannotRun) {
  runnable_ = FailedPrecondition("there is no python3");
  const auto refused = Begin(kHello);
  EXPECT_EQ(refused.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(refused.status().message(), "there is no python3");
  runnable_ = Status::Ok();
  EXPECT_TRUE(Begin(kHello).ok());
}

TEST_F(DeployerTest, ASecondDeployOfAServiceIsRefusedWhileOneIsUnderWay) {
  auto first = Begin(kHello);
  ASSERT_TRUE(first.ok());
  const auto second = Begin(kHello);
  EXPECT_EQ(second.status().code(), LEVER_ABORTED);
  EXPECT_EQ(second.status().executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(Remove("hello").code(), LEVER_ABORTED);
  EXPECT_TRUE(Begin(R"({"name": "another"})").ok());
  first->reset();
  Quiet();
  EXPECT_TRUE(Begin(kHello).ok());
}

TEST_F(DeployerTest, AnUploadThatIsBrokenOffLeavesNothing) {
  {
    auto upload = Begin(kHello);
    ASSERT_TRUE(upload.ok());
    std::optional<Status> appended;
    SliceList bytes;
    bytes.push_back(Slice::Copy(Bundle(kHello, "one").substr(0, 50)));
    (*upload)->Append(std::move(bytes), [&](Status status) { appended = std::move(status); });
    Until([&] { return appended.has_value(); });
    EXPECT_EQ(Count("uploads"), 1u);
  }
  Quiet();
  EXPECT_EQ(Count("uploads"), 0u);
  EXPECT_TRUE(Deploy("one").ok());
}

TEST_F(DeployerTest, UploadsAtATimeAreBounded) {
  std::vector<std::unique_ptr<Deployer::Upload>> uploads;
  for (size_t i = 0; i < Deployer::kDeploysMax; ++i) {
    auto upload = Begin(R"({"name": "s)" + std::to_string(i) + "\"}");
    ASSERT_TRUE(upload.ok());
    uploads.push_back(std::move(upload).value());
  }
  const auto refused = Begin(kHello);
  EXPECT_EQ(refused.status().code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.status().executed(), LEVER_EXECUTED_NO);
}

TEST_F(DeployerTest, AFullPoolIsToldAndFreesTheName) {
  pool_full_ = true;
  EXPECT_EQ(Begin(kHello).status().code(), LEVER_RESOURCE_EXHAUSTED);
  pool_full_ = false;
  Quiet();
  EXPECT_TRUE(Deploy("one").ok());
}

TEST_F(DeployerTest, AfterARestartTheServicesAndTheirVersionsAreThere) {
  ASSERT_TRUE(Deploy("one").ok());
  ASSERT_TRUE(Deploy("two").ok());
  ASSERT_TRUE(Deploy("x", R"({"name": "kept", "minInstances": 1})").ok());
  CloseHost();
  control_->deployed.clear();
  OpenHost();
  std::optional<Status> loaded;
  deployer_->LoadAll([&](Status status) { loaded = std::move(status); });
  Until([&] { return loaded.has_value(); });
  ASSERT_TRUE(loaded->ok());
  Quiet();
  // `kept` is served at once, and then kept running.
  ASSERT_EQ(control_->deployed.size(), 3u);
  EXPECT_EQ(control_->deployed[0].service, "hello");
  EXPECT_EQ(control_->deployed[0].version, 2u);
  EXPECT_EQ(control_->deployed[1].instances_min, 0u);
  EXPECT_EQ(control_->deployed[2].instances_min, 1u);
  EXPECT_TRUE(Deploy("two")->unchanged);
  EXPECT_EQ(Deploy("three")->version, 3u);
}

TEST_F(DeployerTest, ADeployWithStandbysStartsFirstAndAHostThatStartsServesAtOnce) {
  ASSERT_TRUE(Deploy("x", R"({"name": "hello", "standby": 2})").ok());
  ASSERT_EQ(control_->deployed.size(), 1u);
  EXPECT_EQ(control_->deployed[0].standby, 2u);
  EXPECT_TRUE(control_->deployed[0].start_first);
  CloseHost();
  control_->deployed.clear();
  OpenHost();
  std::optional<Status> loaded;
  deployer_->LoadAll([&](Status status) { loaded = std::move(status); });
  Until([&] { return loaded.has_value(); });
  ASSERT_TRUE(loaded->ok());
  ASSERT_EQ(control_->deployed.size(), 1u);
  EXPECT_EQ(control_->deployed[0].standby, 2u);
  EXPECT_FALSE(control_->deployed[0].start_first);
  Quiet();
}

TEST_F(DeployerTest, ARemovedServiceIsForgottenWithItsBundle) {
  ASSERT_TRUE(Deploy("one").ok());
  EXPECT_EQ(Remove("nothing").code(), LEVER_NOT_FOUND);
  ASSERT_TRUE(Remove("hello").ok());
  Quiet();
  // The counter of its shards' generations outlives it.
  EXPECT_THAT(Keys(), testing::ElementsAre(registry::GenerationKey("dev.lever", "hello")));
  EXPECT_EQ(Count("bundles") + Count("trees"), 0u);
  EXPECT_EQ(Remove("hello").code(), LEVER_NOT_FOUND);
}

TEST_F(DeployerTest, TheBundleOfAVersionThatStillDrainsStays) {
  ASSERT_TRUE(Deploy("one").ok());
  const std::string one = control_->deployed[0].bundle;
  scale::InstanceStatus draining;
  draining.environment = "dev.lever";
  draining.service = "hello";
  draining.version = 1;
  control_->instances = {draining};
  ASSERT_TRUE(Deploy("two").ok());
  ASSERT_TRUE(Remove("hello").ok());
  Quiet();
  EXPECT_TRUE(fs::exists(directory_ / ("trees/" + one)));
  control_->instances.clear();
  ASSERT_TRUE(Deploy("three").ok());
  Quiet();
  EXPECT_FALSE(fs::exists(directory_ / ("trees/" + one)));
  EXPECT_EQ(Count("bundles"), 1u);
}

TEST_F(DeployerTest, SaysSoIfTheHostHasTooLittleMemory) {
  EXPECT_THAT(Deploy("one", R"({"name": "hello", "ram": 5000})")->notes, IsEmpty());
  control_->ram_bytes = 1000ull << 20;
  EXPECT_THAT(Deploy("two", R"({"name": "hello", "ram": 1000})")->notes, IsEmpty());
  const auto result = Deploy("three", R"({"name": "hello", "ram": 1001})");
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(result->notes, ElementsAre(HasSubstr("each takes 1001 MiB (ram), and those on this "
                                                   "host may take 1000 MiB together")));
}

TEST_F(DeployerTest, TheNumberOfShardsIsFixedByTheFirstDeployOfAName) {
  ASSERT_TRUE(Deploy("one", R"({"name": "hello", "shards": 16})").ok());
  const auto other = Deploy("two", R"({"name": "hello", "shards": 32})");
  EXPECT_EQ(other.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(other.status().executed(), LEVER_EXECUTED_NO);
  EXPECT_THAT(other.status().message(), HasSubstr("16 shards, not 32"));
  EXPECT_TRUE(Deploy("three", R"({"name": "hello", "shards": 16})").ok());
}

}  // namespace
}  // namespace lever::deploy
