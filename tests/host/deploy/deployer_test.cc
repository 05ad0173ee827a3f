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

#include "liblever/host/registry/schema.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "tests/host/deploy/bundle_maker.h"
#include "tests/host/deploy/fake_control.h"
#include "tests/host/deploy/temporary_directory.h"

namespace lever::deploy {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int64_t kLimitNs = 30 * kNanosPerSecond;

class LoopExecutor final : public registry::Executor {
 public:
  explicit LoopExecutor(Loop* loop) : loop_(loop) {}
  void Post(std::function<void()> task) override { loop_->Post(std::move(task)); }

 private:
  Loop* loop_;
};

class DeployerTest : public ::testing::Test {
 protected:
  DeployerTest() {
    LoopOptions options;
    options.posters_drive = false;
    loop_ = std::move(Loop::Open(options)).value();
    control_ = std::make_unique<FakeControl>(loop_.get());
    executor_ = std::make_unique<LoopExecutor>(loop_.get());
    OpenHost();
  }
  ~DeployerTest() override { CloseHost(); }

  void OpenHost() {
    registry::SqliteRegistryOptions options;
    options.directory = directory_ / "registry";
    options.executor = executor_.get();
    registry_ = std::move(registry::SqliteRegistry::Open(options)).value();
    store_ = std::move(BundleStore::Open(directory_.path())).value();
    deployer_ = Deployer::Make({.control = control_.get(),
                                .registry = registry_.get(),
                                .store = store_.get(),
                                .execute = [this](std::function<void()> task) {
                                  if (pool_full_) return false;
                                  loop_->Post(std::move(task));
                                  return true;
                                }});
  }
  void CloseHost() {
    Quiet();
    bool closed = false;
    registry_->Close([&] { closed = true; });
    Until([&] { return closed; });
    deployer_.reset();
    registry_.reset();
    store_.reset();
  }

  void Until(const std::function<bool()>& holds) {
    const int64_t end_ns = Clock::System().NowNs() + kLimitNs;
    while (!holds()) {
      ASSERT_LT(Clock::System().NowNs(), end_ns) << "what was waited for did not come";
      ASSERT_TRUE(loop_->Turn(kNanosPerSecond / 10).ok());
    }
  }
  // Until the registry has nothing under way, whose answers come after those asked before.
  void Quiet() {
    for (int i = 0; i < 3; ++i) {
      bool answered = false;
      registry_->Get("env/x", [&](const auto&) { answered = true; });
      Until([&] { return answered; });
      while (*loop_->Turn(0)) {
      }
    }
  }

  StatusOr<std::unique_ptr<Deployer::Upload>> Begin(const std::string& manifest,
                                                    const std::string& environment = "dev.lever") {
    std::optional<StatusOr<std::unique_ptr<Deployer::Upload>>> begun;
    deployer_->Begin(environment, manifest, loop_.get(), [&](auto upload) { begun = std::move(upload); });
    Until([&] { return begun.has_value(); });
    return std::move(*begun);
  }
  static std::string Bundle(const std::string& manifest, const std::string& content) {
    return Zstd(File("lever.json", manifest) +
                RawEntry{.name = "serve", .content = content, .mode = "0000755"}.Bytes() + End());
  }
  StatusOr<DeployResult> DeployBytes(const std::string& manifest, const std::string& packed,
                                     const std::string& environment = "dev.lever") {
    auto upload = Begin(manifest, environment);
    if (!upload.ok()) return upload.status();
    std::optional<Status> appended;
    SliceList bytes;
    bytes.push_back(Slice::Copy(packed));
    (*upload)->Append(std::move(bytes), [&](Status status) { appended = std::move(status); });
    Until([&] { return appended.has_value(); });
    if (!appended->ok()) return *appended;
    std::optional<StatusOr<DeployResult>> result;
    steps_.clear();
    (*upload)->Finish([this](DeployStep step) { steps_.push_back(step); },
                      [&](StatusOr<DeployResult> done) { result = std::move(done); });
    Until([&] { return result.has_value(); });
    return std::move(*result);
  }
  StatusOr<DeployResult> Deploy(const std::string& content, const std::string& manifest = kHello) {
    return DeployBytes(manifest, Bundle(manifest, content));
  }
  Status Remove(const std::string& service) {
    std::optional<Status> removed;
    deployer_->Remove("dev.lever", service, loop_.get(), [&](Status status) { removed = std::move(status); });
    Until([&] { return removed.has_value(); });
    return std::move(*removed);
  }
  size_t Count(const std::string& folder) const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_ / folder), fs::directory_iterator()));
  }
  std::vector<std::string> Keys() {
    std::optional<StatusOr<registry::RangeResult>> range;
    registry_->Range({}, [&](auto result) { range = std::move(result); });
    Until([&] { return range.has_value(); });
    std::vector<std::string> keys;
    if (range->ok()) {
      for (const auto& entry : (*range)->entries) keys.push_back(entry.key);
    }
    return keys;
  }

  static constexpr const char* kHello = R"({"name": "hello"})";
  TemporaryDirectory directory_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<FakeControl> control_;
  std::unique_ptr<LoopExecutor> executor_;
  std::unique_ptr<registry::SqliteRegistry> registry_;
  std::unique_ptr<BundleStore> store_;
  std::shared_ptr<Deployer> deployer_;
  std::vector<DeployStep> steps_;
  bool pool_full_ = false;
};

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

TEST_F(DeployerTest, ARemovedServiceIsForgottenWithItsBundle) {
  ASSERT_TRUE(Deploy("one").ok());
  EXPECT_EQ(Remove("nothing").code(), LEVER_NOT_FOUND);
  ASSERT_TRUE(Remove("hello").ok());
  Quiet();
  EXPECT_TRUE(Keys().empty());
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
  Quiet();
  EXPECT_TRUE(fs::exists(directory_ / ("trees/" + one)));
  control_->instances.clear();
  ASSERT_TRUE(Deploy("three").ok());
  Quiet();
  EXPECT_FALSE(fs::exists(directory_ / ("trees/" + one)));
  EXPECT_EQ(Count("bundles"), 1u);
}

TEST_F(DeployerTest, FieldsThatAreOnlyKeptAreSaidOnce) {
  const auto result = Deploy("one", R"({"name": "hello", "shards": 16})");
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->notes.size(), 1u);
  EXPECT_THAT(result->notes[0], HasSubstr("shards"));
}

}  // namespace
}  // namespace lever::deploy
