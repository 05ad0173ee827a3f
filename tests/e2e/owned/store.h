// Where a counter is kept outside of Lever: a SQLite file of its own with one row, the value and
// the fencing token of who wrote last. Whoever has a lower token is refused, in the transaction that
// would have written (Kleppmann: "How to do distributed locking", 2016).
//
// One file a counter: a process that stands still inside a transaction holds up nobody else.
// Of one resource: one thread at a time.
#ifndef TESTS_E2E_OWNED_STORE_H_
#define TESTS_E2E_OWNED_STORE_H_

#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace lever::e2e {

// A newer owner has written, or read.
class Fenced : public std::runtime_error {
 public:
  Fenced() : std::runtime_error("fenced: the store knows a higher token") {}
};

class Store {
 public:
  // From here on nobody with a lower token writes. Throws Fenced.
  Store(const std::string& path, uint64_t token) : token_(static_cast<int64_t>(token)) {
    const int opened = sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READWRITE, nullptr);
    if (opened != SQLITE_OK) Fail();
    // What holds the file may be a process that stands still for a while.
    sqlite3_busy_timeout(database_, 40'000);
    try {
      // Processes die here, machines do not.
      Run("PRAGMA synchronous=OFF");
      Run("BEGIN IMMEDIATE");
      Write("UPDATE counter SET token = ?1 WHERE token <= ?1");
      value_ = Read();
      Run("COMMIT");
    } catch (...) {
      sqlite3_close(database_);
      throw;
    }
  }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store() { sqlite3_close(database_); }

  int64_t value() const { return value_; }
  // It is stored when this returns. Throws Fenced.
  void Set(int64_t value) {
    Write("UPDATE counter SET token = ?1, value = ?2 WHERE token <= ?1", value);
    value_ = value;
  }

 private:
  [[noreturn]] void Fail() const {
    throw std::runtime_error(std::string("the store: ") + sqlite3_errmsg(database_));
  }
  void Run(const char* statement) {
    if (sqlite3_exec(database_, statement, nullptr, nullptr, nullptr) != SQLITE_OK) Fail();
  }
  void Write(const char* text, std::optional<int64_t> value = std::nullopt) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_, text, -1, &statement, nullptr) != SQLITE_OK) Fail();
    sqlite3_bind_int64(statement, 1, token_);
    if (value.has_value()) sqlite3_bind_int64(statement, 2, *value);
    const int step = sqlite3_step(statement);
    const int written = step == SQLITE_DONE ? sqlite3_changes(database_) : 0;
    sqlite3_finalize(statement);
    if (step != SQLITE_DONE) Fail();
    if (written == 0) throw Fenced();
  }
  int64_t Read() {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_, "SELECT value FROM counter", -1, &statement, nullptr) !=
        SQLITE_OK) {
      Fail();
    }
    const int step = sqlite3_step(statement);
    const int64_t value = step == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    if (step != SQLITE_ROW) Fail();
    return value;
  }

  const int64_t token_;
  sqlite3* database_ = nullptr;
  int64_t value_ = 0;
};

}  // namespace lever::e2e

#endif  // TESTS_E2E_OWNED_STORE_H_
