// Which processes belong to which instance, told from /proc: inside lever-spawner, for machines
// without cgroups, and for the end of everything.
//
// Functions on values; single-threaded, as the spawner is.
//
// What is sure: every process that an instance's program starts stays a descendant of the spawner,
// which is its subreaper, whatever it forks, whatever sessions it makes. So all of them are found.
// What is best effort: to which instance one belongs once its parents are gone. Then the variable
// LEVER_INSTANCE_ID in its environment tells; a process that has dropped it belongs to nobody, and
// ends with the spawner only.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_TREE_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_TREE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lever::fleet {

struct ProcessEntry {
  pid_t pid = 0;
  pid_t parent = 0;
  uint64_t start_ticks = 0;  // with the pid, names a process for good
  uint64_t threads = 0;
};

// All processes that /proc shows.
std::vector<ProcessEntry> ReadProcessTable();
// The text of /proc/<pid>/stat; false if it makes no sense. A name may hold spaces and brackets.
bool ParseProcessStat(std::string_view text, ProcessEntry* entry);

// The value of the marker in the process's environment, or empty.
std::string ReadMarker(pid_t pid);
// `environment` as the kernel gives it: NAME=value, NUL, NAME=value, NUL.
std::string FindMarker(std::string_view environment);

inline constexpr uint64_t kNobody = 0;

struct OwnedProcess {
  ProcessEntry process;
  uint64_t owner = kNobody;
};

struct Owners {
  pid_t spawner = 0;
  std::unordered_map<pid_t, uint64_t> mains;          // an instance's first process
  std::unordered_map<std::string, uint64_t> markers;  // of all instances of which something is left
  std::function<std::string(pid_t)> read_marker = ReadMarker;
};

// Every descendant of the spawner with the instance it belongs to: that of its nearest ancestor, or
// of itself, which is an instance's first process or bears its marker.
std::vector<OwnedProcess> AttributeProcesses(const std::vector<ProcessEntry>& table,
                                             const Owners& owners);

// SIGKILL, unless the pid has become another process since the table was read.
void KillProcess(const ProcessEntry& process);

// Memory of the processes together, in bytes: shared pages count in parts (PSS) if that could
// decide about `limit_bytes`, else whole, which is cheaper to read and never too little.
uint64_t MemoryOfProcesses(const std::vector<pid_t>& pids, uint64_t limit_bytes);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_TREE_H_
