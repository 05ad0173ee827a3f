#include "liblever/host/fleet/spawner_child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/limits.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "liblever/host/fleet/sandbox_inside.h"

namespace lever::fleet {
namespace {

// Descriptors are moved up here first, so that none lies where another has to go.
constexpr int kParkedFd = 16;
// The exit code of a child that never became a program; the host hears ChildError instead.
constexpr int kNotExecuted = 127;

void ResetSignals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool WriteText(int fd, const char* text, size_t size) {
  return write(fd, text, size) == static_cast<ssize_t>(size);
}

// Without the C library's formatting, which may allocate.
void SetOomScore(int32_t score) {
  char text[16];
  char* end = text + sizeof text;
  char* begin = end;
  uint32_t rest = score < 0 ? -static_cast<uint32_t>(score) : static_cast<uint32_t>(score);
  do {
    *--begin = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (score < 0) *--begin = '-';
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  // Lowering it below the host's own needs a privilege: then the host's own stays.
  (void)!WriteText(fd, begin, static_cast<size_t>(end - begin));
  close(fd);
}

bool SetLimits(uint32_t nofile) {
  rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return false;
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return false;
  if (files.rlim_max == RLIM_INFINITY || files.rlim_max > nofile) files.rlim_max = nofile;
  files.rlim_cur = files.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

// setresuid of the C library would signal other threads; there are none, and the plain calls are
// enough.
bool SwitchUser(const ChildPlan& plan) {
  if (!plan.switch_user) return true;
  return syscall(SYS_setgroups, 0, nullptr) == 0 &&
         syscall(SYS_setresgid, plan.gid, plan.gid, plan.gid) == 0 &&
         syscall(SYS_setresuid, plan.uid, plan.uid, plan.uid) == 0;
}

// Puts the descriptors where the program expects them. Returns where error_fd went, or -1.
int PlaceDescriptors(const ChildPlan& plan) {
  const int sources[] = {plan.null_fd,
                         plan.stdout_fd,
                         plan.stderr_fd,
                         plan.attach_fd,
                         plan.introduction_fd,
                         plan.sandboxed ? plan.error_fd : -1,
                         plan.seccomp_fd,
                         plan.self_fd};
  static_assert(kAttachFd == 3 && kIntroductionFd == 4);
  static_assert(kReportFd == 5 && kSeccompFd == 6 && kSelfFd == 7);
  constexpr int kCount = std::size(sources);
  int error_fd = fcntl(plan.error_fd, F_DUPFD_CLOEXEC, kParkedFd);
  if (error_fd < 0) return -1;
  int parked[kCount];
  for (int i = 0; i < kCount; ++i) {
    parked[i] = -1;
    if (sources[i] < 0) continue;
    parked[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, kParkedFd);
    if (parked[i] < 0) FailChild(error_fd, SpawnStage::kDescriptors, errno);
  }
  int used = 0;
  for (int i = 0; i < kCount; ++i) {
    if (parked[i] < 0) continue;
    if (dup2(parked[i], i) < 0) FailChild(error_fd, SpawnStage::kDescriptors, errno);
    used = i + 1;
  }
  // All others are close-on-exec by construction; this catches what a mistake would leave.
  syscall(SYS_close_range, used, error_fd - 1, 0);
  syscall(SYS_close_range, error_fd + 1, ~0U, 0);
  return error_fd;
}

[[noreturn]] void RunChild(const ChildPlan& plan) {
  if (setsid() < 0) FailChild(plan.error_fd, SpawnStage::kSession, errno);
  ResetSignals();
  for (int fd : plan.cgroup_entry_fds) {
    if (fd >= 0 && !WriteText(fd, "0", 1)) FailChild(plan.error_fd, SpawnStage::kCgroup, errno);
  }
  SetOomScore(plan.oom_score_adj);
  if (!SetLimits(plan.nofile)) FailChild(plan.error_fd, SpawnStage::kLimits, errno);
  umask(077);
  if (!SwitchUser(plan)) FailChild(plan.error_fd, SpawnStage::kUser, errno);
  // After the change of user, which clears the death signal. The spawner may have died before it.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    FailChild(plan.error_fd, SpawnStage::kPrivileges, errno);
  }
  if (getppid() != plan.parent) _exit(kNotExecuted);
  int error_fd = PlaceDescriptors(plan);
  if (error_fd < 0) FailChild(plan.error_fd, SpawnStage::kDescriptors, errno);
  // As the instance's user, so that a directory which it cannot enter shows here.
  if (chdir(plan.directory) != 0) FailChild(error_fd, SpawnStage::kDirectory, errno);
  FailChild(error_fd, SpawnStage::kExec,
            ExecInPath(const_cast<char* const*>(plan.argv),
                       const_cast<char* const*>(plan.variables), plan.path));
}

}  // namespace

void ReportChild(int error_fd, SpawnStage stage, int error) {
  ChildError report{stage, error};
  ssize_t written;
  do {
    written = write(error_fd, &report, sizeof report);
  } while (written < 0 && errno == EINTR);
}

void FailChild(int error_fd, SpawnStage stage, int error) {
  ReportChild(error_fd, stage, error);
  _exit(kNotExecuted);
}

int ExecInPath(char* const* argv, char* const* variables, const char* path) {
  const char* name = argv[0];
  if (std::strchr(name, '/') != nullptr) {
    execve(name, argv, variables);
    return errno;
  }
  size_t name_size = std::strlen(name);
  int error = ENOENT;
  char candidate[PATH_MAX];
  for (const char* folder = path; folder != nullptr && *folder != '\0';) {
    const char* end = std::strchr(folder, ':');
    size_t size = end == nullptr ? std::strlen(folder) : static_cast<size_t>(end - folder);
    if (size > 0 && size + name_size + 2 <= sizeof candidate) {
      std::memcpy(candidate, folder, size);
      candidate[size] = '/';
      std::memcpy(candidate + size + 1, name, name_size + 1);
      execve(candidate, argv, variables);
      if (errno != ENOENT && errno != ENOTDIR) error = errno;
      if (error != ENOENT && error != EACCES) return error;
    }
    folder = end == nullptr ? nullptr : end + 1;
  }
  return error;
}

pid_t CloneChild(ChildPlan plan, int cgroup_v2_fd, int cgroup_v2_procs_fd, int* pidfd) {
  *pidfd = -1;
  int new_pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&new_pidfd);
  args.exit_signal = SIGCHLD;
  if (cgroup_v2_fd >= 0) {
    // Born in its group: moving a process there later takes a lock of the whole kernel.
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup_v2_fd);
  }
  auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) RunChild(plan);
  if (pid > 0) {
    *pidfd = new_pidfd;
    return pid;
  }
  // Older kernels, and sandboxes that know no clone3.
  if (errno != ENOSYS && errno != EPERM && errno != EINVAL) return -1;
  plan.cgroup_entry_fds[kControllers] = cgroup_v2_procs_fd;
  pid = fork();
  if (pid == 0) RunChild(plan);
  if (pid > 0) {
    *pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (*pidfd >= 0) fcntl(*pidfd, F_SETFD, FD_CLOEXEC);
  }
  return pid;
}

}  // namespace lever::fleet
