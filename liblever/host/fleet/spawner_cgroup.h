// Cgroups of instances, inside lever-spawner: what surely holds a process and all that it starts,
// and what limits their memory.
//
// Single-threaded, as the spawner is.
//
//  1. An instance has up to two groups: one of the unified hierarchy (v2), which tracks, kills and,
//     where the memory controller is there, limits; and one of v1's memory hierarchy, which limits
//     where v2 does not, and tracks where there is no v2.
//  2. Groups lie in the spawner's own group, or in a root that was given, and are named
//     lever-<spawner's pid>-<instance>. What a spawner that was itself killed left behind is killed
//     and removed when the next one starts. A root belongs to the hosts of one pid namespace.
//  3. Nothing here is needed: without a hierarchy that can be written, ram_limit() says kSampling
//     and the spawner falls back on /proc (spawner_tree.h).
//
// A v2 group in which processes live cannot hand the memory controller to its children. A host that
// is not in the root group therefore limits by v2 only where its parent was told to delegate one
// level higher (--cgroup-root).
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_

#include <cstdint>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

// The groups of one instance. Default-constructed: none.
class Cgroup {
 public:
  bool tracks() const { return v2_directory_.get() >= 0 || v1_tasks_.get() >= 0; }
  // For the child's birth: -1 where there is none.
  int v2_directory_fd() const { return v2_directory_.get(); }
  int v2_procs_fd() const { return v2_procs_.get(); }
  int v1_tasks_fd() const { return v1_tasks_.get(); }

  // SIGKILL to every process in it; those that fork meanwhile are caught by the next call.
  void Kill() const;
  // Whether the kernel killed a process of it for memory.
  bool OomKilled() const;
  // True when it is gone; false while processes are left in it.
  bool Remove();

 private:
  friend class CgroupRoot;
  UniqueFd v2_directory_;
  UniqueFd v2_procs_;
  UniqueFd v1_tasks_;
  std::string v2_path_;
  std::string v1_path_;
  bool limits_ = false;
};

class CgroupRoot {
 public:
  // Looks for what this process may use. `root`: the directory of a group, or empty for its own.
  void Open(const std::string& root);
  RamLimitKind ram_limit() const;
  bool tracks() const { return !v2_root_.empty() || !v1_root_.empty(); }
  // 0, or an errno with nothing left behind.
  int Make(uint64_t id, uint64_t ram_limit_bytes, Cgroup* group) const;

 private:
  void UseV2(const std::string& directory);
  void UseV1(const std::string& directory);
  int MakeV2(const std::string& name, uint64_t ram_limit_bytes, Cgroup* group) const;
  int MakeV1(const std::string& name, uint64_t ram_limit_bytes, Cgroup* group) const;

  std::string v2_root_;
  std::string v1_root_;  // of the memory hierarchy
  bool v2_memory_ = false;
};

// The directory of the group that this process is in, out of the texts of /proc/self/cgroup and
// /proc/self/mountinfo; empty if it is not mounted. `controller` empty: the unified hierarchy.
std::string OwnCgroupDirectory(std::string_view cgroups, std::string_view mounts,
                               std::string_view controller);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_
