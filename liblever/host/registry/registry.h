// The registry: the state of a cluster, as one ordered map of byte strings with revisions.
//
// Environments, services, versions, configuration, shard owners and generations are durable in it;
// hosts, instances and load live in it under a lease and go with the lease. The contract is what
// etcd v3 offers, cut down to what Lever needs, with etcd's limits: the embedded implementation
// (sqlite_registry.h) and one on etcd pass the same suite (tests/contract/registry).
//
// Threads. Every function may be called from any thread, returns at once and never waits for a disk
// or a peer. Completions and watch callbacks are run, and destroyed, on the executor that the
// registry was opened with, never from inside the call that they answer.
//
// Ownership. Requests are taken by value. Results belong to the callback. The executor and the
// clock outlive the registry. Callbacks that were posted may still run after the registry is
// destroyed: they use nothing of it.
//
// Invariants
//  1. Every `done` is called exactly once, whatever happens. A watch ends with exactly one error,
//     unless CancelWatch() ended it before.
//  2. There is one revision counter. Every transaction that changed something has the next one, and
//     so has the end of a lease that had keys. Revisions only rise, also over restarts and crashes
//     (they may jump there), and none is used twice.
//  3. A transaction is wholly there or wholly absent, for every reader and after every crash.
//  4. A durable change (a put without lease, a delete of such a key) is answered OK only when it
//     survives a crash of the machine. A key with a lease promises that to nobody.
//  5. Reads are linearizable: they see every transaction that was answered before they were asked.
//     Requests that are under way at the same time take effect in any order.
//  6. A key with a lease is gone when its lease is: all keys of one lease in one revision.
//  7. A watch delivers every change at or after its start, in the order of revisions, each once,
//     and never splits the changes of one revision over two batches; where it cannot, it ends
//     COMPACTED.
//
// Errors
//   INVALID_ARGUMENT     the request breaks a limit or a rule below
//   NOT_FOUND            the lease does not exist (any more)
//   OUT_OF_RANGE         COMPACTED: what happened at that revision is forgotten; read anew
//   RESOURCE_EXHAUSTED   too much is under way, or the store is full
//   UNAVAILABLE          the store cannot be reached, or its disk failed
//   DATA_LOSS            the store is damaged
//   CANCELLED            the registry was closed
// An error whose executed() is LEVER_EXECUTED_NO left nothing behind. With any other, the change
// may have been made: read before doing it again.
#ifndef LIBLEVER_HOST_REGISTRY_REGISTRY_H_
#define LIBLEVER_HOST_REGISTRY_REGISTRY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "liblever/base/status.h"

namespace lever::registry {

// Runs tasks one after the other, in the order in which each thread posted them. The host gives its
// event loop. Post() may be called from any thread, must not block, and must not run the task
// itself.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(std::function<void()> task) = 0;
};

