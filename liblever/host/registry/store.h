// The registry's state: durable keys, keys under leases, the revision and the history, changed
// together in groups of transactions that become true together.
//
// Not thread-safe, blocks on the disk: used by the registry's writer alone.
//
// Invariants
//  1. Between Commit() or Rollback() and the next Apply(), memory and disk agree.
//  2. No revision above the durably reserved one is given out; they are reserved in blocks, so that
//     changes of keys under leases do not touch the disk.
//  3. Apply() checks everything that can be refused before it changes anything. An error after that
//     is the disk's: group_status() is then not OK, and the whole group is to be rolled back.
#ifndef LIBLEVER_HOST_REGISTRY_STORE_H_
#define LIBLEVER_HOST_REGISTRY_STORE_H_

#include <memory>
#include <string>

#include "liblever/host/registry/durable_keys.h"
#include "liblever/host/registry/ephemeral_keys.h"
#include "liblever/host/registry/history.h"
#include "liblever/host/registry/lease_table.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

class Store {
 public:
  struct Bounds {
    size_t ephemeral_bytes_max;
    size_t leases_max;
    History::Bounds history;
  };
  // `database` has its schema.
  static StatusOr<std::unique_ptr<Store>> Load(std::unique_ptr<Database> database,
                                               const std::string& boot_id, const Bounds& bounds);

  Revision revision() const { return revision_; }
  const History& history() const { return history_; }
  LeaseTable& leases() { return leases_; }

  // Reads see what was applied before them, also while it is not committed.
  StatusOr<GetResult> Get(const std::string& key);
  StatusOr<RangeResult> Range(const RangeRequest& request);

  StatusOr<TransactionResult> Apply(const Transaction& transaction);
  // Why the group cannot be committed.
  const Status& group_status() const { return group_status_; }
  // Whether something was applied since the last commit.
  bool dirty() const { return revision_ != committed_; }
  // Makes the group true. On failure it has rolled back, and the changes may or may not be found
  // after a crash.
  Status Commit();
  void Rollback();

  // Ends the lease and deletes its keys. Not inside a group.
  StatusOr<Revision> EndLease(LeaseId lease);
  // Reserves more revisions in good time. Not inside a group.
  void ReserveRevisions();
  void Checkpoint() { durable_.Checkpoint(); }
  // From now on nothing is written any more; reads and leases go on.
  bool disk_failed() const { return durable_.disk_failed(); }
  void CompactHistory() { history_.Compact(revision_); }

 private:
  Store(std::unique_ptr<Database> database, const Bounds& bounds);

  // Durably begins a new incarnation.
  Status Enter(const std::string& boot_id, size_t leases_max);
  StatusOr<std::optional<Entry>> Find(const std::string& key);
  StatusOr<bool> Holds(const Compare& compare);
  // What Apply() refuses before it changes anything.
  Status CheckRoom(const std::vector<Operation>& operations) const;
  StatusOr<OperationResult> Carry(const Operation& operation, Revision revision);
  Status Put(const Operation& operation, Revision revision);
  StatusOr<size_t> Delete(const std::string& key, Revision revision);
  StatusOr<size_t> DeletePrefix(const std::string& prefix, Revision revision);
  void RecordDelete(Entry previous, Revision revision);
  // Passes a disk's error through, remembering it for the group.
  Status Note(Status status);

  DurableKeys durable_;
  EphemeralKeys ephemeral_;
  size_t ephemeral_bytes_max_;
  LeaseTable leases_;
  History history_;
  Revision reserved_ = 0;
  Revision revision_ = 0;  // with what was applied and is not committed
  Revision committed_ = 0;
  Status group_status_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_STORE_H_
