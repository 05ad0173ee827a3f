// A deployer with a real store and registry, on one loop, and a control plane that does what the test
// says.
#ifndef TESTS_HOST_DEPLOY_DEPLOYER_FIXTURE_H_
#define TESTS_HOST_DEPLOY_DEPLOYER_FIXTURE_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "liblever/host/deploy/deployer.h"
#include "liblever/host/registry/loop_executor.h"
#include "liblever/host/registry/schema.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "tests/host/deploy/bundle_maker.h"
#include "tests/host/deploy/fake_control.h"
#include "tests/host/deploy/temporary_directory.h"

namespace lever::deploy {

class DeployerTest : public ::testing::Test {
 protected:
  static constexpr int64_t kLimitNs = 30 * kNanosPerSecond;

  DeployerTest() {
    LoopOptions options;
    options.posters_drive = false;
    loop_ = std::move(Loop::Open(options)).value();
    control_ = std::make_unique<FakeControl>(loop_.get());
    executor_ = std::make_unique<registry::LoopExecutor>(loop_.get());
    OpenHost();
  }
  ~DeployerTest() override { CloseHost(); }

  void OpenHost() {
    registry::SqliteRegistryOptions options;
    options.directory = directory_ / "registry";
    options.executor = executor_.get();
    registry_ = std::move(registry::SqliteRegistry::Open(options)).value();
    store_ = std::move(BundleStore::Open(directory_.path())).value();
    secrets_ = std::move(SecretBox::Load(directory_ / "secret.key")).value();
    deployer_ =
        Deployer::Make({.control = control_.get(),
                        .registry = registry_.get(),
                        .store = store_.get(),
                        .secrets = secrets_.get(),
                        .execute =
                            [this](std::function<void()> task) {
                              if (pool_full_) return false;
                              loop_->Post(std::move(task));
                              return true;
                            },
                        .runnable = [this](const scale::ServiceSpec&) { return runnable_; }});
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
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory_ / folder), std::filesystem::directory_iterator()));
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
  std::unique_ptr<registry::LoopExecutor> executor_;
  std::unique_ptr<registry::SqliteRegistry> registry_;
  std::unique_ptr<BundleStore> store_;
  std::unique_ptr<SecretBox> secrets_;
  std::shared_ptr<Deployer> deployer_;
  std::vector<DeployStep> steps_;
  Status runnable_;  // what the host says of a version
  bool pool_full_ = false;
};

}  // namespace lever::deploy

#endif  // TESTS_HOST_DEPLOY_DEPLOYER_FIXTURE_H_
