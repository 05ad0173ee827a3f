// What the services of a host print, as the admin service reads it. The host puts its log behind this.
//
// Threads: Open() from any loop; a LogFollower belongs to the loop that it was opened for.
#ifndef LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_
#define LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"

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
  size_t tail = 0;      // so many lines of the past, at most
  bool follow = false;  // and those to come
};

class LogFollower {
 public:
  // Ends it: `wake` is not called any more.
  virtual ~LogFollower() = default;
  // The next lines, at most `lines_max`. Empty: there are none now; if it follows, `wake` is called on
  // the loop once there are. Who does not take them loses the oldest, and is told how many.
  virtual std::vector<LogRecord> Take(size_t lines_max) = 0;
};

class LogSource {
 public:
  virtual ~LogSource() = default;
  // `wake` is called on `loop`, never from inside Open() or Take().
  virtual std::unique_ptr<LogFollower> Open(LogQuery query, Loop* loop,
                                            std::function<void()> wake) = 0;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_LOG_SOURCE_H_
