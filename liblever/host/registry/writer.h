// The registry's one thread that waits for the disk.
//
// Each round it takes everything that came in, and carries the transactions and reads out in their
// order inside one SQLite transaction: all that were waiting share one sync (group commit). Only
// when it has succeeded are they answered. If the group fails, nothing of it was kept, and each is
// carried out by itself, so that one bad transaction fails alone.
//
// Run() is the thread and blocks on the disk; InjectCompacted() may be called from any thread.
#ifndef LIBLEVER_HOST_REGISTRY_WRITER_H_
#define LIBLEVER_HOST_REGISTRY_WRITER_H_

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "liblever/host/registry/data_dir_lock.h"
#include "liblever/host/registry/inbox.h"
#include "liblever/host/registry/store.h"
#include "liblever/host/registry/watches.h"

namespace lever::registry {

class Writer {
 public:
  Writer(std::unique_ptr<DataDirLock> lock, std::unique_ptr<Store> store,
         std::shared_ptr<Inbox> inbox, std::shared_ptr<Watches> watches)
      : lock_(std::move(lock)),
        store_(std::move(store)),
        inbox_(std::move(inbox)),
        watches_(std::move(watches)) {}

  // Until the inbox is closed. The file is closed, and the directory unlocked, when it returns.
  void Run();
  // In the next round the history is dropped and every watch ends COMPACTED.
  void InjectCompacted();

 private:
  void Round(Work work);
  void CarryOutLeases(std::vector<LeaseJob> jobs, int64_t now_ns);
  void EndLeasesDue(int64_t now_ns);
  void CarryOut(std::vector<StoreJob> jobs);
  // Jobs without a revocation among them: they can share a commit.
  void CarryOutGroup(std::span<StoreJob> group);
  void CarryOutAlone(StoreJob* job);
  void Apply(StoreJob* job);
  // Counts what waits to be answered, and refuses what would be too much.
  template <typename Result>
  StatusOr<Result> Stage(StatusOr<Result> result);
  void AnswerRevoke(RevokeJob job);
  void Finish();

  std::unique_ptr<DataDirLock> lock_;
  std::unique_ptr<Store> store_;
  const std::shared_ptr<Inbox> inbox_;
  const std::shared_ptr<Watches> watches_;
  std::atomic<bool> inject_compacted_ = false;
  size_t staged_bytes_ = 0;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_WRITER_H_
