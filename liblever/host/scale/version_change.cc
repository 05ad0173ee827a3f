// One version takes over from another. Part of ServiceController, on the control loop.
#include <algorithm>
#include <utility>
#include <vector>

#include "liblever/base/log.h"
#include "liblever/host/scale/service_controller.h"

namespace lever::scale {

void ServiceController::Deploy(ServiceSpec spec, std::function<void(Status)> done) {
  if (next_) {
    done(Aborted("another deploy of " + name().ToString() + " is in progress"));
    return;
  }
  if (const Status agreed = CheckAttached(spec); !agreed.ok()) {
    done(agreed);
    return;
  }
  EndWatch();
  if (!IsCanary(spec.version)) {
    EndCanary(Aborted("version " + std::to_string(spec.version) + " takes its place"));
  } else if (canary_->done) {
    std::exchange(canary_->done, nullptr)(Aborted("it was promoted"));
  }
  scale_.backoff.Reset();
  last_error_ = Status::Ok();
  if (shards_ != nullptr) shards_->set_discards(false);
  if (HasInstance() || spec.instances_min > 0 || spec.start_first) {
    next_ = std::move(spec);
    next_done_ = std::move(done);
    Evaluate();
    return;
  }
  Replace(std::move(spec));
  Publish();
  done(Status::Ok());
  Evaluate();
}

// As many as the load needs of the version that serves. One where that has none: then each moment
// without the new version is one without the service. What a canary has rounds its part of the load
// up, and so does the other one.
uint32_t ServiceController::NextNeeded() const {
  const bool served = std::any_of(instances_.begin(), instances_.end(), [this](const Instance* i) {
    return i->phase == InstancePhase::kReady && !i->attached && current_ &&
           i->version == current_->version && i->version != next_->version;
  });
  if (!served || taking_back_) return 1;
  uint32_t wanted = std::max(scale_.wanted, next_->instances_min);
  if (Promoting()) wanted += std::max(1u, canary_->scale.wanted) - 1;
  return std::clamp(wanted, 1u, std::max(1u, next_->instances_max));
}

void ServiceController::AdvanceNext() {
  uint32_t starting = 0;
  uint32_t ready = 0;
  for (const Instance* instance : instances_) {
    if (instance->attached || instance->version != next_->version) continue;
    if (instance->phase == InstancePhase::kStarting) ++starting;
    if (instance->phase == InstancePhase::kReady) ++ready;
    // Of the version that serves, which is deployed anew.
    if (instance->phase == InstancePhase::kStandby) ++ready;
  }
  const uint32_t needed = NextNeeded();
  if (ready >= needed) {
    SwitchToNext();
    return;
  }
  const uint32_t at_a_time = std::max(policy::kStartsAtATime, ready);
  for (; ready + starting < needed && starting < at_a_time; ++starting) {
    const auto begun =
        shell_->Launch(this, *next_, taking_back_ ? StartFor::kTakeBack : StartFor::kNow);
    if (!begun.ok()) return AdvanceWithout(begun.status(), ready, starting);
    instances_.push_back(*begun);
  }
}

// Beside the version that serves there is no memory for as many as are needed: those that are ready
// take over, and the others are started when that one has stopped.
void ServiceController::AdvanceWithout(const Status& lacks, uint32_t ready, uint32_t starting) {
  if (starting > 0 || lacks.code() == LEVER_UNAVAILABLE) return;
  if (ready == 0) return FailNext(lacks);
  Log(LogLevel::kInfo, name().ToString() + ": version " + std::to_string(next_->version) +
                           " takes over with fewer instances than are needed: " + lacks.message());
  SwitchToNext();
}

void ServiceController::Replace(ServiceSpec spec) {
  if (current_ && current_->version != spec.version) {
    before_ = std::move(current_);
    outcomes_before_ = std::exchange(outcomes_, {});
  }
  if (IsCanary(spec.version)) {
    outcomes_ = canary_->outcomes;
    canary_.reset();
  }
  current_ = std::move(spec);
}

void ServiceController::SwitchToNext() {
  Replace(*std::exchange(next_, std::nullopt));
  held_calls_.clear();
  Publish();
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (instance->attached || instance->version == current_->version) continue;
    if (IsCanary(*instance)) continue;
    if (instance->phase == InstancePhase::kStarting) {
      shell_->Kill(instance, Aborted("version " + std::to_string(current_->version) +
                                     " took its place"));
    } else if (instance->phase < InstancePhase::kDraining) {
      shell_->Drain(instance, "version " + std::to_string(current_->version) + " takes its place");
    }
  }
  if (next_done_) std::exchange(next_done_, nullptr)(Status::Ok());
}

void ServiceController::FailNext(const Status& status) {
  const uint64_t version = next_->version;
  next_.reset();
  // A canary that is not promoted goes on as one, with what it has ready.
  const InstancePhase kept_from =
      IsCanary(version) ? InstancePhase::kReady : InstancePhase::kDraining;
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (!instance->attached && instance->version == version && instance->phase < kept_from) {
      shell_->Kill(instance, status);
    }
  }
  if (next_done_) std::exchange(next_done_, nullptr)(status);
}

}  // namespace lever::scale
