#include "liblever/host/registry/sqlite_db.h"

#include <sqlite3.h>

#include <cassert>
#include <cerrno>
#include <cstdio>

#include "liblever/base/log.h"
#include "liblever/host/registry/files.h"

namespace lever::registry {
namespace {

constexpr int64_t kPageBytes = 4096;
// 4 MiB of log: a checkpoint then writes at most that much, and a restart reads at most that much.
constexpr int kWalPagesMax = 1024;
// Somebody who looks at the file with another tool holds it for a moment only.
constexpr int kBusyTimeoutMs = 1000;

int CountWalPages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

lever_status CodeOf(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return LEVER_RESOURCE_EXHAUSTED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return LEVER_DATA_LOSS;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return LEVER_PERMISSION_DENIED;
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
      return LEVER_UNAVAILABLE;
    default:
      return LEVER_INTERNAL;
  }
}

std::string Explain(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
      return "the disk, or what the registry may use of it, is full";
    case SQLITE_BUSY:
      return "another program has the file open";
    default:
      return sqlite3_errstr(result);
  }
}

bool IsFailedSync(int extended) {
  return extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC;
}

}  // namespace

StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                   const std::string& vfs) {
  // SQLite gives its log the mode of the file, and would make the file readable to all.
  LEVER_RETURN_IF_ERROR(CreatePrivateFile(path));
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int result =
      sqlite3_open_v2(path.c_str(), &handle, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (handle == nullptr) return ResourceExhausted("registry: no memory to open " + path);
  std::unique_ptr<Database> database(new Database(handle, path));
  if (result != SQLITE_OK) return database->Error("open");
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // Exclusive before anything is read: the index of the log then stays in this process's memory.
  LEVER_RETURN_IF_ERROR(database->Execute("PRAGMA locking_mode=EXCLUSIVE"));
  LEVER_RETURN_IF_ERROR(database->Execute("PRAGMA temp_store=MEMORY"));
  return database;
}

Status Database::Configure(int64_t bytes_max) {
  LEVER_RETURN_IF_ERROR(Execute("PRAGMA journal_mode=WAL"));
  LEVER_RETURN_IF_ERROR(Execute("PRAGMA synchronous=FULL"));
  LEVER_RETURN_IF_ERROR(Execute("PRAGMA wal_autocheckpoint=0"));
  sqlite3_wal_hook(handle_, &CountWalPages, &wal_pages_);
  return Execute("PRAGMA max_page_count=" + std::to_string(bytes_max / kPageBytes));
}

Database::~Database() {
  if (disk_failed_) sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  const int result = sqlite3_close(handle_);
  assert(result == SQLITE_OK);
  static_cast<void>(result);
}

Status Database::Error(std::string_view what) {
  const int result = sqlite3_extended_errcode(handle_);
  if (IsFailedSync(result) && !disk_failed_) {
    disk_failed_ = true;
    Log(LogLevel::kError, "registry: the disk failed to keep " + path_ +
                              "; nothing is written any more until the host is restarted");
  }
  return Status(CodeOf(result), "registry: " + std::string(what) + " " + path_ + ": " +
                                    Explain(result) + " (" + std::to_string(result) + ")");
}

Status Database::Execute(const std::string& sql) {
  const int result = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? Status::Ok() : Error(sql);
}

StatusOr<int64_t> Database::ReadNumber(const std::string& sql) {
  Statement statement;
  LEVER_RETURN_IF_ERROR(statement.Prepare(this, sql));
  LEVER_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return DataLoss("registry: no answer to " + sql + " in " + path_);
  return statement.Number(0);
}

Status Database::Begin() { return Execute("BEGIN IMMEDIATE"); }

Status Database::Commit() { return Execute("COMMIT"); }

void Database::Rollback() {
  // SQLite has rolled back by itself after some errors.
  if (sqlite3_get_autocommit(handle_) == 0) {
    const Status status = Execute("ROLLBACK");
    if (!status.ok()) Log(LogLevel::kError, status.message());
  }
}

void Database::Checkpoint() {
  if (wal_pages_ < kWalPagesMax || disk_failed_) return;
  if (sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr) ==
      SQLITE_OK) {
    wal_pages_ = 0;
  } else {
    // The log keeps everything; the next commit tries again, unless the disk failed.
    Log(LogLevel::kWarning, Error("checkpoint").message());
  }
}

Status Database::CopyTo(const std::string& path) {
  const std::string unfinished = path + ".tmp";
  std::remove(unfinished.c_str());
  LEVER_RETURN_IF_ERROR(CreatePrivateFile(unfinished));
  sqlite3* copy = nullptr;
  int result = sqlite3_open_v2(unfinished.c_str(), &copy, SQLITE_OPEN_READWRITE, nullptr);
  if (result == SQLITE_OK) {
    sqlite3_backup* backup = sqlite3_backup_init(copy, "main", handle_, "main");
    if (backup != nullptr) sqlite3_backup_step(backup, -1);
    result = backup != nullptr ? sqlite3_backup_finish(backup) : sqlite3_errcode(copy);
  }
  sqlite3_close(copy);
  if (result != SQLITE_OK) {
    std::remove(unfinished.c_str());
    return Status(CodeOf(result),
                  "registry: copy " + path_ + " to " + path + ": " + Explain(result));
  }
  LEVER_RETURN_IF_ERROR(SyncFile(unfinished));
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, "rename " + unfinished);
  }
  return SyncDirectoryOf(path);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Status Statement::Prepare(Database* database, std::string_view sql) {
  assert(statement_ == nullptr);
  database_ = database;
  const int result =
      sqlite3_prepare_v3(database->handle(), sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  return result == SQLITE_OK ? Status::Ok() : database->Error("prepare for");
}

void Statement::BindBytes(int parameter, std::string_view bytes) {
  // A null pointer would bind NULL, which is not the empty string.
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  const int result =
      sqlite3_bind_blob(statement_, parameter, data, static_cast<int>(bytes.size()), SQLITE_STATIC);
  assert(result == SQLITE_OK);
  static_cast<void>(result);
}

void Statement::BindNumber(int parameter, int64_t number) {
  const int result = sqlite3_bind_int64(statement_, parameter, number);
  assert(result == SQLITE_OK);
  static_cast<void>(result);
}

StatusOr<bool> Statement::Step() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return database_->Error("access to");
}

std::string_view Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
}

int64_t Statement::Number(int column) const { return sqlite3_column_int64(statement_, column); }

void Statement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

}  // namespace lever::registry
