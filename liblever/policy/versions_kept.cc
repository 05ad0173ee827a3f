#include "liblever/policy/versions_kept.h"

#include <algorithm>
#include <set>

namespace lever::policy {

std::vector<uint64_t> VersionsToDrop(std::vector<VersionSize> versions, uint64_t current) {
  std::sort(versions.begin(), versions.end(),
            [](const VersionSize& a, const VersionSize& b) { return a.number > b.number; });
  std::set<std::string> counted;
  for (const VersionSize& version : versions) {
    if (version.number == current) counted.insert(version.bundle);
  }
  std::vector<uint64_t> dropped;
  size_t kept = 0;
  uint64_t bytes = 0;
  for (const VersionSize& version : versions) {
    if (version.number == current) continue;
    const bool more = dropped.empty() && kept < kOldVersionsMax;
    const uint64_t added = counted.contains(version.bundle) ? 0 : version.bytes;
    // Once one has gone, so do all older ones: what is kept has no holes.
    if (more && added <= kOldBundleBytesMax - bytes) {
      counted.insert(version.bundle);
      bytes += added;
      ++kept;
    } else {
      dropped.push_back(version.number);
    }
  }
  return dropped;
}

}  // namespace lever::policy
