// What the registry's writer has to do: the door between the threads that ask and the one that
// works.
//
// Thread-safe. It outlives the registry where completions are still on their way.
//
// Invariants
//  1. What is under way (waiting, being worked on, or answered to an executor that has not run the
//     answer yet) is bounded in number and bytes. Beyond it, requests are refused; lease requests
//     have as much room again, so that leases do not run out because many write.
//  2. Every job that is taken in is answered exactly once, by Answer().
//  3. Lease jobs carry the time at which they were taken in, and Take() reads the clock after
//     everything that it hands over was taken in, both under the lock: a keep-alive that came in
//     time is seen before its lease is judged.
#ifndef LIBLEVER_HOST_REGISTRY_INBOX_H_
#define LIBLEVER_HOST_REGISTRY_INBOX_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

template <typename Arguments, typename ResultType>
struct Job {
  using Result = ResultType;
  Arguments arguments;
  Done<Result> done;
  size_t bytes = 0;                        // counted against the bound
  int64_t received_ns = 0;                 // lease jobs: when it was taken in
  std::optional<StatusOr<Result>> result;  // worked out, waiting to become true
};

using GetJob = Job<std::string, GetResult>;
using RangeJob = Job<RangeRequest, RangeResult>;
using CommitJob = Job<Transaction, TransactionResult>;
struct Revoke {
  LeaseId lease;
};
using RevokeJob = Job<Revoke, Revision>;
struct Grant {
  int64_t ttl_ns;
};
using GrantJob = Job<Grant, Lease>;
struct Renew {
  LeaseId lease;
};
using KeepAliveJob = Job<Renew, Lease>;

using StoreJob = std::variant<GetJob, RangeJob, CommitJob, RevokeJob>;
using LeaseJob = std::variant<GrantJob, KeepAliveJob>;

struct Work {
  int64_t now_ns = 0;
  bool closing = false;
  std::vector<LeaseJob> leases;
  std::vector<StoreJob> jobs;
};

class Inbox : public std::enable_shared_from_this<Inbox> {
 public:
  struct Bounds {
    size_t pending_max;
    size_t pending_bytes_max;
  };
  Inbox(Executor* executor, const Clock* clock, Bounds bounds)
      : executor_(executor), clock_(clock), bounds_(bounds) {}

  // ---- Any thread ----
  void Add(StoreJob job);
  void AddLease(LeaseJob job);
  // Makes the writer look at the clock and at the watches.
  void Wake();
  // Nothing is taken in any more. `closed` is posted when the writer has ended.
  void Close(std::function<void()> closed);

  // ---- The writer ----
  // Waits until there is something to do, or until `deadline_ns` by the clock.
  Work Take(int64_t deadline_ns);
  // Whether answers may grow by that much.
  bool HasRoom(size_t bytes) const;
  template <typename JobType>
  void Answer(JobType job, StatusOr<typename JobType::Result> result);
  void Post(std::function<void()> task) { executor_->Post(std::move(task)); }
  void WriterEnded();

 private:
  // OK and counted, or why not. Under the lock.
  Status Admit(size_t bytes, size_t room);
  void Count(ptrdiff_t pending, ptrdiff_t bytes);

  Executor* executor_;
  const Clock* clock_;
  const Bounds bounds_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Work work_;
  bool woken_ = false;
  bool closing_ = false;
  bool ended_ = false;
  size_t pending_ = 0;
  size_t pending_bytes_ = 0;
  std::vector<std::function<void()>> closed_;
};

inline size_t ResultBytes(const RangeResult& result) {
  size_t bytes = 0;
  for (const Entry& entry : result.entries) bytes += entry.key.size() + entry.value.size();
  return bytes;
}

inline size_t ResultBytes(const GetResult& result) {
  return result.entry ? result.entry->key.size() + result.entry->value.size() : 0;
}

inline size_t ResultBytes(const TransactionResult& result) {
  size_t bytes = 0;
  for (const OperationResult& each : result.results) {
    bytes += sizeof(each) + (each.entry ? each.entry->value.size() : 0);
  }
  return bytes;
}

inline size_t ResultBytes(const Lease&) { return 0; }
inline size_t ResultBytes(Revision) { return 0; }

template <typename JobType>
void Inbox::Answer(JobType job, StatusOr<typename JobType::Result> result) {
  const size_t bytes = result.ok() ? ResultBytes(*result) : 0;
  Count(0, static_cast<ptrdiff_t>(bytes) - static_cast<ptrdiff_t>(job.bytes));
  // The job's arguments end here; what it counted for goes on as the answer.
  Post([inbox = shared_from_this(), done = std::move(job.done), result = std::move(result),
        bytes]() mutable {
    done(std::move(result));
    inbox->Count(-1, -static_cast<ptrdiff_t>(bytes));
  });
}

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_INBOX_H_