// ---- Limits, the same for every implementation ----
inline constexpr size_t kKeyBytesMax = 2048;  // and at least 1
inline constexpr size_t kValueBytesMax = size_t{1} << 20;
// etcd counts compares, then and else each against its --max-txn-ops of 128.
inline constexpr size_t kTransactionOperationsMax = 128;
// The keys and values of a whole transaction. etcd refuses requests above 1.5 MiB; the quarter that
// is left is for the encoding.
inline constexpr size_t kTransactionBytesMax = size_t{5} << 18;
// A page of a range ends with the entry that reaches either bound.
inline constexpr size_t kPageEntriesMax = 1000;
inline constexpr size_t kPageBytesMax = size_t{1} << 20;
// etcd counts leases in whole seconds.
inline constexpr int64_t kLeaseTtlNsMin = int64_t{1'000'000'000};
inline constexpr int64_t kLeaseTtlNsMax = 24 * 3600 * kLeaseTtlNsMin;

using Revision = int64_t;  // 1 is the first; 0 stands for none, or for now
using LeaseId = int64_t;
using WatchId = uint64_t;
inline constexpr LeaseId kNoLease = 0;

struct Entry {
  std::string key;
  std::string value;
  Revision create_revision = 0;  // of the put that made it, after it was absent
  Revision mod_revision = 0;     // of the last put
  LeaseId lease = kNoLease;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// Whether a read or a watch failed because what it asked for is no longer kept.
inline bool IsCompacted(const Status& status) { return status.code() == LEVER_OUT_OF_RANGE; }

// ---- Reads ----
struct GetResult {
  Revision revision = 0;  // of the registry when it was read
  std::optional<Entry> entry;
};

// The keys that begin with `prefix`, in the order of their bytes. For the next page, `after` is the
// last key of the page before, and `revision` is what that page said: all pages are then of one
// moment, or the read ends COMPACTED and begins anew.
struct RangeRequest {
  std::string prefix;  // empty: all keys
  std::string after;   // only keys greater than it; empty: from the first
  size_t limit = kPageEntriesMax;
  Revision revision = 0;  // as of this revision; 0: now. One that has not been: INVALID_ARGUMENT
};

struct RangeResult {
  Revision revision = 0;  // of which the entries are
  std::vector<Entry> entries;
  bool more = false;  // there are keys after the last one
};

// ---- Transactions ----
// If all compares hold, the operations of `then` are carried out, else those of `otherwise`, in
// their order; each sees what the ones before it did. As on etcd, one list may put a key once, and
// may not put what it deletes.
struct Compare {
  enum class Kind { kExists, kMissing, kValue, kCreateRevision, kModRevision };
  Kind kind = Kind::kExists;
  std::string key;
  std::string value;      // kValue: equal to it (a missing key has no value: does not hold)
  Revision revision = 0;  // the revision kinds: equal to it; a missing key has 0

  static Compare Exists(std::string key) { return {Kind::kExists, std::move(key), {}, 0}; }
  static Compare Missing(std::string key) { return {Kind::kMissing, std::move(key), {}, 0}; }
  static Compare Value(std::string key, std::string value) {
    return {Kind::kValue, std::move(key), std::move(value), 0};
  }
  static Compare CreateRevision(std::string key, Revision revision) {
    return {Kind::kCreateRevision, std::move(key), {}, revision};
  }
  static Compare ModRevision(std::string key, Revision revision) {
    return {Kind::kModRevision, std::move(key), {}, revision};
  }
};

struct Operation {
  enum class Kind { kGet, kPut, kDelete, kDeletePrefix };
  Kind kind = Kind::kGet;
  std::string key;           // kDeletePrefix: the prefix, not empty
  std::string value;         // kPut
  LeaseId lease = kNoLease;  // kPut: the key lives as long as this lease

  static Operation Get(std::string key) { return {Kind::kGet, std::move(key), {}, kNoLease}; }
  static Operation Put(std::string key, std::string value, LeaseId lease = kNoLease) {
    return {Kind::kPut, std::move(key), std::move(value), lease};
  }
  static Operation Delete(std::string key) { return {Kind::kDelete, std::move(key), {}, kNoLease}; }
  static Operation DeletePrefix(std::string prefix) {
    return {Kind::kDeletePrefix, std::move(prefix), {}, kNoLease};
  }
};

struct Transaction {
  std::vector<Compare> compares;  // none: holds
  std::vector<Operation> then;
  std::vector<Operation> otherwise;

  Transaction& If(Compare compare) {
    compares.push_back(std::move(compare));
    return *this;
  }
  Transaction& Then(Operation operation) {
    then.push_back(std::move(operation));
    return *this;
  }
  Transaction& Else(Operation operation) {
    otherwise.push_back(std::move(operation));
    return *this;
  }
};

struct OperationResult {
  std::optional<Entry> entry;  // kGet
  size_t deleted = 0;          // kDelete, kDeletePrefix: how many keys
};

struct TransactionResult {
  bool succeeded = false;  // whether the compares held
  // Of the registry after the transaction: what it put has this as mod_revision.
  Revision revision = 0;
  std::vector<OperationResult> results;  // one for each operation carried out
};

// ---- Leases ----
// A lease ends when it is revoked, or when its time to live has passed since the registry received
// the last keep-alive. The holder counts from the moment at which it *sent* the keep-alive that was
// answered, and so believes itself out before the registry does.
struct Lease {
  LeaseId id = kNoLease;
  int64_t ttl_ns = 0;  // granted; may be longer than asked for
};

// ---- Watches ----
struct WatchRequest {
  std::string prefix;  // empty: all keys
  // The first revision wanted; 0: whatever comes after the registry has taken the watch. To lose
  // nothing, read a range and watch from its revision + 1.
  Revision from = 0;
};

struct WatchEvent {
  enum class Kind { kPut, kDelete };
  Kind kind = Kind::kPut;
  Entry entry;  // kDelete: the key, and the revision of the delete as mod_revision
};

struct WatchBatch {
  Revision revision = 0;  // everything up to it has been delivered: a new watch goes on from + 1
  std::vector<WatchEvent> events;  // never empty
};

template <typename T>
using Done = std::function<void(StatusOr<T>)>;
// A status that is not OK is the last call. The next batch is posted only when the callback has
// returned from the one before; who is too slow for the history that is kept gets COMPACTED.
using WatchCallback = std::function<void(StatusOr<WatchBatch>)>;

class Registry {
 public:
  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  // Closes first, if Close() was not called or has not completed, and waits for that.
  virtual ~Registry() = default;

  virtual void Get(std::string key, Done<GetResult> done) = 0;
  virtual void Range(RangeRequest request, Done<RangeResult> done) = 0;
  virtual void Commit(Transaction transaction, Done<TransactionResult> done) = 0;

  virtual void GrantLease(int64_t ttl_ns, Done<Lease> done) = 0;
  // NOT_FOUND: the lease has ended, and its keys are gone or about to go.
  virtual void KeepAlive(LeaseId lease, Done<Lease> done) = 0;
  // Answers the revision at which the lease's keys were gone.
  virtual void RevokeLease(LeaseId lease, Done<Revision> done) = 0;

  // Never 0. The callback may be called before the id is back, if the executor is another thread.
  virtual WatchId Watch(WatchRequest request, WatchCallback callback) = 0;
  // Called on the executor, it is final: the callback is not called again. From another thread, a
  // call may be under way meanwhile. An id that has ended is ignored.
  virtual void CancelWatch(WatchId watch) = 0;

  // What has not been begun is answered CANCELLED, as is everything asked from now on; watches end
  // CANCELLED; leases end with the registry's process or by their time. Then `closed` is called.
  virtual void Close(std::function<void()> closed) = 0;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_REGISTRY_H_
