#include "daemon/lever/build_step.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "liblever/base/fd.h"

namespace lever::cli {
namespace {

// What a build gets to end by itself before it is killed.
constexpr int kEndMs = 2000;

// What the child is to do: all of it made before the fork, since other threads may hold locks then.
struct Program {
  const char* directory;
  char* const* argv;
  char* const* environment;
  bool apart;  // a group of its own, without input
  int report;
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the child: never returns. What fails before the program runs is told through `report`.
[[noreturn]] void Execute(const Program& program) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (program.apart) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int empty = ::open("/dev/null", O_RDONLY);
    if (empty >= 0) ::dup2(empty, STDIN_FILENO);
  }
  if (::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && ::chdir(program.directory) == 0) {
    ::execvpe(program.argv[0], program.argv, program.environment);
  }
  const int error = errno;
  // If even this fails, the exit code is all that the parent gets.
  [[maybe_unused]] const ssize_t written = ::write(program.report, &error, sizeof(error));
  ::_exit(127);
}

int Reap(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Whether the child ended by itself, before `cancel_fd` or the timeout.
bool AwaitEnd(int child_fd, int cancel_fd, int timeout_ms) {
  pollfd watched[2] = {{child_fd, POLLIN, 0}, {cancel_fd, POLLIN, 0}};
  int count = 0;
  do {
    count = ::poll(watched, 2, timeout_ms);
  } while (count < 0 && errno == EINTR);
  return count > 0 && watched[0].revents != 0;
}

// Of a build in a group of its own: asked to end, then killed, with all that it started.
Status GiveUp(pid_t child, int child_fd) {
  ::kill(-child, SIGTERM);
  AwaitEnd(child_fd, -1, kEndMs);
  ::kill(-child, SIGKILL);
  Reap(child);
  return Cancelled("the build was given up");
}

Status HowItEnded(int status, int error, const std::string& program) {
  const std::string build = "build: `" + program + "` ";
  if (error != 0) return FailedPrecondition(build + "cannot be run: " + std::strerror(error));
  if (WIFSIGNALED(status)) {
    return FailedPrecondition(build + "was ended by signal " + std::to_string(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0) {
    return FailedPrecondition(build + "failed with exit code " +
                              std::to_string(WEXITSTATUS(status)));
  }
  return Status::Ok();
}

}  // namespace

std::vector<std::string> EnvironmentWith(const std::vector<std::string>& changes) {
  const auto name = [](const std::string& text) { return text.substr(0, text.find('=') + 1); };
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool changed = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      return name(change) == name(text);
    });
    if (!changed) environment.push_back(text);
  }
  environment.insert(environment.end(), changes.begin(), changes.end());
  return environment;
}

Status RunBuild(const std::string& directory, const std::vector<std::string>& argv,
                const BuildOptions& options) {
  const std::vector<std::string> environment = EnvironmentWith(options.environment);
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const bool apart = options.cancel_fd >= 0;
  const Program program{directory.c_str(), arguments.data(), variables.data(), apart, ends[1]};
  const pid_t child = ::fork();
  if (child < 0) return ErrnoStatus(errno, "fork");
  if (child == 0) Execute(program);
  writing = UniqueFd();

  int error = 0;
  if (::read(reading.get(), &error, sizeof(error)) != sizeof(error)) error = 0;
  if (apart) {
    const UniqueFd child_fd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    if (!child_fd.valid()) {
      const int failed = errno;
      ::kill(-child, SIGKILL);
      Reap(child);
      return ErrnoStatus(failed, "pidfd_open");
    }
    if (!AwaitEnd(child_fd.get(), options.cancel_fd, -1)) return GiveUp(child, child_fd.get());
  }
  return HowItEnded(Reap(child), error, argv.front());
}

}  // namespace lever::cli
