// The registry's contract as tests: any implementation gives a factory and passes them.
#ifndef TESTS_CONTRACT_REGISTRY_REGISTRY_CONTRACT_H_
#define TESTS_CONTRACT_REGISTRY_REGISTRY_CONTRACT_H_

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "liblever/base/clock.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

// Runs completions on the test's own thread, when it asks for them.
class TestExecutor final : public Executor {
 public:
  void Post(std::function<void()> task) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    arrived_.notify_all();
  }
  // Runs tasks until `done` holds. False: not within ten seconds.
  bool RunUntil(const std::function<bool()>& done) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        if (!arrived_.wait_until(lock, give_up, [this] { return !tasks_.empty(); })) return false;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> tasks_;
};

// What an implementation brings.
class RegistryUnderTest {
 public:
  virtual ~RegistryUnderTest() = default;
  virtual Registry& registry() = 0;
  virtual TestExecutor& executor() = 0;
  // Lets `by_ns` pass for leases.
  virtual void Advance(int64_t by_ns) = 0;
  // Makes every watch and every read of the past end COMPACTED.
  virtual void Compact() = 0;
};
using RegistryFactory = std::unique_ptr<RegistryUnderTest> (*)();

class RegistryContract : public ::testing::TestWithParam<RegistryFactory> {
 protected:
  void SetUp() override { subject_ = GetParam()(); }
  Registry& registry() { return subject_->registry(); }

  // Waits for one answer.
  template <typename T>
  StatusOr<T> Await(const std::function<void(Done<T>)>& ask) {
    std::optional<StatusOr<T>> answer;
    ask([&](StatusOr<T> result) { answer.emplace(std::move(result)); });
    if (!subject_->executor().RunUntil([&] { return answer.has_value(); })) {
      return Internal("no answer within ten seconds");
    }
    return std::move(*answer);
  }
  StatusOr<TransactionResult> Commit(Transaction transaction) {
    return Await<TransactionResult>([&](Done<TransactionResult> done) {
      registry().Commit(std::move(transaction), std::move(done));
    });
  }
  StatusOr<TransactionResult> Put(std::string key, std::string value, LeaseId lease = kNoLease) {
    return Commit(Transaction().Then(Operation::Put(std::move(key), std::move(value), lease)));
  }
  StatusOr<GetResult> Get(std::string key) {
    return Await<GetResult>(
        [&](Done<GetResult> done) { registry().Get(std::move(key), std::move(done)); });
  }
  StatusOr<RangeResult> Range(RangeRequest request) {
    return Await<RangeResult>(
        [&](Done<RangeResult> done) { registry().Range(std::move(request), std::move(done)); });
  }
  StatusOr<Lease> Grant(int64_t ttl_ns) {
    return Await<Lease>(
        [&](Done<Lease> done) { registry().GrantLease(ttl_ns, std::move(done)); });
  }

  std::unique_ptr<RegistryUnderTest> subject_;
};

}  // namespace lever::registry

#endif  // TESTS_CONTRACT_REGISTRY_REGISTRY_CONTRACT_H_
