#include "liblever/host/fleet/sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "liblever/base/clock.h"
#include "liblever/host/fleet/sandbox_inside.h"
#include "liblever/host/fleet/sandbox_seccomp.h"
#include "liblever/host/fleet/spawner_child.h"

namespace lever::fleet {
namespace {

constexpr const char* kBwrapPaths[] = {"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"};
constexpr const char* kRootFolders[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
// Of the probe: a few are used.
constexpr uint32_t kProbeFiles = 256;
// What programs look up; the rest of /etc is the machine's own affair.
constexpr const char* kEtc[] = {
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl",           "pki",
    "localtime",   "timezone",   "host.conf",    "hosts",        "nsswitch.conf", "resolv.conf",
    "gai.conf",    "services",   "protocols",    "mime.types",   "ca-certificates"};

void Append(std::vector<std::string>* arguments, std::initializer_list<std::string> more) {
  arguments->insert(arguments->end(), more);
}

void AppendScratch(std::vector<std::string>* arguments, uint64_t bytes, const char* where) {
  Append(arguments, {"--size", std::to_string(bytes), "--tmpfs", where});
}

std::vector<const char*> Terminated(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& text : strings) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

// What the child says, for as long as it may take, and how it ended; kills it then.
std::string AwaitProbe(pid_t pid, int reader) {
  const int64_t until_ns = Clock::System().NowNs() + Sandbox::kProbeMs * kNanosPerMilli;
  std::string said;
  for (;;) {
    const int64_t left_ms = (until_ns - Clock::System().NowNs()) / kNanosPerMilli;
    pollfd polled{reader, POLLIN, 0};
    if (left_ms <= 0 || poll(&polled, 1, static_cast<int>(left_ms)) <= 0) {
      said = "it took longer than " + std::to_string(Sandbox::kProbeMs) + " ms";
      break;
    }
    char text[512];
    const ssize_t size = read(reader, text, sizeof text);
    if (size <= 0) break;
    if (said.size() < PIPE_BUF) said.append(text, static_cast<size_t>(size));
  }
  int status = 0;
  siginfo_t ended{};
  // Its end of the pipe is closed: it has ended, or is about to.
  while (Clock::System().NowNs() < until_ns &&
         (waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
          ended.si_pid == 0)) {
    poll(nullptr, 0, 1);
  }
  kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  said = said.substr(0, said.find('\n'));
  return said.empty() ? "bwrap ended with status " + std::to_string(status) : said;
}

}  // namespace

SystemPaths FindSystemPaths() {
  SystemPaths system;
  for (const char* name : kRootFolders) {
    const std::string path = std::string("/") + name;
    char target[PATH_MAX];
    const ssize_t size = readlink(path.c_str(), target, sizeof target);
    if (size > 0) {
      system.links.emplace_back(path, std::string(target, static_cast<size_t>(size)));
    } else if (access(path.c_str(), F_OK) == 0) {
      system.folders.push_back(path);
    }
  }
  return system;
}

std::vector<std::string> BwrapArguments(const std::string& bwrap, const SystemPaths& system,
                                        const SandboxSpec& spec) {
  std::vector<std::string> out = {bwrap,          "--unshare-user", "--unshare-pid",
                                  "--unshare-ipc", "--unshare-uts",  "--unshare-cgroup-try"};
  if (!spec.network) out.push_back("--unshare-net");
  Append(&out, {"--die-with-parent", "--new-session", "--cap-drop", "ALL"});
  Append(&out, {"--ro-bind", "/usr", "/usr"});
  for (const std::string& folder : system.folders) Append(&out, {"--ro-bind", folder, folder});
  for (const auto& [link, target] : system.links) Append(&out, {"--symlink", target, link});
  for (const char* name : kEtc) {
    const std::string path = std::string("/etc/") + name;
    Append(&out, {"--ro-bind-try", path, path});
  }
  Append(&out, {"--proc", "/proc", "--dev", "/dev"});
  AppendScratch(&out, spec.scratch_bytes, "/dev/shm");
  AppendScratch(&out, spec.scratch_bytes, "/tmp");
  Append(&out, {"--symlink", "../tmp", "/var/tmp", "--dir", "/run"});
  // After /tmp, below which they may lie.
  for (const std::string& path : spec.readable) Append(&out, {"--ro-bind-try", path, path});
  const std::string& shown = spec.shown.empty() ? spec.directory : spec.shown;
  Append(&out, {"--ro-bind", shown, spec.directory, "--chdir", spec.directory});
  Append(&out, {"--remount-ro", "/dev", "--remount-ro", "/"});
  Append(&out, {"--seccomp", std::to_string(kSeccompFd), "--",
                "/proc/self/fd/" + std::to_string(kSelfFd), kInsideWord});
  out.insert(out.end(), spec.argv.begin(), spec.argv.end());
  return out;
}

void Sandbox::Open(const HelloMessage& hello) {
  error_ = Try(hello);
  works_ = error_.empty();
}

std::vector<std::string> Sandbox::ArgumentsFor(const StartMessage& message,
                                               const std::string& pool_folder) const {
  SandboxSpec spec;
  spec.directory = pool_folder.empty() ? message.directory : message.pool_trees;
  spec.shown = pool_folder;
  spec.readable = message.readable;
  spec.network = message.network != 0;
  spec.scratch_bytes =
      message.ram_limit_bytes == 0 ? kScratchBytes : message.ram_limit_bytes / kScratchShare;
  spec.argv = message.argv;
  return BwrapArguments(bwrap_, system_, spec);
}

int Sandbox::OpenFiles(UniqueFd* seccomp, UniqueFd* self) const {
  // An open file of its own: bwrap reads it to its end.
  const std::string path = "/proc/self/fd/" + std::to_string(seccomp_.get());
  seccomp->reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!seccomp->valid()) return errno;
  self->reset(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  return self->valid() ? 0 : errno;
}

std::string Sandbox::Try(const HelloMessage& hello) {
  for (const char* path : kBwrapPaths) {
    if (bwrap_.empty() && access(path, X_OK) == 0) bwrap_ = path;
  }
  if (bwrap_.empty()) return "there is no bwrap (the package bubblewrap)";
  system_ = FindSystemPaths();
  if (const int error = MakeSeccompProgram(&seccomp_); error != 0) {
    return std::string("its seccomp program: ") + strerror(error);
  }
  StartMessage message;
  message.directory = hello.probe_directory;
  message.argv = {"/bin/true"};
  const std::vector<std::string> arguments = ArgumentsFor(message);
  const std::vector<const char*> argv = Terminated(arguments);
  const char* const variables[] = {nullptr};
  UniqueFd seccomp;
  UniqueFd self;
  if (const int error = OpenFiles(&seccomp, &self); error != 0) return strerror(error);
  int report[2];
  int output[2];
  if (pipe2(report, O_CLOEXEC) != 0) return strerror(errno);
  const UniqueFd report_reader(report[0]);
  UniqueFd report_writer(report[1]);
  if (pipe2(output, O_CLOEXEC) != 0) return strerror(errno);
  const UniqueFd reader(output[0]);
  UniqueFd writer(output[1]);
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));

  ChildPlan plan;
  plan.argv = argv.data();
  plan.variables = variables;
  plan.directory = message.directory.c_str();
  plan.null_fd = null.get();
  plan.stdout_fd = plan.stderr_fd = writer.get();
  plan.error_fd = report_writer.get();
  plan.seccomp_fd = seccomp.get();
  plan.self_fd = self.get();
  plan.sandboxed = true;
  plan.parent = getpid();
  plan.switch_user = hello.probe_uid != kSameUser;
  plan.uid = plan.gid = hello.probe_uid;
  plan.nofile = kProbeFiles;
  int pidfd = -1;
  const pid_t pid = CloneChild(plan, -1, -1, &pidfd);
  if (pid < 0) return strerror(errno);
  const UniqueFd owned(pidfd);
  writer.reset();
  report_writer.reset();
  const std::string failed = AwaitProbe(pid, reader.get());
  ChildError told{};
  while (read(report_reader.get(), &told, sizeof told) == sizeof told) {
    if (told.stage == SpawnStage::kInside) continue;
    return std::string(SpawnStageName(told.stage)) + ": " + strerror(told.error);
  }
  return failed;
}

}  // namespace lever::fleet
