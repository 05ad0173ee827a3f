// The suite on the embedded registry, and on the wrapper that injects faults while it injects none.
#include "liblever/base/clock.h"
#include "liblever/host/registry/faulty_registry.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "tests/contract/registry/contract.h"
#include "tests/contract/registry/temporary_directory.h"

namespace lever::registry {
namespace {

class SqliteCluster : public Cluster {
 public:
  std::unique_ptr<Registry> Open(Executor* executor) override {
    SqliteRegistryOptions options;
    options.directory = directory_.path() + "/registry";
    options.executor = executor;
    options.clock = &clock_;
    auto registry = SqliteRegistry::Open(options);
    EXPECT_TRUE(registry.ok()) << registry.status().ToString();
    if (!registry.ok()) return nullptr;
    registry_ = registry->get();
    return std::move(registry).value();
  }
  void PassTime(int64_t ns) override {
    clock_.Advance(ns);
    registry_->ClockMoved();
  }
  void InjectCompacted() override { registry_->InjectCompacted(); }

 private:
  TemporaryDirectory directory_;
  ManualClock clock_;
  SqliteRegistry* registry_ = nullptr;
};

// Owns what it wraps.
class OwningFaultyRegistry final : public FaultyRegistry {
 public:
  OwningFaultyRegistry(std::unique_ptr<Registry> registry, Executor* executor)
      : FaultyRegistry(registry.get(), executor, {}), registry_(std::move(registry)) {}

 private:
  std::unique_ptr<Registry> registry_;
};

class FaultlessCluster final : public SqliteCluster {
 public:
  std::unique_ptr<Registry> Open(Executor* executor) override {
    return std::make_unique<OwningFaultyRegistry>(SqliteCluster::Open(executor), executor);
  }
};

constexpr Implementation kImplementations[] = {
    {"Sqlite", []() -> std::unique_ptr<Cluster> { return std::make_unique<SqliteCluster>(); }},
    {"FaultyWithoutFaults",
     []() -> std::unique_ptr<Cluster> { return std::make_unique<FaultlessCluster>(); }},
};

INSTANTIATE_TEST_SUITE_P(Implementations, RegistryContract, testing::ValuesIn(kImplementations),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lever::registry
