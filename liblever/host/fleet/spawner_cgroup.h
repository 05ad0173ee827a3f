// Cgroups of instances, inside lever-spawner: what surely holds a process and all that it starts,
// and what limits their memory, their number and their share of the cores.
//
// Single-threaded, as the spawner is.
//
//  1. An instance has up to four groups: one of the unified hierarchy (v2), which tracks, kills and
//     limits with the controllers that it has; and for each controller that it lacks, one of v1's
//     hierarchies, where there is a limit for it. Where there is no v2, v1's tracks.
//  2. Groups lie in the spawner's own group, or in a root that was given, and are named
//     lever-<spawner's pid>-<instance>. What a spawner that was itself killed left behind is killed
//     and removed when the next one starts. A root belongs to the hosts of one pid namespace.
//  3. Nothing here is needed: without a hierarchy that can be written, kinds() says kSampling for
//     what the spawner finds in /proc instead (spawner_tree.h), and kNone for the cores.
//
// A v2 group in which processes live cannot hand controllers to its children. A host that is not in
// the root group therefore limits by v2 only where its parent was told to delegate one level higher
// (--cgroup-root).
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

// 0 is no limit.
struct GroupLimits {
  uint64_t ram_bytes = 0;
  uint32_t processes = 0;  // threads counted
  uint32_t cpu_millis = 0;
};

// Of which controllers a group is made.
enum class GroupScope : uint8_t {
  kLimited,  // of those that are to limit something
  kAll,      // of all, so that Relimit() can set any limit later
};

enum class Controller : uint8_t { kMemory = 0, kPids = 1, kCpu = 2 };
inline constexpr size_t kControllers = 3;

// The groups of one instance. Default-constructed: none.
class Cgroup {
 public:
  // Whether every process of the instance is in a group that tells so.
  bool tracks() const { return v2_directory_.get() >= 0 || V1Procs() != nullptr; }
  // For the child's birth: -1 where there is none.
  int v2_directory_fd() const { return v2_directory_.get(); }
  int v2_procs_fd() const { return v2_procs_.get(); }
  int v1_tasks_fd(Controller controller) const { return v1_[At(controller)].tasks.get(); }

  // SIGKILL to every process in it; those that fork meanwhile are caught by the next call.
  void Kill() const;
  // Whether the kernel killed a process of it for memory.
  bool OomKilled() const;
  // True when it is gone; false while processes are left in it.
  bool Remove();

 private:
  friend class CgroupRoot;
  struct V1Group {
    UniqueFd tasks;
    std::string path;
  };
  static size_t At(Controller controller) { return static_cast<size_t>(controller); }
  const std::string* V1Procs() const;

  UniqueFd v2_directory_;
  UniqueFd v2_procs_;
  std::string v2_path_;
  std::array<V1Group, kControllers> v1_;
  std::string oom_path_;  // the file that counts those, if memory is limited
};

class CgroupRoot {
 public:
  // Looks for what this process may use. `root`: the directory of a group, or empty for its own.
  void Open(const std::string& root);
  LimitKinds kinds() const;
  bool tracks() const { return !v2_root_.empty() || TrackingV1() < kControllers; }
  // 0, or an errno with nothing left behind.
  int Make(uint64_t id, const GroupLimits& limits, GroupScope scope, Cgroup* group) const;
  // Other limits for a group of kAll. Moving its processes elsewhere instead would wait for every
  // core. 0, or an errno with some of them set.
  int Relimit(const GroupLimits& limits, Cgroup* group) const;

 private:
  void UseV2(const std::string& directory);
  void UseV1(Controller controller, const std::string& directory);
  int MakeV2(const std::string& name, const GroupLimits& limits, Cgroup* group) const;
  int MakeV1(const std::string& name, Controller controller, const GroupLimits& limits,
             GroupScope scope, Cgroup* group) const;
  int LimitV2(const GroupLimits& limits, Cgroup* group) const;
  // The v1 hierarchy that tracks where v2 is not there; kControllers: none.
  size_t TrackingV1() const;
  LimitKind KindOf(Controller controller) const;

  std::string v2_root_;
  std::array<bool, kControllers> v2_limits_{};
  std::array<std::string, kControllers> v1_roots_;
};

// The directory of the group that this process is in, out of the texts of /proc/self/cgroup and
// /proc/self/mountinfo; empty if it is not mounted. `controller` empty: the unified hierarchy.
std::string OwnCgroupDirectory(std::string_view cgroups, std::string_view mounts,
                               std::string_view controller);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_CGROUP_H_
