#include "daemon/lever/build_step.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "liblever/base/fd.h"

namespace lever::cli {
namespace {

// In the child: never returns. What fails before the program runs is told through `report`.
[[noreturn]] void Execute(const std::string& directory, char* const* argv, int report) {
  if (::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && ::chdir(directory.c_str()) == 0) {
    ::execvp(argv[0], argv);
  }
  const int error = errno;
  // If even this fails, the exit code is all that the parent gets.
  [[maybe_unused]] const ssize_t written = ::write(report, &error, sizeof(error));
  ::_exit(127);
}

}  // namespace

Status RunBuild(const std::string& directory, const std::vector<std::string>& argv) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return ErrnoStatus(errno, "fork");
  if (child == 0) Execute(directory, arguments.data(), writing.get());
  writing = UniqueFd();

  int error = 0;
  const bool failed_to_run = ::read(reading.get(), &error, sizeof(error)) == sizeof(error);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string build = "build: `" + argv.front() + "` ";
  if (failed_to_run) {
    return FailedPrecondition(build + "cannot be run: " + std::strerror(error));
  }
  if (WIFSIGNALED(status)) {
    return FailedPrecondition(build + "was ended by signal " + std::to_string(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0) {
    return FailedPrecondition(build + "failed with exit code " +
                              std::to_string(WEXITSTATUS(status)));
  }
  return Status::Ok();
}

}  // namespace lever::cli
