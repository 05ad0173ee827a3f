#include "liblever/host/capi/runtimes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>

#include "liblever/base/fd.h"
#include "liblever/host/capi/reachable.h"

namespace lever::host {
namespace {

constexpr size_t kAnswerBytesMax = 4096;

struct RuntimeKind {
  const char* name;
  const char* program;
  const char* launcher;  // below the runtime folder
  int major_min;
  // The flag and the program with which it prints two lines: its version, and where it is itself.
  const char* flag;
  const char* question;
};
constexpr RuntimeKind kNode{"node",
                            "node",
                            "node/node_modules/lever/launcher.js",
                            kNodeMajorMin,
                            "-e",
                            "console.log(process.version); console.log(process.execPath)"};
constexpr RuntimeKind kPython{
    "python",
    "python3",
    "python/lever/launcher.py",
    kPythonMajorMin,
    "-Ic",
    "import sys; print('Python %d.%d.%d' % sys.version_info[:3]); print(sys.executable)"};

// What comes out of `fd` until its end, or until the time is over.
std::string ReadAnswer(int fd) {
  std::string answer;
  const int64_t give_up_ns = Clock::System().NowNs() + kRuntimeAnswerNs;
  while (answer.size() < kAnswerBytesMax) {
    const int64_t left_ns = give_up_ns - Clock::System().NowNs();
    pollfd waiting{fd, POLLIN, 0};
    if (left_ns <= 0 || ::poll(&waiting, 1, static_cast<int>(left_ns / kNanosPerMilli) + 1) <= 0) {
      break;
    }
    char buffer[512];
    const ssize_t size = ::read(fd, buffer, sizeof(buffer));
    if (size <= 0) break;
    answer.append(buffer, static_cast<size_t>(size));
  }
  return answer;
}

// What is on PATH may be a script that chooses one of several interpreters (pyenv, asdf): a service is
// started without it, and a sandbox needs to have the interpreter alone.
bool IsScript(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char begin[2];
  return file.valid() && ::read(file.get(), begin, sizeof begin) == 2 && begin[0] == '#' &&
         begin[1] == '!';
}

// What a script prints to its question; what a program says that is asked for its version, which is much
// sooner.
StatusOr<std::string> Ask(const RuntimeKind& kind, const std::string& path) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  const bool script = IsScript(path);
  char* const argv[] = {const_cast<char*>(path.c_str()),
                        const_cast<char*>(script ? kind.flag : "--version"),
                        script ? const_cast<char*>(kind.question) : nullptr, nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, path.c_str(), &actions, nullptr, argv, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  writing.reset();
  if (error != 0) return ErrnoStatus(error, path);
  std::string answer = ReadAnswer(reading.get());
  // It has answered, or never will.
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return answer;
}

// "v20.20.2", "Python 3.11.2" -> "20.20.2", "3.11.2".
std::string VersionIn(const std::string& line) {
  const size_t begin = line.find_first_of("0123456789");
  if (begin == std::string::npos) return "";
  return line.substr(begin, line.find_first_not_of("0123456789.", begin) - begin);
}

void Try(const RuntimeKind& kind, ServiceUsers users, Runtime& runtime) {
  const StatusOr<std::string> answer = Ask(kind, runtime.path);
  if (!answer.ok()) {
    runtime.error = answer.status().message();
    return;
  }
  std::istringstream lines(*answer);
  std::string first;
  std::string itself;
  std::getline(lines, first);
  std::getline(lines, itself);
  const std::string version = VersionIn(first);
  int major = 0;
  std::from_chars(version.data(), version.data() + version.size(), major);
  if (major < kind.major_min) {
    runtime.error = runtime.path + " says that it is '" + first + "'; " + kind.name + " " +
                    std::to_string(kind.major_min) + " or later is needed";
    return;
  }
  if (itself.starts_with('/') && ::access(itself.c_str(), X_OK) == 0) runtime.path = itself;
  if (::access(runtime.launcher.c_str(), R_OK) != 0) {
    runtime.error = "this host has no Lever package for " + runtime.name + ": there is no " +
                    runtime.launcher;
    return;
  }
  for (const std::string& path : {runtime.path, runtime.launcher}) {
    if (users == ServiceUsers::kSame) break;
    const Status reachable = CheckReachable(path);
    if (reachable.ok()) continue;
    runtime.error = reachable.message();
    return;
  }
  runtime.version = version;
}

StatusOr<Runtime> Find(const RuntimeKind& kind, const std::string& given,
                       const std::string& runtime_dir, ServiceUsers users) {
  Runtime runtime;
  runtime.name = kind.name;
  runtime.launcher = runtime_dir + "/" + kind.launcher;
  runtime.path = given.empty() ? FindOnPath(kind.program) : given;
  if (runtime.path.empty()) {
    runtime.error = std::string("there is no ") + kind.program + " on this host's PATH";
    return runtime;
  }
  std::error_code error;
  const auto absolute = std::filesystem::absolute(runtime.path, error);
  if (!error) runtime.path = absolute.lexically_normal().string();
  Try(kind, users, runtime);
  if (!given.empty() && runtime.version.empty()) return FailedPrecondition(runtime.error);
  return runtime;
}

}  // namespace

std::string FindOnPath(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path);
  std::string folder;
  while (std::getline(folders, folder, ':')) {
    if (folder.empty() || folder[0] != '/') continue;
    const std::string candidate = folder + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

StatusOr<Runtimes> FindRuntimes(const std::string& node_path, const std::string& python_path,
                                const std::string& runtime_dir, ServiceUsers users) {
  Runtimes runtimes;
  LEVER_ASSIGN_OR_RETURN(runtimes.node, Find(kNode, node_path, runtime_dir, users));
  LEVER_ASSIGN_OR_RETURN(runtimes.python, Find(kPython, python_path, runtime_dir, users));
  return runtimes;
}

}  // namespace lever::host
