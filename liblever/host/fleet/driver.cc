#include "liblever/host/fleet/driver.h"

#include <cstring>

namespace lever::fleet {

std::string_view RamLimitKindName(RamLimitKind kind) {
  switch (kind) {
    case RamLimitKind::kNone:
      return "none";
    case RamLimitKind::kCgroupV2:
      return "cgroup v2";
    case RamLimitKind::kCgroupV1:
      return "cgroup v1";
    case RamLimitKind::kSampling:
      return "sampling";
  }
  return "unknown";
}

std::string Exited::ToString() const {
  if (unknown) return "has ended, and nobody saw how";
  std::string text;
  if (signal == 0) {
    text = "exited with code " + std::to_string(code);
  } else {
    text = "was killed by signal " + std::to_string(signal);
    const char* name = sigabbrev_np(signal);
    if (name != nullptr) text += std::string(" (SIG") + name + ")";
  }
  if (ram_limit) text += ": over its RAM limit";
  return text;
}

}  // namespace lever::fleet
