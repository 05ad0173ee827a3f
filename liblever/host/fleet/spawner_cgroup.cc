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

// The kernel's own default: a group with half a core runs for 50 ms out of every 100.
constexpr uint64_t kCpuPeriodUs = 100'000;
constexpr uint64_t kMillisPerCore = 1000;

struct ControllerFacts {
  const char* name;
  const char* v1_limit_file;  // in a group if the kernel can limit with the controller
};
constexpr std::array<ControllerFacts, kControllers> kFacts = {{
    {"memory", "memory.limit_in_bytes"},
    {"pids", "pids.max"},
    {"cpu", "cpu.cfs_quota_us"},
}};

uint64_t CpuQuotaUs(uint32_t cpu_millis) { return cpu_millis * kCpuPeriodUs / kMillisPerCore; }

uint64_t LimitOf(const GroupLimits& limits, Controller controller) {
  switch (controller) {
    case Controller::kMemory:
      return limits.ram_bytes;
    case Controller::kPids:
      return limits.processes;
    case Controller::kCpu:
      return limits.cpu_millis;
  }
  return 0;
}

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

// Limits a group of one of v1's hierarchies.
int LimitV1(const std::string& path, Controller controller, const GroupLimits& limits) {
  const uint64_t limit = LimitOf(limits, controller);
  if (limit == 0) return 0;
  const std::string number = std::to_string(limit);
  switch (controller) {
    case Controller::kPids:
      return WriteFile(path + "/pids.max", number);
    case Controller::kCpu: {
      const int error = WriteFile(path + "/cpu.cfs_period_us", std::to_string(kCpuPeriodUs));
      if (error != 0) return error;
      return WriteFile(path + "/cpu.cfs_quota_us", std::to_string(CpuQuotaUs(limits.cpu_millis)));
    }
    case Controller::kMemory:
      break;
  }
  // With swap, which is absent where swap is not accounted, and never to be below the other: where
  // the limit rises, that has to rise first.
  const std::string with_swap = path + "/memory.memsw.limit_in_bytes";
  int error = WriteFile(path + "/memory.limit_in_bytes", number);
  if (error == EINVAL && WriteFile(with_swap, number) == 0) {
    return WriteFile(path + "/memory.limit_in_bytes", number);
  }
  if (error == 0) WriteFile(with_swap, number);
  return error;
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
    if (info.f_type != CGROUP_SUPER_MAGIC) return;
    // One hierarchy of v1 may have several controllers.
    for (size_t i = 0; i < kControllers; ++i) UseV1(static_cast<Controller>(i), root);
    return;
  }
  const std::string cgroups = ReadProcFile("/proc/self/cgroup");
  const std::string mounts = ReadProcFile("/proc/self/mountinfo");
  UseV2(OwnCgroupDirectory(cgroups, mounts, ""));
  for (size_t i = 0; i < kControllers; ++i) {
    if (v2_limits_[i]) continue;
    UseV1(static_cast<Controller>(i), OwnCgroupDirectory(cgroups, mounts, kFacts[i].name));
  }
}

void CgroupRoot::UseV2(const std::string& directory) {
  if (directory.empty()) return;
  RemoveLeftOvers(directory);
  if (!CanMakeGroups(directory)) return;
  v2_root_ = directory;
  std::string controllers = ReadProcFile(directory + "/cgroup.controllers");
  while (!controllers.empty() && controllers.back() == '\n') controllers.pop_back();
  for (size_t i = 0; i < kControllers; ++i) {
    if (!Contains(controllers, ' ', kFacts[i].name)) continue;
    v2_limits_[i] =
        WriteFile(directory + "/cgroup.subtree_control", std::string("+") + kFacts[i].name) == 0;
  }
}

void CgroupRoot::UseV1(Controller controller, const std::string& directory) {
  if (directory.empty()) return;
  RemoveLeftOvers(directory);
  const std::string probe = directory + "/" + GroupName(0);
  if (!CanMakeGroups(directory) || mkdir(probe.c_str(), 0755) != 0) return;
  const auto at = static_cast<size_t>(controller);
  const bool limits = access((probe + "/" + kFacts[at].v1_limit_file).c_str(), W_OK) == 0;
  rmdir(probe.c_str());
  if (limits) v1_roots_[at] = directory;
}

LimitKind CgroupRoot::KindOf(Controller controller) const {
  const auto at = static_cast<size_t>(controller);
  if (v2_limits_[at]) return LimitKind::kCgroupV2;
  if (!v1_roots_[at].empty()) return LimitKind::kCgroupV1;
  return controller == Controller::kCpu ? LimitKind::kNone : LimitKind::kSampling;
}

LimitKinds CgroupRoot::kinds() const {
  return {KindOf(Controller::kMemory), KindOf(Controller::kPids), KindOf(Controller::kCpu)};
}

