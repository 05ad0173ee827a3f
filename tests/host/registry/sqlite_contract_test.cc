// The embedded registry passes the contract.
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "liblever/host/registry/sqlite_registry.h"
#include "tests/contract/registry/registry_contract.h"

namespace lever::registry {
namespace {

class SqliteUnderTest final : public RegistryUnderTest {
 public:
  SqliteUnderTest() {
    char path[] = "/tmp/lever-registry-XXXXXX";
    directory_ = ::mkdtemp(path);
    SqliteRegistryOptions options;
    options.directory = directory_;
    options.executor = &executor_;
    options.clock = &clock_;
    auto opened = SqliteRegistry::Open(options);
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    registry_ = std::move(opened).value();
  }
  ~SqliteUnderTest() override {
    registry_.reset();
    std::filesystem::remove_all(directory_);
  }
  Registry& registry() override { return *registry_; }
  TestExecutor& executor() override { return executor_; }
  void Advance(int64_t by_ns) override {
    clock_.Advance(by_ns);
    registry_->ClockMoved();
  }
  void Compact() override { registry_->InjectCompacted(); }

 private:
  std::string directory_;
  TestExecutor executor_;
  ManualClock clock_;
  std::unique_ptr<SqliteRegistry> registry_;
};

std::unique_ptr<RegistryUnderTest> MakeSqlite() { return std::make_unique<SqliteUnderTest>(); }

}  // namespace

INSTANTIATE_TEST_SUITE_P(Sqlite, RegistryContract, ::testing::Values(&MakeSqlite));

}  // namespace lever::registry
