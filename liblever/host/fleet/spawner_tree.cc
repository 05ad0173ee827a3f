#include "liblever/host/fleet/spawner_tree.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/proc_file.h"
#include "liblever/host/fleet/spawner_protocol.h"

namespace lever::fleet {
namespace {

// An environment is 64 KiB at most when an instance starts; what it gives to others may be larger.
constexpr size_t kEnvironmentBytesMax = 256 * 1024;
constexpr size_t kStatBytesMax = 4096;
// Fields 20 and 22 of /proc/<pid>/stat, counted from field 3, the first one after the name.
constexpr int kThreadsAfterName = 20 - 3;
constexpr int kStartTimeAfterName = 22 - 3;

// The owner of a process that is no descendant of the spawner.
constexpr uint64_t kForeign = UINT64_MAX;

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string ProcPath(pid_t pid, std::string_view file) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(file);
}

// Walks up from each process once, remembering what it found on the way.
class Attribution {
 public:
  Attribution(const std::vector<ProcessEntry>& table, const Owners& owners) : owners_(owners) {
    for (const ProcessEntry& entry : table) parents_.emplace(entry.pid, entry.parent);
  }

  uint64_t OwnerOf(pid_t pid) {
    std::vector<pid_t> path;
    uint64_t owner = kForeign;
    // A table that was read while processes came and went may hold a circle of old and new pids.
    while (path.size() <= parents_.size()) {
      if (pid == owners_.spawner) {
        owner = kNobody;
        break;
      }
      if (auto known = known_.find(pid); known != known_.end()) {
        owner = known->second;
        break;
      }
      path.push_back(pid);
      auto parent = parents_.find(pid);
      if (parent == parents_.end() || parent->second <= 0) break;
      pid = parent->second;
    }
    for (auto it = path.rbegin(); it != path.rend(); ++it) owner = Step(*it, owner);
    return owner;
  }

 private:
  uint64_t Step(pid_t pid, uint64_t parents_owner) {
    uint64_t owner = parents_owner;
    if (owner == kNobody) {
      if (auto main = owners_.mains.find(pid); main != owners_.mains.end()) {
        owner = main->second;
      } else if (auto marked = owners_.markers.find(owners_.read_marker(pid));
                 marked != owners_.markers.end()) {
        owner = marked->second;
      }
    }
    known_[pid] = owner;
    return owner;
  }

  const Owners& owners_;
  std::unordered_map<pid_t, pid_t> parents_;
  std::unordered_map<pid_t, uint64_t> known_;
};

uint64_t ResidentBytes(pid_t pid) {
  // "size resident shared ..." in pages
  std::string text = ReadProcFile(ProcPath(pid, "statm"), kStatBytesMax);
  size_t begin = text.find(' ');
  size_t end = text.find(' ', begin + 1);
  uint64_t pages = 0;
  if (begin == std::string::npos || end == std::string::npos) return 0;
  ParseNumber(std::string_view(text).substr(begin + 1, end - begin - 1), &pages);
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t ProportionalBytes(pid_t pid) {
  std::string text = ReadProcFile(ProcPath(pid, "smaps_rollup"), kStatBytesMax);
  size_t begin = text.find("\nPss:");
  if (begin == std::string::npos) return ResidentBytes(pid);
  begin = text.find_first_of("0123456789", begin);
  if (begin == std::string::npos) return 0;
  uint64_t kib = 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), kib);
  return kib * 1024;
}

}  // namespace

bool ParseProcessStat(std::string_view text, ProcessEntry* entry) {
  size_t name_end = text.rfind(')');
  size_t pid_end = text.find(' ');
  if (name_end == std::string_view::npos || pid_end == std::string_view::npos) return false;
  if (!ParseNumber(text.substr(0, pid_end), &entry->pid)) return false;
  std::string_view rest = text.substr(name_end + 1);
  for (int field = 0; field <= kStartTimeAfterName; ++field) {
    if (rest.empty() || rest.front() != ' ') return false;
    rest.remove_prefix(1);
    size_t end = rest.find(' ');
    std::string_view value = rest.substr(0, end);
    if (field == 1 && !ParseNumber(value, &entry->parent)) return false;
    if (field == kThreadsAfterName && !ParseNumber(value, &entry->threads)) return false;
    if (field == kStartTimeAfterName && !ParseNumber(value, &entry->start_ticks)) return false;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  }
  return true;
}

std::vector<ProcessEntry> ReadProcessTable() {
  std::vector<ProcessEntry> table;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return table;
  while (dirent* file = readdir(directory)) {
    pid_t pid = 0;
    if (!ParseNumber(std::string_view(file->d_name), &pid)) continue;
    ProcessEntry entry;
    if (ParseProcessStat(ReadProcFile(ProcPath(pid, "stat"), kStatBytesMax), &entry)) {
      table.push_back(entry);
    }
  }
  closedir(directory);
  return table;
}

std::string FindMarker(std::string_view environment) {
  while (!environment.empty()) {
    size_t end = environment.find('\0');
    std::string_view variable = environment.substr(0, end);
    if (variable.size() > kInstanceMarker.size() && variable[kInstanceMarker.size()] == '=' &&
        variable.substr(0, kInstanceMarker.size()) == kInstanceMarker) {
      return std::string(variable.substr(kInstanceMarker.size() + 1));
    }
    if (end == std::string_view::npos) break;
    environment.remove_prefix(end + 1);
  }
  return {};
}

std::string ReadMarker(pid_t pid) {
  return FindMarker(ReadProcFile(ProcPath(pid, "environ"), kEnvironmentBytesMax));
}

std::vector<OwnedProcess> AttributeProcesses(const std::vector<ProcessEntry>& table,
                                             const Owners& owners) {
  Attribution attribution(table, owners);
  std::vector<OwnedProcess> owned;
  for (const ProcessEntry& entry : table) {
    if (entry.pid == owners.spawner) continue;
    uint64_t owner = attribution.OwnerOf(entry.pid);
    if (owner != kForeign) owned.push_back({entry, owner});
  }
  return owned;
}

void KillProcess(const ProcessEntry& process) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  // Where the kernel has no pidfds, the process may change between the look and the signal.
  if (!pidfd.valid() && errno == ESRCH) return;
  ProcessEntry now;
  std::string stat = ReadProcFile(ProcPath(process.pid, "stat"), kStatBytesMax);
  if (!ParseProcessStat(stat, &now) || now.start_ticks != process.start_ticks) return;
  if (pidfd.valid()) {
    syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  } else {
    kill(process.pid, SIGKILL);
  }
}

uint64_t MemoryOfProcesses(const std::vector<pid_t>& pids, uint64_t limit_bytes) {
  uint64_t resident = 0;
  for (pid_t pid : pids) resident += ResidentBytes(pid);
  if (resident <= limit_bytes) return resident;
  uint64_t proportional = 0;
  for (pid_t pid : pids) proportional += ProportionalBytes(pid);
  return proportional;
}

}  // namespace lever::fleet
