// What the services of a host print, on standard output as it comes, from a thread of its own.
//
// Invariant: the thread has ended when Stop() returns, or the object is destroyed.
#ifndef DAEMON_LEVER_DEV_LOG_FOLLOWER_H_
#define DAEMON_LEVER_DEV_LOG_FOLLOWER_H_

#include <memory>
#include <thread>

#include "daemon/lever/command.h"
#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::cli {

class LogFollower {
 public:
  static StatusOr<std::unique_ptr<LogFollower>> Start(const Globals& globals);
  ~LogFollower() { Stop(); }
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;

  // Lines that the host has not sent yet are not shown any more.
  void Stop();

 private:
  explicit LogFollower(UniqueFd stop) : stop_(std::move(stop)) {}

  UniqueFd stop_;  // an eventfd
  std::thread thread_;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_LOG_FOLLOWER_H_
