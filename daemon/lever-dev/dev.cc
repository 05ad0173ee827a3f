// lever dev [DIR...]: a host, the services of the directories, and their logs, in one process.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/lever-dev/dev_host.h"
#include "daemon/lever-dev/dev_service.h"
#include "daemon/lever-dev/log_follower.h"
#include "daemon/lever-dev/report.h"
#include "daemon/lever/command.h"
#include "daemon/lever/deployment.h"
#include "daemon/lever/output.h"
#include "liblever/base/clock.h"
#include "liblever/base/fd.h"

namespace lever::cli {
namespace {

constexpr int64_t kNanosPerMilli = 1'000'000;
constexpr int64_t kStopPollNs = 20 * kNanosPerMilli;

// SIGINT, SIGTERM and SIGHUP come by a descriptor, for all threads of the process.
StatusOr<UniqueFd> WatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  // Whoever reads the output may go before us.
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "signalfd");
  return fd;
}

bool TakeSignal(int signal_fd) {
  signalfd_siginfo info;
  return ::read(signal_fd, &info, sizeof(info)) > 0;
}

// What is wrong with a directory from the start is not what an edit broke.
Status CheckDirectories(const std::vector<std::string>& directories) {
  std::set<std::filesystem::path> seen;
  for (const std::string& directory : directories) {
    LEVER_RETURN_IF_ERROR(ReadManifest(directory).status());
    std::error_code error;
    if (!seen.insert(std::filesystem::canonical(directory, error)).second) {
      return InvalidArgument(directory + " is there twice");
    }
  }
  return Status::Ok();
}

class Session {
 public:
  Session(const Globals& globals, DevHost* host, int signal_fd)
      : globals_(globals), host_(host), signal_fd_(signal_fd) {
    globals_.host = host->address();
  }

  Status Run(const std::vector<std::string>& directories) {
    ReportListening(globals_, *host_);
    LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<LogFollower> logs, LogFollower::Start(globals_));
    const Status status = RefreshUntilSignal(directories);
    // Before anybody is told: a signal that comes while this one is pending would be lost.
    TakeSignal(signal_fd_);
    ReportStopping(globals_);
    services_.clear();
    host_->Close();
    while (!host_->Ended(kStopPollNs)) {
      if (TakeSignal(signal_fd_)) EndAtOnce();
    }
    return status;
  }

 private:
  Status RefreshUntilSignal(const std::vector<std::string>& directories) {
    auto next = directories.begin();
    while (true) {
      // In the order given: a service may call those before it when it starts.
      if (next != directories.end() && !IsAnyStarting()) {
        services_.push_back(
            std::make_unique<DevService>(&globals_, host_->data_dir(), *next++, signal_fd_));
      }
      LEVER_ASSIGN_OR_RETURN(const bool ending, AwaitWork());
      if (ending) return Status::Ok();
      for (const auto& service : services_) {
        const int64_t now_ns = Clock::System().NowNs();
        if (!service->due_ns() || *service->due_ns() > now_ns) continue;
        const Status status = service->Refresh();
        if (status.code() == LEVER_CANCELLED) return Status::Ok();
        LEVER_RETURN_IF_ERROR(status);
      }
    }
  }

  bool IsAnyStarting() const {
    return std::any_of(services_.begin(), services_.end(),
                       [](const auto& service) { return service->starting(); });
  }

  // Until something is due. True: a signal has come.
  StatusOr<bool> AwaitWork() {
    std::vector<pollfd> watched = {{signal_fd_, POLLIN, 0}};
    int64_t due_ns = INT64_MAX;
    for (const auto& service : services_) {
      watched.push_back({service->fd(), POLLIN, 0});
      watched.push_back({service->host_fd(), POLLIN, 0});
      due_ns = std::min(due_ns, service->due_ns().value_or(INT64_MAX));
    }
    int timeout_ms = -1;
    if (due_ns != INT64_MAX) {
      const int64_t left_ns = due_ns - Clock::System().NowNs();
      timeout_ms = left_ns <= 0 ? 0 : static_cast<int>(left_ns / kNanosPerMilli) + 1;
    }
    if (::poll(watched.data(), watched.size(), timeout_ms) < 0) {
      if (errno != EINTR) return ErrnoStatus(errno, "poll");
      return false;
    }
    if (watched[0].revents != 0) return true;
    const int64_t now_ns = Clock::System().NowNs();
    for (size_t i = 0; i < services_.size(); ++i) {
      if (watched[2 * i + 1].revents != 0 || watched[2 * i + 2].revents != 0) {
        services_[i]->OnWake(now_ns);
      }
    }
    return false;
  }

  // The instances end with their spawner, whose socket ends with this process.
  [[noreturn]] void EndAtOnce() {
    host_->RemoveTemporary();
    ::_exit(StatusToExitCode(LEVER_CANCELLED));
  }

  Globals globals_;
  DevHost* host_;
  int signal_fd_;
  std::vector<std::unique_ptr<DevService>> services_;
};

Status RunDev(const Globals& globals, const DevArguments& arguments) {
  LEVER_RETURN_IF_ERROR(CheckDirectories(arguments.directories));
  LEVER_ASSIGN_OR_RETURN(const UniqueFd signals, WatchSignals());
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<DevHost> host, DevHost::Start(arguments));
  return Session(globals, host.get(), signals.get()).Run(arguments.directories);
}

}  // namespace

int Dev(const Globals& globals, const DevArguments& arguments) {
  return Report(globals, RunDev(globals, arguments));
}

}  // namespace lever::cli
