// A version that gets a share beside the one that serves. Part of ServiceController, on the control
// loop.
#include <algorithm>
#include <utility>
#include <vector>

#include "liblever/host/scale/service_controller.h"

namespace lever::scale {

bool ServiceController::IsCanary(const Instance& instance) const {
  return !instance.attached && IsCanary(instance.version);
}

ServiceController::VersionScale& ServiceController::ScaleOf(uint64_t version) {
  return IsCanary(version) ? canary_->scale : scale_;
}

void ServiceController::SetCanary(ServiceSpec spec, CanaryTerms terms, CanaryStart start,
                                  std::function<void(Status)> done) {
  if (!current_) {
    done(FailedPrecondition("nothing of " + name().ToString() + " is deployed"));
    return;
  }
  // A host that starts has the version that serves started anew.
  if ((next_ && next_->version != current_->version) || shutting_down_) {
    done(Aborted("another deploy of " + name().ToString() + " is in progress"));
    return;
  }
  EndWatch();
  if (IsCanary(spec.version)) {
    canary_->terms = terms;
    Publish();
    done(Status::Ok());
    return;
  }
  EndCanary(Aborted("version " + std::to_string(spec.version) + " is the canary now"));
  if (shards_ != nullptr) shards_->set_discards(false);
  canary_.emplace();
  canary_->spec = std::move(spec);
  canary_->terms = terms;
  if (start == CanaryStart::kAtOnce) {
    done(Status::Ok());
  } else {
    canary_->done = std::move(done);
  }
  Evaluate();
}

void ServiceController::EndCanary(const Status& why) {
  if (!canary_) return;
  if (Promoting()) FailNext(why);
  if (watched_ && watched_->canary) EndWatch();
  const uint64_t version = canary_->spec.version;
  const std::function<void(Status)> done = std::move(canary_->done);
  canary_.reset();
  Publish();
  DrainVersion(version, why.message());
  if (done) done(why);
  Evaluate();
}

void ServiceController::DrainVersion(uint64_t version, const std::string& reason) {
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (instance->attached || instance->version != version) continue;
    if (instance->phase == InstancePhase::kStarting) {
      shell_->Kill(instance, Aborted(reason));
    } else if (instance->phase < InstancePhase::kDraining) {
      shell_->Drain(instance, reason);
    }
  }
}

// Nobody waits for its instances: its calls go to the version that serves until there is one again.
void ServiceController::OnCanaryGone(const Instance& instance, InstancePhase phase,
                                     int64_t uptime_ns, const Status& why) {
  last_error_ = why;
  if (Promoting()) FailNext(why);
  if (phase == InstancePhase::kStarting && canary_->done) {
    EndCanary(why);
    return;
  }
  Crashed(instance, uptime_ns, &canary_->scale);
  Publish();
}

}  // namespace lever::scale
