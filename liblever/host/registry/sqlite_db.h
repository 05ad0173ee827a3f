// One connection to one SQLite file, with errors as statuses and the settings that durability
// needs: write-ahead log, a sync with every commit, and the file locked for this connection alone.
//
// Not thread-safe; it may be handed from one thread to another. Only files of this folder include
// this header, and none of them shows sqlite3.h in its own.
//
// Invariants
//  1. Commit() is OK only if the log was written and synced.
//  2. After a failed sync the kernel may have dropped what it could not write, and a second sync
//     that succeeds would prove nothing: from then on disk_failed() holds and nothing is written
//     any more, also not when the connection is closed.
//  3. Checkpoints are made by Checkpoint() only, so that a sync that fails in one is seen.
#ifndef LIBLEVER_HOST_REGISTRY_SQLITE_DB_H_
#define LIBLEVER_HOST_REGISTRY_SQLITE_DB_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace lever::registry {

class Database {
 public:
  // Blocks on the disk. `vfs`: SQLite's name of a file system layer; empty: the usual one.
  static StatusOr<std::unique_ptr<Database>> Open(const std::string& path, const std::string& vfs);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // Switches to the write-ahead log. Before it nothing in the file has been changed.
  Status Configure(int64_t bytes_max);
  Status Execute(const std::string& sql);
  // The one number that the statement answers with.
  StatusOr<int64_t> ReadNumber(const std::string& sql);

  Status Begin();
  Status Commit();
  void Rollback();
  // Moves the log into the file when it has grown beyond a bound.
  void Checkpoint();
  // Writes a consistent copy, durable when it returns OK. No transaction may be open.
  Status CopyTo(const std::string& path);

  bool disk_failed() const { return disk_failed_; }
  const std::string& path() const { return path_; }
  sqlite3* handle() const { return handle_; }
  // The status for SQLite's last error, which it remembers if it was a failed sync.
  Status Error(std::string_view what);

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  int wal_pages_ = 0;
  bool disk_failed_ = false;
};

// A prepared statement. Parameters are numbered from 1, columns from 0. Neither copied nor moved.
class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Status Prepare(Database* database, std::string_view sql);
  // The bytes must stay until Reset().
  void BindBytes(int parameter, std::string_view bytes);
  void BindNumber(int parameter, int64_t number);
  // Whether there is a row.
  StatusOr<bool> Step();
  std::string_view Bytes(int column) const;  // valid until Step() or Reset()
  int64_t Number(int column) const;
  void Reset();

 private:
  Database* database_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

// Ends a statement's use, whatever way the function that used it goes.
class StatementUse {
 public:
  explicit StatementUse(Statement* statement) : statement_(statement) {}
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;
  ~StatementUse() { statement_->Reset(); }
  Statement* operator->() const { return statement_; }

 private:
  Statement* statement_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_SQLITE_DB_H_
