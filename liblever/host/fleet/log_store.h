// The log of all services on the disk: a folder each, with files (log_segment.h) of bounded size.
//
//   <directory>/<hash of environment and service>/<number>.log
//
// Append() only remembers a line; Flush() writes what is remembered. The host posts a flush to its
// disk threads when the first line comes, so that a line is in its file a moment later.
//
// Threads: safe from any. Open(), Flush() and the destructor wait for the disk, the others do not.
//
// Invariants
//  1. A line whose flush has ended survives the end of the process; a crash of the machine takes
//  the
//     last seconds. A file that is full is synced.
//  2. Nothing is written behind a torn line: this store writes to no file of an earlier one.
//  3. At most `pending_bytes_max` wait for the disk. Beyond that lines are not kept, which the
//  host's
//     log says, and how many.
//  4. The oldest files go first: of a service above `service_bytes_max`, of all above
//  `total_bytes_max`.
//     A file is removed whole, and the one that is being written never.
#ifndef LIBLEVER_HOST_FLEET_LOG_STORE_H_
#define LIBLEVER_HOST_FLEET_LOG_STORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/host/fleet/log_segment.h"

namespace lever::fleet {

struct LogStoreOptions {
  std::string directory;
  // Posts to a thread that may wait; false: it takes nothing now.
  std::function<bool(std::function<void()> task)> execute;
  uint64_t segment_bytes_max = 1024 * 1024;
  uint64_t service_bytes_max = 64 * 1024 * 1024;
  uint64_t total_bytes_max = 2ULL * 1024 * 1024 * 1024;
  size_t pending_bytes_max = 16 * 1024 * 1024;
};

class LogStore : public std::enable_shared_from_this<LogStore> {
 public:
  struct Segment {
    uint64_t first_number = 0;
    uint64_t bytes = 0;
  };
  // The files of one service, oldest first, as they were when they were asked for.
  struct Files {
    std::string environment;
    std::string service;
    std::string directory;
    std::vector<Segment> segments;
  };

  static StatusOr<std::shared_ptr<LogStore>> Open(LogStoreOptions options);
  // Writes what is remembered.
  ~LogStore();
  LogStore(const LogStore&) = delete;
  LogStore& operator=(const LogStore&) = delete;

  // Above the number of every line that is there. Lines are appended with rising numbers from here.
  uint64_t first_free_number() const { return first_free_number_; }
  void Append(const std::string& environment, const std::string& service, const StoredLine& line);
  void Flush();
  // `service` empty: all of the environment.
  std::vector<Files> List(const std::string& environment, const std::string& service) const;
  // Of all files.
  uint64_t bytes() const;

 private:
  struct ServiceLog;
  using Name = std::pair<std::string, std::string>;  // environment, service

  explicit LogStore(LogStoreOptions options);
  Status Load();
  void LoadDirectory(const std::string& path);
  ServiceLog* LogOf(const Name& name);
  void Write(ServiceLog* log, std::string bytes, uint64_t first_number);
  Status WriteTo(ServiceLog* log, const std::string& bytes, uint64_t first_number);
  void Evict(ServiceLog* log);
  ServiceLog* OldestOfAll() const;
  std::string ForgetOldest(ServiceLog* log);
  void Failed(const Status& status);

  const LogStoreOptions options_;
  uint64_t first_free_number_ = 1;

  // Held while files are written and removed; before `mutex_`.
  std::mutex disk_mutex_;
  bool failing_ = false;  // the disk, as the host's log was told

  mutable std::mutex mutex_;
  std::map<Name, std::unique_ptr<ServiceLog>> logs_;
  uint64_t bytes_ = 0;
  size_t pending_bytes_ = 0;
  uint64_t dropped_ = 0;  // lines, not told yet
  bool scheduled_ = false;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LOG_STORE_H_
