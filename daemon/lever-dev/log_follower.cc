#include "daemon/lever-dev/log_follower.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "daemon/lever/log_stream.h"
#include "daemon/lever/output.h"

namespace lever::cli {
namespace {

constexpr uint32_t kLinesOfThePast = 10'000;

void Follow(const Globals& globals, int stop_fd) {
  LogsArguments everything;
  everything.follow = true;
  // The host is new: all that there is.
  everything.tail = kLinesOfThePast;
  const Status status = ShowLogs(globals, everything, stop_fd);
  // That it was stopped, and that its host has ended, is how it ends.
  if (status.ok() || status.code() == LEVER_CANCELLED || status.code() == LEVER_UNAVAILABLE) return;
  Note("the logs cannot be followed any more: " + status.ToString());
}

}  // namespace

StatusOr<std::unique_ptr<LogFollower>> LogFollower::Start(const Globals& globals) {
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return ErrnoStatus(errno, "eventfd");
  std::unique_ptr<LogFollower> follower(new LogFollower(std::move(stop)));
  try {
    follower->thread_ =
        std::thread([globals, stop_fd = follower->stop_.get()] { Follow(globals, stop_fd); });
  } catch (const std::system_error& error) {
    return ErrnoStatus(error.code().value(), "a thread for the logs");
  }
  return follower;
}

void LogFollower::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // It fails only where it is readable already.
  (void)!::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

}  // namespace lever::cli