size_t CgroupRoot::TrackingV1() const {
  size_t at = 0;
  while (at < kControllers && v1_roots_[at].empty()) ++at;
  return at;
}

int CgroupRoot::Make(uint64_t id, const GroupLimits& limits, GroupScope scope,
                     Cgroup* group) const {
  const std::string name = GroupName(id);
  int error = MakeV2(name, limits, group);
  for (size_t i = 0; i < kControllers && error == 0; ++i) {
    error = MakeV1(name, static_cast<Controller>(i), limits, scope, group);
  }
  if (error != 0) group->Remove();
  return error;
}

int CgroupRoot::MakeV2(const std::string& name, const GroupLimits& limits, Cgroup* group) const {
  if (v2_root_.empty()) return 0;
  const std::string path = v2_root_ + "/" + name;
  if (mkdir(path.c_str(), 0755) != 0) return errno;
  group->v2_path_ = path;
  group->v2_directory_.reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (group->v2_directory_.get() < 0) return errno;
  group->v2_procs_.reset(open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (group->v2_procs_.get() < 0) return errno;
  return LimitV2(limits, group);
}

int CgroupRoot::LimitV2(const GroupLimits& limits, Cgroup* group) const {
  const std::string& path = group->v2_path_;
  auto limits_by = [&](Controller controller) {
    return v2_limits_[static_cast<size_t>(controller)] && LimitOf(limits, controller) != 0;
  };
  int error = 0;
  if (limits_by(Controller::kMemory)) {
    group->oom_path_ = path + "/memory.events";
    // Absent where the kernel was built without swap accounting: then there is nothing to limit.
    WriteFile(path + "/memory.swap.max", "0");
    WriteFile(path + "/memory.oom.group", "1");
    error = WriteFile(path + "/memory.max", std::to_string(limits.ram_bytes));
  }
  if (error == 0 && limits_by(Controller::kPids)) {
    error = WriteFile(path + "/pids.max", std::to_string(limits.processes));
  }
  if (error == 0 && limits_by(Controller::kCpu)) {
    error = WriteFile(path + "/cpu.max", std::to_string(CpuQuotaUs(limits.cpu_millis)) + " " +
                                             std::to_string(kCpuPeriodUs));
  }
  return error;
}

int CgroupRoot::MakeV1(const std::string& name, Controller controller, const GroupLimits& limits,
                       GroupScope scope, Cgroup* group) const {
  const auto at = static_cast<size_t>(controller);
  const bool tracks = v2_root_.empty() && TrackingV1() == at;
  const bool wanted = tracks || scope == GroupScope::kAll || LimitOf(limits, controller) != 0;
  if (v1_roots_[at].empty() || !wanted) return 0;
  // One hierarchy may have several controllers: then the group is there already.
  const std::string path = v1_roots_[at] + "/" + name;
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return errno;
  group->v1_[at].path = path;
  // A process of one thread moves itself by `tasks` in 40 us; by cgroup.procs it would wait for every
  // core first, 8 to 16 ms, since a process of several threads may be what moves.
  group->v1_[at].tasks.reset(open((path + "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
  if (group->v1_[at].tasks.get() < 0) return errno;
  if (controller == Controller::kMemory && LimitOf(limits, controller) != 0) {
    group->oom_path_ = path + "/memory.oom_control";
  }
  return LimitV1(path, controller, limits);
}

int CgroupRoot::Relimit(const GroupLimits& limits, Cgroup* group) const {
  int error = group->v2_path_.empty() ? 0 : LimitV2(limits, group);
  for (size_t i = 0; i < kControllers && error == 0; ++i) {
    const std::string& path = group->v1_[i].path;
    if (!path.empty()) error = LimitV1(path, static_cast<Controller>(i), limits);
  }
  return error;
}

const std::string* Cgroup::V1Procs() const {
  for (const V1Group& group : v1_) {
    if (!group.path.empty()) return &group.path;
  }
  return nullptr;
}

void Cgroup::Kill() const {
  if (!v2_path_.empty()) {
    // Since Linux 5.14; before, one by one.
    if (WriteFile(v2_path_ + "/cgroup.kill", "1") != 0) KillListed(v2_path_ + "/cgroup.procs");
  } else if (const std::string* path = V1Procs(); path != nullptr) {
    KillListed(*path + "/cgroup.procs");
  }
}

bool Cgroup::OomKilled() const { return !oom_path_.empty() && HasOomKill(oom_path_); }

bool Cgroup::Remove() {
  auto remove = [](std::string* path) {
    if (!path->empty() && (rmdir(path->c_str()) == 0 || errno == ENOENT)) path->clear();
    return path->empty();
  };
  v2_directory_.reset();
  v2_procs_.reset();
  bool gone = remove(&v2_path_);
  for (V1Group& group : v1_) {
    group.tasks.reset();
    gone &= remove(&group.path);
  }
  return gone;
}

}  // namespace lever::fleet
