// The durable keys: rows of the SQLite file, read and changed inside the transaction that is open.
//
// Not thread-safe: used by the registry's writer alone.
//
// Invariants
//  1. A transaction is begun by the first change and ended by Commit() or Rollback() only; reads
//     alone begin none, so that who only touches keys with leases never waits for a disk.
//  2. After any error but from Commit() nothing of the transaction will be kept: the caller rolls
//     back.
#ifndef LIBLEVER_HOST_REGISTRY_DURABLE_KEYS_H_
#define LIBLEVER_HOST_REGISTRY_DURABLE_KEYS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/host/registry/registry.h"
#include "liblever/host/registry/sqlite_db.h"

namespace lever::registry {

class DurableKeys {
 public:
  explicit DurableKeys(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  struct Incarnation {
    Revision revisions_reserved = 0;
    int64_t number = 0;
    bool machine_rebooted = false;  // since the file was opened last
  };
  // Prepares the statements and durably enters a new incarnation.
  StatusOr<Incarnation> Load(std::string_view boot_id);
  // Durably promises that revisions up to `reserved` may be given out. No transaction may be open.
  Status Reserve(Revision reserved);

  StatusOr<std::optional<Entry>> Get(std::string_view key);
  Status Put(const Entry& entry);
  Status Delete(std::string_view key);
  // Calls `each` with every key that begins with `prefix`, then deletes them.
  Status DeletePrefix(std::string_view prefix, const std::function<void(Entry)>& each);

  // Reads the entries from `first` on, in order. One scan at a time; a change ends it.
  class Scan {
   public:
    Scan(DurableKeys* keys, std::string_view first);
    // The next one that begins with `prefix`, or nullopt at the end.
    StatusOr<std::optional<Entry>> Next(std::string_view prefix);

   private:
    std::string first_;  // bound to the statement, so it stays
    StatementUse statement_;
  };

  bool changed() const { return begun_; }
  // OK if nothing was changed. On failure it has rolled back.
  Status Commit();
  void Rollback();
  void Checkpoint() { database_->Checkpoint(); }
  bool disk_failed() const { return database_->disk_failed(); }

 private:
  Status EnsureBegun();

  std::unique_ptr<Database> database_;
  Statement get_;
  Statement put_;
  Statement delete_;
  Statement delete_range_;
  Statement scan_;
  Statement reserve_;
  bool begun_ = false;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_DURABLE_KEYS_H_
