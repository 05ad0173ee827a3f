#include "liblever/host/fleet/spawner_cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "liblever/host/fleet/proc_file.h"

namespace lever::fleet {
namespace {

constexpr std::string_view kGroupPrefix = "lever-";

int WriteFile(const std::string& path, std::string_view text) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return errno;
  ssize_t written = write(fd.get(), text.data(), text.size());
  return written == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool Contains(std::string_view list, char separator, std::string_view item) {
  for (std::string_view part : Split(list, separator)) {
    if (part == item) return true;
  }
  return false;
}

// The group's path inside its hierarchy: a line is "4:memory:/path", v2's is "0::/path".
std::string_view PathInHierarchy(std::string_view cgroups, std::string_view controller) {
  for (std::string_view line : Split(cgroups, '\n')) {
    size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    bool found = controller.empty() ? controllers.empty() : Contains(controllers, ',', controller);
    if (found) return line.substr(second + 1);
  }
  return {};
}

// Counts "oom_kill N" lines, as memory.events and memory.oom_control have them.
bool HasOomKill(const std::string& path) {
  std::string text = ReadProcFile(path);
  for (std::string_view line : Split(text, '\n')) {
    if (line.substr(0, 9) == "oom_kill ") return line.substr(9) != "0";
  }
  return false;
}

void KillListed(const std::string& procs_path) {
  std::string text = ReadProcFile(procs_path);
  for (std::string_view line : Split(text, '\n')) {
    pid_t pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 1) kill(pid, SIGKILL);
  }
}

// Removes the groups of spawners that are gone, and kills what these left in them: a spawner that
// was killed itself could not. (Only processes that this pid namespace knows are killed, and are
// gone the next time.)
void RemoveLeftOvers(const std::string& root) {
  DIR* directory = opendir(root.c_str());
  if (directory == nullptr) return;
  while (dirent* entry = readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name.substr(0, kGroupPrefix.size()) != kGroupPrefix) continue;
    std::string_view number = name.substr(kGroupPrefix.size());
    pid_t pid = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), pid);
    if (error != std::errc() || *end != '-' || pid <= 1) continue;
    // Called before this process makes any: those of its own number are older.
    bool gone = pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH);
    if (!gone) continue;
    std::string path = root + "/" + entry->d_name;
    if (rmdir(path.c_str()) != 0) KillListed(path + "/cgroup.procs");
  }
  closedir(directory);
}

std::string GroupName(uint64_t id) {
  return std::string(kGroupPrefix) + std::to_string(getpid()) + "-" + std::to_string(id);
}

// Whether groups can be made below `root`: tried, because permissions, read-only mounts and full
// hierarchies all say no in their own ways.
bool CanMakeGroups(const std::string& root) {
  std::string probe = root + "/" + GroupName(0);
  if (mkdir(probe.c_str(), 0755) != 0 && errno != EEXIST) return false;
  bool writable = access((probe + "/cgroup.procs").c_str(), W_OK) == 0;
  rmdir(probe.c_str());
  return writable;
}

}  // namespace

std::string OwnCgroupDirectory(std::string_view cgroups, std::string_view mounts,
                               std::string_view controller) {
  std::string_view path = PathInHierarchy(cgroups, controller);
  // "/.." is a group outside this cgroup namespace.
  if (path.empty() || path.substr(0, 3) == "/..") return {};
  for (std::string_view line : Split(mounts, '\n')) {
    // id parent major:minor root mount-point options [fields...] - type source super-options
    size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    std::vector<std::string_view> head = Split(line.substr(0, dash), ' ');
    std::vector<std::string_view> tail = Split(line.substr(dash + 3), ' ');
    if (head.size() < 5 || tail.size() < 3) continue;
    bool fits = controller.empty() ? tail[0] == "cgroup2"
                                   : tail[0] == "cgroup" && Contains(tail[2], ',', controller);
    if (!fits) continue;
    std::string_view root = head[3];
    if (root == "/") root = "";
    if (path.substr(0, root.size()) != root) continue;
    std::string_view below = path.substr(root.size());
    if (below == "/") below = "";
    return std::string(head[4]) + std::string(below);
  }
  return {};
}

void CgroupRoot::Open(const std::string& root) {
  if (!root.empty()) {
    struct statfs info {};
    if (statfs(root.c_str(), &info) != 0) return;
    if (info.f_type == CGROUP2_SUPER_MAGIC) UseV2(root);
    if (info.f_type == CGROUP_SUPER_MAGIC) UseV1(root);
    return;
  }
  std::string cgroups = ReadProcFile("/proc/self/cgroup");
  std::string mounts = ReadProcFile("/proc/self/mountinfo");
  UseV2(OwnCgroupDirectory(cgroups, mounts, ""));
  if (!v2_memory_) UseV1(OwnCgroupDirectory(cgroups, mounts, "memory"));
}

