#include "liblever/host/fleet/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

#include "liblever/host/fleet/proc_file.h"
#include "liblever/host/fleet/spawner_cgroup.h"

namespace lever::fleet {
namespace {

constexpr uint64_t kKibibyte = 1024;
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// The number that follows `key` in a text of lines, or at its beginning; kNoLimit: none does ("max").
uint64_t NumberAfter(std::string_view text, std::string_view key) {
  size_t at = text.find(key);
  if (at == std::string_view::npos) return kNoLimit;
  at = text.find_first_not_of(" \t", at + key.size());
  uint64_t number = kNoLimit;
  if (at != std::string_view::npos) {
    std::from_chars(text.data() + at, text.data() + text.size(), number);
  }
  return number;
}

// In v2 each group has its own limit, and those above it hold too.
uint64_t LimitOfV2(std::string directory) {
  uint64_t least = kNoLimit;
  while (directory.size() > 1) {
    least = std::min(least, NumberAfter(ReadProcFile(directory + "/memory.max"), ""));
    directory.resize(directory.rfind('/'));
  }
  return least;
}

}  // namespace

uint64_t MemoryTotalBytes(std::string_view meminfo) {
  const uint64_t kibibytes = NumberAfter(meminfo, "MemTotal:");
  return kibibytes == kNoLimit ? 0 : kibibytes * kKibibyte;
}

uint64_t MachineMemoryBytes() {
  const uint64_t total = MemoryTotalBytes(ReadProcFile("/proc/meminfo"));
  if (total == 0) return 0;
  const std::string groups = ReadProcFile("/proc/self/cgroup");
  const std::string mounts = ReadProcFile("/proc/self/mountinfo");
  const std::string v1 = OwnCgroupDirectory(groups, mounts, "memory");
  const uint64_t v1_limit =
      v1.empty() ? kNoLimit
                 : NumberAfter(ReadProcFile(v1 + "/memory.stat"), "hierarchical_memory_limit");
  return std::min({total, LimitOfV2(OwnCgroupDirectory(groups, mounts, "")), v1_limit});
}

}  // namespace lever::fleet
