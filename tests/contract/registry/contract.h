// The suite that every implementation of the registry passes: what registry.h promises, tested
// through nothing but registry.h. An implementation gives a factory of clusters and instantiates
// RegistryContract with it.
#ifndef TESTS_CONTRACT_REGISTRY_CONTRACT_H_
#define TESTS_CONTRACT_REGISTRY_CONTRACT_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/contract/registry/executor.h"

namespace lever::registry {

// Where registries open: an empty store at first, and its clock.
class Cluster {
 public:
  virtual ~Cluster() = default;
  // One at a time; again after the one before is gone, on the same store.
  virtual std::unique_ptr<Registry> Open(Executor* executor) = 0;
  // Moves the clock, or waits for it.
  virtual void PassTime(int64_t ns) = 0;
  // Forgets the history, so that whoever watches is told.
  virtual void InjectCompacted() = 0;
};

struct Implementation {
  const char* name;
  std::unique_ptr<Cluster> (*make_cluster)();
};

class RegistryContract : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    cluster_ = GetParam().make_cluster();
    Open();
  }
  void TearDown() override { registry_.reset(); }

  void Open() {
    registry_ = cluster_->Open(&executor_);
    ASSERT_NE(registry_, nullptr);
    blocking_ = std::make_unique<Blocking>(registry_.get(), &executor_);
  }
  void Reopen() {
    registry_.reset();
    Open();
  }

  Revision PutOk(std::string key, std::string value, LeaseId lease = kNoLease) {
    const auto put = blocking_->Put(std::move(key), std::move(value), lease);
    EXPECT_TRUE(put.ok()) << put.status().ToString();
    return put.ok() ? put->revision : 0;
  }
  LeaseId GrantOk(int64_t ttl_ns) {
    const auto lease = blocking_->GrantLease(ttl_ns);
    EXPECT_TRUE(lease.ok()) << lease.status().ToString();
    return lease.ok() ? lease->id : kNoLease;
  }
  std::optional<Entry> Find(const std::string& key) {
    const auto result = blocking_->Get(key);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? result->entry : std::nullopt;
  }
  std::vector<std::string> Keys(const std::string& prefix) {
    std::vector<std::string> keys;
    const auto result = blocking_->Range({prefix, {}, kPageEntriesMax, 0});
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    if (!result.ok()) return keys;
    for (const Entry& entry : result->entries) keys.push_back(entry.key);
    return keys;
  }

  QueueExecutor executor_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Blocking> blocking_;
};

}  // namespace lever::registry

#endif  // TESTS_CONTRACT_REGISTRY_CONTRACT_H_
