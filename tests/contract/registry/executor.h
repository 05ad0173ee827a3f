// An executor for tests: a queue that the test runs on its own thread when it waits for something.
#ifndef TESTS_CONTRACT_REGISTRY_EXECUTOR_H_
#define TESTS_CONTRACT_REGISTRY_EXECUTOR_H_

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

class QueueExecutor final : public Executor {
 public:
  void Post(std::function<void()> task) override {
    // Notified under the lock: the test may destroy this as soon as it has what it waited for.
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    posted_.notify_one();
  }

  // Runs tasks until `holds`; false when it took too long.
  bool RunUntil(const std::function<bool()>& holds) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!holds()) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        if (!posted_.wait_until(lock, limit, [this] { return !tasks_.empty(); })) return false;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
    return true;
  }

  // Waits, without running anything, until `count` tasks have been posted.
  bool WaitPosted(size_t count) {
    std::unique_lock lock(mutex_);
    return posted_.wait_for(lock, std::chrono::seconds(30), [&] { return tasks_.size() >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
};

// An answer to come.
template <typename T>
class Answer {
 public:
  registry::Done<T> Callback() {
    return [state = state_](StatusOr<T> result) {
      ++state->calls;
      state->result = std::move(result);
    };
  }
  bool ready() const { return state_->result.has_value(); }
  int calls() const { return state_->calls; }
  const StatusOr<T>& result() const { return *state_->result; }

  StatusOr<T> Await(QueueExecutor* executor) {
    if (!executor->RunUntil([this] { return ready(); })) return DeadlineExceeded("no answer");
    return *state_->result;
  }

 private:
  struct State {
    int calls = 0;
    std::optional<StatusOr<T>> result;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Asks a registry and waits for the answer.
class Blocking {
 public:
  Blocking(Registry* registry, QueueExecutor* executor)
      : registry_(registry), executor_(executor) {}

  StatusOr<GetResult> Get(const std::string& key) {
    Answer<GetResult> answer;
    registry_->Get(key, answer.Callback());
    return answer.Await(executor_);
  }
  StatusOr<RangeResult> Range(const RangeRequest& request) {
    Answer<RangeResult> answer;
    registry_->Range(request, answer.Callback());
    return answer.Await(executor_);
  }
  StatusOr<TransactionResult> Commit(const Transaction& transaction) {
    Answer<TransactionResult> answer;
    registry_->Commit(transaction, answer.Callback());
    return answer.Await(executor_);
  }
  StatusOr<TransactionResult> Put(std::string key, std::string value, LeaseId lease = kNoLease) {
    return Commit(Transaction().Then(Operation::Put(std::move(key), std::move(value), lease)));
  }
  StatusOr<Lease> GrantLease(int64_t ttl_ns) {
    Answer<Lease> answer;
    registry_->GrantLease(ttl_ns, answer.Callback());
    return answer.Await(executor_);
  }
  StatusOr<Lease> KeepAlive(LeaseId lease) {
    Answer<Lease> answer;
    registry_->KeepAlive(lease, answer.Callback());
    return answer.Await(executor_);
  }
  StatusOr<Revision> RevokeLease(LeaseId lease) {
    Answer<Revision> answer;
    registry_->RevokeLease(lease, answer.Callback());
    return answer.Await(executor_);
  }
  bool Close() {
    auto closed = std::make_shared<bool>(false);
    registry_->Close([closed] { *closed = true; });
    return executor_->RunUntil([closed] { return *closed; });
  }

 private:
  Registry* registry_;
  QueueExecutor* executor_;
};

// What a watch was told.
class WatchLog {
 public:
  WatchCallback Callback() {
    return [state = state_](StatusOr<WatchBatch> batch) {
      if (!batch.ok()) {
        state->ends.push_back(batch.status());
        return;
      }
      state->batches.push_back(*batch);
      for (WatchEvent& event : batch->events) state->events.push_back(std::move(event));
    };
  }
  const std::vector<WatchEvent>& events() const { return state_->events; }
  const std::vector<WatchBatch>& batches() const { return state_->batches; }
  const std::vector<Status>& ends() const { return state_->ends; }
  bool AwaitEvents(QueueExecutor* executor, size_t count) {
    return executor->RunUntil([&] { return state_->events.size() >= count; });
  }
  bool AwaitEnd(QueueExecutor* executor) {
    return executor->RunUntil([&] { return !state_->ends.empty(); });
  }

 private:
  struct State {
    std::vector<WatchEvent> events;
    std::vector<WatchBatch> batches;
    std::vector<Status> ends;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace lever::registry

#endif  // TESTS_CONTRACT_REGISTRY_EXECUTOR_H_
