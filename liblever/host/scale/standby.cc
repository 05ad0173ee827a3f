// Instances that are started and get no calls yet. Part of ServiceController, on the control loop.
//
// Only the version that serves has them: each instance of it that becomes ready is one, and is promoted
// at once if the load wants it. One that is silent is not promoted, and not counted: the next decision
// starts another.
#include <ranges>
#include <vector>

#include "liblever/host/scale/service_controller.h"

namespace lever::scale {

bool ServiceController::BecomesStandby(const Instance& instance) const {
  return !instance.attached && current_ && current_->standby > 0 &&
         instance.version == current_->version;
}

bool ServiceController::StandsBy(const Instance& instance, uint64_t version) {
  return instance.phase == InstancePhase::kStandby && instance.version == version &&
         !instance.silence.stalled();
}

// The oldest first: they are the warmest.
void ServiceController::Promote(VersionScale* scale, uint64_t version, uint32_t count) {
  for (Instance* instance : instances_) {
    if (count == 0) break;
    if (!StandsBy(*instance, version)) continue;
    instance->phase = InstancePhase::kReady;
    instance->CheckPhase();
    --count;
  }
  scale->last_ready_ns = shell_->loop().now_ns();
  held_calls_.clear();
  Publish();
}

void ServiceController::StopStandbys(uint64_t version, uint32_t count) {
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances | std::views::reverse) {
    if (count == 0) break;
    if (!StandsBy(*instance, version)) continue;
    shell_->Drain(instance, "there are more standbys than are to be kept");
    --count;
  }
}

}  // namespace lever::scale