void CgroupRoot::UseV2(const std::string& directory) {
  if (directory.empty()) return;
  RemoveLeftOvers(directory);
  if (!CanMakeGroups(directory)) return;
  v2_root_ = directory;
  std::string controllers = ReadProcFile(directory + "/cgroup.controllers");
  while (!controllers.empty() && controllers.back() == '\n') controllers.pop_back();
  if (!Contains(controllers, ' ', "memory")) return;
  v2_memory_ = WriteFile(directory + "/cgroup.subtree_control", "+memory") == 0;
}

void CgroupRoot::UseV1(const std::string& directory) {
  if (directory.empty() || access((directory + "/memory.limit_in_bytes").c_str(), F_OK) != 0)
    return;
  RemoveLeftOvers(directory);
  if (CanMakeGroups(directory)) v1_root_ = directory;
}

RamLimitKind CgroupRoot::ram_limit() const {
  if (v2_memory_) return RamLimitKind::kCgroupV2;
  return v1_root_.empty() ? RamLimitKind::kSampling : RamLimitKind::kCgroupV1;
}

int CgroupRoot::Make(uint64_t id, uint64_t ram_limit_bytes, Cgroup* group) const {
  std::string name = GroupName(id);
  int error = MakeV2(name, ram_limit_bytes, group);
  if (error == 0) error = MakeV1(name, ram_limit_bytes, group);
  if (error != 0) group->Remove();
  return error;
}

int CgroupRoot::MakeV2(const std::string& name, uint64_t ram_limit_bytes, Cgroup* group) const {
  if (v2_root_.empty()) return 0;
  std::string path = v2_root_ + "/" + name;
  if (mkdir(path.c_str(), 0755) != 0) return errno;
  group->v2_path_ = path;
  group->v2_directory_.reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (group->v2_directory_.get() < 0) return errno;
  group->v2_procs_.reset(open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (group->v2_procs_.get() < 0) return errno;
  if (!v2_memory_ || ram_limit_bytes == 0) return 0;
  group->limits_ = true;
  // Absent where the kernel was built without swap accounting: then there is nothing to limit.
  WriteFile(path + "/memory.swap.max", "0");
  WriteFile(path + "/memory.oom.group", "1");
  return WriteFile(path + "/memory.max", std::to_string(ram_limit_bytes));
}

int CgroupRoot::MakeV1(const std::string& name, uint64_t ram_limit_bytes, Cgroup* group) const {
  bool wanted = v2_root_.empty() || (ram_limit_bytes != 0 && !v2_memory_);
  if (v1_root_.empty() || !wanted) return 0;
  std::string path = v1_root_ + "/" + name;
  if (mkdir(path.c_str(), 0755) != 0) return errno;
  group->v1_path_ = path;
  // A process of one thread moves itself by `tasks` in 40 us; by cgroup.procs it would wait for every
  // core first, 8 to 16 ms, since a process of several threads may be what moves.
  group->v1_tasks_.reset(open((path + "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
  if (group->v1_tasks_.get() < 0) return errno;
  if (ram_limit_bytes == 0) return 0;
  group->limits_ = true;
  std::string limit = std::to_string(ram_limit_bytes);
  int error = WriteFile(path + "/memory.limit_in_bytes", limit);
  // With swap: absent where swap is not accounted, and never to be below the other.
  if (error == 0) WriteFile(path + "/memory.memsw.limit_in_bytes", limit);
  return error;
}

void Cgroup::Kill() const {
  if (!v2_path_.empty()) {
    // Since Linux 5.14; before, one by one.
    if (WriteFile(v2_path_ + "/cgroup.kill", "1") != 0) KillListed(v2_path_ + "/cgroup.procs");
  } else if (!v1_path_.empty()) {
    KillListed(v1_path_ + "/cgroup.procs");
  }
}

bool Cgroup::OomKilled() const {
  if (!limits_) return false;
  if (!v1_path_.empty()) return HasOomKill(v1_path_ + "/memory.oom_control");
  return HasOomKill(v2_path_ + "/memory.events");
}

bool Cgroup::Remove() {
  auto remove = [](std::string* path) {
    if (!path->empty() && (rmdir(path->c_str()) == 0 || errno == ENOENT)) path->clear();
    return path->empty();
  };
  v2_directory_.reset();
  v2_procs_.reset();
  v1_tasks_.reset();
  bool v2_gone = remove(&v2_path_);
  bool v1_gone = remove(&v1_path_);
  return v2_gone && v1_gone;
}

}  // namespace lever::fleet
