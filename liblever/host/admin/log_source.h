// What the services of a host print, as the admin service reads it. The host puts its log behind this.
//
// Threads: Open() from any loop; a LogFollower belongs to the loop that it was opened for.
#ifndef LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_
#define LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever::admin {

struct LogRecord {
  std::string environment;
  std::string service;
  std::string instance;
  uint64_t version = 0;
  int64_t time_unix_ns = 0;
  bool is_stderr = false;
  std::string text;   // without the line's end
  uint64_t lost = 0;  // lines before this one that the follower was too slow for
};

struct LogQuery {
  std::string environment;
  std::string service;  // empty: every service of the environment
  size_t tail = 0;      // so many lines of the past, at most; SIZE_MAX: all that are kept
  bool follow = false;  // and those to come
  int64_t since_unix_ns = 0;
  std::string pattern;  // a regular expression that the text matches somewhere; empty: any text
};

class LogFollower {
 public:
  // Ends it: `wake` is not called any more.
  virtual ~LogFollower() = default;
  // The next lines, at most `lines_max`. Empty: there are none now; unless that is the end, `wake`
  // is called on the loop once there are. Who does not take them loses the oldest, and is told how
  // many.
  virtual std::vector<LogRecord> Take(size_t lines_max) = 0;
  // Set when there will be no more: OK, or why not.
  virtual std::optional<Status> end() const = 0;
};

class LogSource {
 public:
  virtual ~LogSource() = default;
  // `wake` is called on `loop`, never from inside Open() or Take(). INVALID_ARGUMENT: the pattern.
  virtual StatusOr<std::unique_ptr<LogFollower>> Open(LogQuery query, Loop* loop,
                                                      std::function<void()> wake) = 0;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_
