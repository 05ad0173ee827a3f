// Which versions of a service are kept, so that one can go back to them.
//
// Pure.
#ifndef LIBLEVER_POLICY_VERSIONS_KEPT_H_
#define LIBLEVER_POLICY_VERSIONS_KEPT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lever::policy {

// Beside the one that serves.
inline constexpr size_t kOldVersionsMax = 10;
// Of all bundles that are kept for old versions of a service, the serving one's not counted: four
// of the largest that a deploy takes (250 MiB packed).
inline constexpr uint64_t kOldBundleBytesMax = 1000ull * 1024 * 1024;

struct VersionSize {
  uint64_t number = 0;
  std::string bundle;  // versions of the same one share it
  uint64_t bytes = 0;
};

// The numbers that go: all but `current` and the newest others within both bounds, in whatever
// order.
std::vector<uint64_t> VersionsToDrop(std::vector<VersionSize> versions, uint64_t current);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_VERSIONS_KEPT_H_
