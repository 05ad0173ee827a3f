// The way of one instance from clone to exec, inside lever-spawner.
//
// Single-threaded, as the spawner is.
//
//  1. Everything that needs memory is done before clone: the child only makes system calls on what
//     its ChildPlan points to.
//  2. The program sees exactly descriptors 0 (/dev/null), 1, 2 and, if given, 3 and 4; default
//     signal dispositions and an empty mask; a session and process group of its own; no way to gain
//     privileges; and dies with the spawner (PR_SET_PDEATHSIG works here: one thread, one parent).
//     A sandboxed one becomes bwrap first, and its program inside it (sandbox_inside.h).
//  3. What fails on the way is written to error_fd as a ChildError, and the child exits. Exec
//     closes error_fd: its end without a ChildError means that the program runs.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_CHILD_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_CHILD_H_

#include <sys/types.h>

#include <cstdint>

#include "liblever/host/fleet/spawner_cgroup.h"
#include "liblever/host/fleet/spawner_protocol.h"

namespace lever::fleet {

struct ChildPlan {
  const char* const* argv = nullptr;  // null-terminated, at least one
  const char* const* variables = nullptr;
  const char* path = nullptr;  // where argv[0] is looked up if it holds no slash
  const char* directory = nullptr;
  int null_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  int attach_fd = -1;
  int introduction_fd = -1;
  int error_fd = -1;
  // For a sandboxed one, all three: error_fd then stays open for what runs inside, as kReportFd.
  int seccomp_fd = -1;
  int self_fd = -1;
  bool sandboxed = false;
  // Where the child writes itself into its groups: `tasks` of v1's, cgroup.procs of v2; -1: none.
  int cgroup_entry_fds[kControllers + 1] = {-1, -1, -1, -1};
  pid_t parent = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool switch_user = false;
  uint32_t nofile = 0;
  int32_t oom_score_adj = 0;
};

struct ChildError {
  SpawnStage stage;
  int32_t error;
};

// Clones the caller and runs the plan in the child. `cgroup_v2_fd` is the directory of the cgroup
// v2 that the child is born in, or -1. Returns the pid, or -1 with errno. `*pidfd` is -1 where the
// kernel has none.
pid_t CloneChild(ChildPlan plan, int cgroup_v2_fd, int cgroup_v2_procs_fd, int* pidfd);

// The last steps, for what runs inside a sandbox too. Nothing is allocated.
void ReportChild(int error_fd, SpawnStage stage, int error);
[[noreturn]] void FailChild(int error_fd, SpawnStage stage, int error);
// Tries argv[0] in each folder of `path`. Returns the errno that says most.
int ExecInPath(char* const* argv, char* const* variables, const char* path);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_CHILD_H_
