#include "liblever/host/fleet/sandbox_seccomp.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

namespace lever::fleet {
namespace {

// Beyond every number of a call that the library knows.
constexpr int kCallNumbers = 1024;

constexpr std::string_view kRefused[] = {
    // Other processes: their memory, descriptors and state.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
    "kcmp", "pidfd_getfd", "move_pages", "migrate_pages",
    // Mounts, roots and namespaces.
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen",
    "fsconfig", "fsmount", "fspick", "mount_setattr", "unshare", "setns",
    // Files past their paths.
    "open_by_handle_at", "name_to_handle_at",
    // The kernel: modules, programs in it, its log, settings and devices.
    "init_module", "finit_module", "delete_module", "create_module", "query_module",
    "get_kernel_syms", "kexec_load", "kexec_file_load", "reboot", "syslog", "bpf",
    "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie", "iopl", "ioperm",
    "ioprio_set", "acct", "swapon", "swapoff", "quotactl", "quotactl_fd", "nfsservctl", "_sysctl",
    "sysfs", "ustat", "uselib", "vm86", "vm86old", "modify_ldt", "vhangup", "vserver", "mknod",
    "mknodat", "sethostname", "setdomainname",
    // Clocks.
    "settimeofday", "stime", "clock_settime", "clock_settime64", "adjtimex", "clock_adjtime",
    "clock_adjtime64",
    // Keys of the kernel.
    "add_key", "request_key", "keyctl"};

// To these programs are used not to have; they then take the older way.
constexpr std::string_view kAbsent[] = {"clone3", "io_uring_setup", "io_uring_enter",
                                        "io_uring_register"};

// Allowed or refused by their arguments.
constexpr std::string_view kByArguments[] = {"clone", "socket", "socketpair", "personality"};

constexpr uint64_t kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

constexpr uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

template <size_t N>
bool Has(const std::string_view (&list)[N], std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(ENOSYS))) {
    Check(context_ == nullptr ? -ENOMEM : 0);
    if (error_ != 0) return;
    Check(seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)));
    // Sorted as a tree: what is compared for a call grows with the logarithm of their number.
    Check(seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2));
  }
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }

  void AddCalls() {
    for (int number = 0; number < kCallNumbers; ++number) {
      const std::unique_ptr<char, decltype(&std::free)> name(
          seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number), &std::free);
      if (name == nullptr || Has(kAbsent, name.get()) || Has(kByArguments, name.get())) continue;
      Add(Has(kRefused, name.get()) ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, number);
    }
    Add(SCMP_ACT_ALLOW, SCMP_SYS(clone), {SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaces, 0)});
    for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)}) AddSockets(call);
    // Linux's own, and asking which it is; another one turns protections off.
    for (const uint64_t persona : {uint64_t{0}, uint64_t{0xffffffff}}) {
      Add(SCMP_ACT_ALLOW, SCMP_SYS(personality), {SCMP_A0(SCMP_CMP_EQ, persona)});
    }
  }

  int Export(int fd) {
    if (error_ == 0) Check(seccomp_export_bpf(context_, fd));
    return error_;
  }

 private:
  void Add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
    if (error_ != 0) return;
    Check(seccomp_rule_add_array(context_, action, call, static_cast<unsigned>(arguments.size()),
                                 arguments.begin()));
  }
  void AddSockets(int call) {
    for (uint64_t family = 0; family <= AF_NETLINK; ++family) {
      const bool allowed = std::find(std::begin(kFamilies), std::end(kFamilies), family) !=
                           std::end(kFamilies);
      Add(allowed ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EAFNOSUPPORT), call,
          {SCMP_A0(SCMP_CMP_EQ, family)});
    }
    Add(SCMP_ACT_ERRNO(EAFNOSUPPORT), call, {SCMP_A0(SCMP_CMP_GT, uint64_t{AF_NETLINK})});
  }
  // The library answers with negative errnos.
  void Check(int result) {
    if (error_ == 0 && result < 0) error_ = -result;
  }

  const scmp_filter_ctx context_;
  int error_ = 0;
};

}  // namespace

int MakeSeccompProgram(UniqueFd* file) {
  UniqueFd made(memfd_create("lever-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.valid()) return errno;
  Filter filter;
  filter.AddCalls();
  if (const int error = filter.Export(made.get()); error != 0) return error;
  if (fcntl(made.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
    return errno;
  }
  *file = std::move(made);
  return 0;
}

}  // namespace lever::fleet
