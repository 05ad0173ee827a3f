// The embedded registry: one host, one SQLite file, one writer thread.
//
// It is the contract of registry.h on `<directory>/registry.db`, with these particulars.
//
// Durability. Durable changes are committed in groups with a write-ahead log and a sync before the
// answer. After a failed sync nothing more is written (the kernel may have dropped what it could
// not write): durable changes are refused UNAVAILABLE until the host is restarted, reads and leases
// go on. A full disk refuses what does not fit, and goes on when there is room again.
//
// Leases and their keys are in memory and never synced. They end with this process, by whatever
// death, and so with the boot of the machine: after a restart no lease and no such key is there.
// The file records the boot id and how often it was opened; lease ids are never given twice.
//
// Watches. The history is in memory and bounded; a watch from before it, or from before the last
// start, ends COMPACTED.
//
// Files. `lock` keeps a second host out; registry.db and its log are readable by their owner only.
// A file of a newer version is refused, an older one is copied and brought up to date
// (migration.h).
#ifndef LIBLEVER_HOST_REGISTRY_SQLITE_REGISTRY_H_
#define LIBLEVER_HOST_REGISTRY_SQLITE_REGISTRY_H_

#include <memory>
#include <string>

#include "liblever/base/clock.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

struct SqliteRegistryOptions {
  // Made if it is missing; its parent must be there.
  std::string directory;
  // Runs the completions; outlives the registry.
  Executor* executor = nullptr;
  // Leases are counted on it; outlives the registry.
  const Clock* clock = &Clock::System();

  // Requests under way, also those whose answer the executor has not run yet.
  size_t pending_max = 4096;
  size_t pending_bytes_max = size_t{64} << 20;
  // etcd's default quota, rounded.
  int64_t store_bytes_max = int64_t{2} << 30;
  size_t ephemeral_bytes_max = size_t{64} << 20;
  size_t leases_max = 10'000;
  size_t watches_max = 1'000;
  size_t history_changes_max = 10'000;
  size_t history_bytes_max = size_t{16} << 20;

  // For tests: SQLite's name of another file system layer, and another boot of the machine.
  std::string vfs;
  std::string boot_id;
};

class SqliteRegistry final : public Registry {
 public:
  // Blocks on the disk: called while the host starts, before its loops run.
  // FAILED_PRECONDITION: another process has the directory open, or the file is of a newer version.
  static StatusOr<std::unique_ptr<SqliteRegistry>> Open(const SqliteRegistryOptions& options);
  ~SqliteRegistry() override;

  void Get(std::string key, Done<GetResult> done) override;
  void Range(RangeRequest request, Done<RangeResult> done) override;
  void Commit(Transaction transaction, Done<TransactionResult> done) override;
  void GrantLease(int64_t ttl_ns, Done<Lease> done) override;
  void KeepAlive(LeaseId lease, Done<Lease> done) override;
  void RevokeLease(LeaseId lease, Done<Revision> done) override;
  WatchId Watch(WatchRequest request, WatchCallback callback) override;
  void CancelWatch(WatchId watch) override;
  void Close(std::function<void()> closed) override;

  // For tests that move the clock by hand: looks at it again.
  void ClockMoved();
  // For tests of whoever watches: drops the history, and ends every watch COMPACTED.
  void InjectCompacted();

 private:
  struct Parts;
  explicit SqliteRegistry(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_SQLITE_REGISTRY_H_
