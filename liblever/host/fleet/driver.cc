#include "liblever/host/fleet/driver.h"

#include <cstring>

namespace lever::fleet {

std::string_view LimitKindName(LimitKind kind) {
  switch (kind) {
    case LimitKind::kNone:
      return "none";
    case LimitKind::kCgroupV2:
      return "cgroup v2";
    case LimitKind::kCgroupV1:
      return "cgroup v1";
    case LimitKind::kSampling:
      return "sampling";
  }
  return "unknown";
}

std::string Describe(const LimitKinds& kinds) {
  auto by = [](const char* what, LimitKind kind) {
    if (kind == LimitKind::kNone) return std::string(what) + " not limited";
    return std::string(what) + " by " + std::string(LimitKindName(kind));
  };
  return by("RAM limit", kinds.ram) + ", " + by("processes", kinds.processes) + ", " +
         by("CPU", kinds.cpu);
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
  if (process_limit) text += ": over its limit of processes";
  return text;
}

}  // namespace lever::fleet
