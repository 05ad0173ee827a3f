#include "tests/cli/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>

namespace lever::testing {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

UniqueFd MakePipe(UniqueFd* writing) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  *writing = UniqueFd(ends[1]);
  return UniqueFd(ends[0]);
}

}  // namespace

Process::Process(const ProcessOptions& options) {
  UniqueFd out;
  UniqueFd err;
  out_ = MakePipe(&out);
  err_ = MakePipe(&err);
  input_ = UniqueFd(::memfd_create("input", MFD_CLOEXEC));
  EXPECT_EQ(::write(input_.get(), options.input.data(), options.input.size()),
            static_cast<ssize_t>(options.input.size()));
  ::lseek(input_.get(), 0, SEEK_SET);

  std::vector<std::string> environment = options.environment;
  environment.push_back("PATH=" + std::string(std::getenv("PATH")));
  const std::vector<char*> argv = Pointers(options.argv);
  const std::vector<char*> envp = Pointers(environment);
  pid_ = ::fork();
  if (pid_ != 0) return;
  if (options.closed_input) {
    ::close(0);
  } else {
    ::dup2(input_.get(), 0);
  }
  ::dup2(out.get(), 1);
  ::dup2(err.get(), 2);
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(126);
}

Process::~Process() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Process::Signal(int number) const { ::kill(pid_, number); }

ProcessResult Process::Wait() {
  ProcessResult result;
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  while (out_.valid() || err_.valid()) {
    pollfd watched[2] = {{out_.valid() ? out_.get() : -1, POLLIN, 0},
                         {err_.valid() ? err_.get() : -1, POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      ADD_FAILURE() << "the process has not ended in time; so far: " << result.out << result.err;
      ::kill(pid_, SIGKILL);
      break;
    }
    if (::poll(watched, 2, static_cast<int>(left.count())) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (watched[i].revents == 0) continue;
      char piece[4096];
      const ssize_t count = ::read(watched[i].fd, piece, sizeof(piece));
      if (count > 0) (i == 0 ? result.out : result.err).append(piece, static_cast<size_t>(count));
      if (count == 0) (i == 0 ? out_ : err_).reset();
    }
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

}  // namespace lever::testing
