#include "liblever/host/fleet/sandbox_inside.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "liblever/host/fleet/spawner_child.h"

namespace lever::fleet {
namespace {

// What is newer than the headers of Debian 12, from the kernel's uapi/linux/landlock.h.
constexpr uint64_t kTruncate = 1ull << 14;            // ABI 3
constexpr uint64_t kIoctlDevice = 1ull << 15;         // ABI 5
constexpr uint64_t kScopeAbstractSocket = 1ull << 0;  // ABI 6
struct RulesetAttributes {
  uint64_t handled_access_fs = 0;
  uint64_t handled_access_net = 0;
  uint64_t scoped = 0;
};

constexpr uint64_t kRead =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kMakeOfAbi1 =
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr uint64_t kDeviceFiles = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

class Ruleset {
 public:
  explicit Ruleset(int abi) {
    write_ = LANDLOCK_ACCESS_FS_WRITE_FILE;
    make_ = kMakeOfAbi1;
    if (abi >= 2) make_ |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3) write_ |= kTruncate;
    if (abi >= 5) write_ |= kIoctlDevice;
    RulesetAttributes attributes;
    attributes.handled_access_fs = kRead | write_ | make_ | kDeviceFiles;
    if (abi >= 6) attributes.scoped = kScopeAbstractSocket;
    // A kernel of ABI 1 to 3 knows the first member only; later ones take a shorter attribute.
    const size_t size = abi >= 6 ? sizeof attributes : sizeof attributes.handled_access_fs;
    fd_ = UniqueFd(
        static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
    if (!fd_.valid()) error_ = errno;
  }

  void Allow(const char* path, uint64_t access) {
    if (error_ != 0) return;
    const UniqueFd place(open(path, O_PATH | O_CLOEXEC));
    if (!place.valid()) {
      error_ = errno;
      return;
    }
    landlock_path_beneath_attr rule{};
    rule.allowed_access = access;
    rule.parent_fd = place.get();
    if (syscall(SYS_landlock_add_rule, fd_.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
      error_ = errno;
    }
  }

  int Apply() {
    if (error_ == 0 && syscall(SYS_landlock_restrict_self, fd_.get(), 0) != 0) error_ = errno;
    return error_;
  }

  uint64_t write() const { return write_; }
  uint64_t make() const { return make_; }

 private:
  UniqueFd fd_;
  uint64_t write_ = 0;
  uint64_t make_ = 0;
  int error_ = 0;
};

int RestrictFiles() {
  const int abi = LandlockAbi();
  if (abi == 0) return 0;
  Ruleset rules(abi);
  rules.Allow("/", kRead);
  // Of /proc a process may write what is its own, as the kernel checks.
  for (const char* devices : {"/dev", "/proc"}) rules.Allow(devices, kRead | rules.write());
  for (const char* own : {"/tmp", "/dev/shm"}) {
    rules.Allow(own, kRead | rules.write() | rules.make());
  }
  return rules.Apply();
}

}  // namespace

int LandlockAbi() {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

void RunInside(char** argv) {
  for (const int fd : {kReportFd, kSelfFd}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  // bwrap's --new-session makes one of which its own process in here is the leader. The program gets
  // its own, and with it a process group, which kSignal reaches.
  if (setsid() < 0) FailChild(kReportFd, SpawnStage::kSession, errno);
  ReportChild(kReportFd, SpawnStage::kInside, 0);
  if (const int error = RestrictFiles(); error != 0) {
    FailChild(kReportFd, SpawnStage::kSandbox, error);
  }
  const char* path = std::getenv("PATH");
  FailChild(kReportFd, SpawnStage::kExec, ExecInPath(argv, environ, path));
}

}  // namespace lever::fleet
