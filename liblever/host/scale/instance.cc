#include "liblever/host/scale/instance.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace lever::scale {

std::string_view InstancePhaseName(InstancePhase phase) {
  switch (phase) {
    case InstancePhase::kStarting: return "starting";
    case InstancePhase::kStandby: return "standby";
    case InstancePhase::kReady: return "ready";
    case InstancePhase::kStalled: return "stalled";
    case InstancePhase::kDraining: return "draining";
    case InstancePhase::kStopped: return "stopped";
  }
  return "unknown";
}

Instance::Instance(uint64_t key, std::string id, ServiceController* controller, int64_t now_ns)
    : key(key), id(std::move(id)), controller(controller), created_ns(now_ns) {}

void Instance::SetDeadline(Loop* loop, int64_t at_ns, std::function<void()> action) {
  deadline_.action = std::move(action);
  deadline_.loop = loop;
  loop->Arm(&deadline_, at_ns);
}

void Instance::ClearDeadline() {
  if (deadline_.armed()) deadline_.loop->Disarm(&deadline_);
}

uint32_t Instance::InFlight() const {
  const uint32_t reported = load->calls.load(std::memory_order_relaxed) +
                            load->streams.load(std::memory_order_relaxed);
  return std::max(reported, load->relayed.load(std::memory_order_relaxed));
}

void Instance::CheckPhase() const {
  switch (phase) {
    case InstancePhase::kStarting: assert(attached || deadline_.armed()); break;
    case InstancePhase::kStandby:
    case InstancePhase::kReady:
    case InstancePhase::kStalled: assert(peer != nullptr || !address.empty()); break;
    case InstancePhase::kDraining: assert(attached || deadline_.armed()); break;
    case InstancePhase::kStopped: assert(peer == nullptr && !deadline_.armed()); break;
  }
}

}  // namespace lever::scale
