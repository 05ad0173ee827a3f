// Taking a version back that turns out to be bad. Part of ServiceController, on the control loop.
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/scale/service_controller.h"

namespace lever::scale {

void ServiceController::Watch(int64_t watch_ns, std::function<void(WatchResult)> done) {
  if (!current_ || (!before_ && !canary_) || next_ || shutting_down_) {
    done({});
    return;
  }
  EndWatch();
  watched_ = Watched{.version = canary_ ? canary_->spec.version : current_->version,
                     .canary = canary_.has_value(),
                     .before = canary_ ? ServiceSpec() : *before_,
                     .outcomes_before = outcomes_before_,
                     .seen = {},
                     .ends_ns = DeadlineAfter(shell_->loop().now_ns(), watch_ns),
                     .crash = {},
                     .done = std::move(done)};
  shell_->loop().Arm(&watch_end_, watched_->ends_ns);
}

bool ServiceController::EndWatch() {
  if (!watched_) return !taking_back_;
  const std::function<void(WatchResult)> done = std::move(watched_->done);
  watched_.reset();
  shell_->loop().Disarm(&watch_end_);
  done({});
  return true;
}

void ServiceController::OnEnded(Instance* instance, uint64_t requests, uint64_t errors) {
  if (instance->attached || !current_) return;
  const bool canary = IsCanary(*instance);
  if (!canary && instance->version != current_->version) return;
  (canary ? canary_->outcomes : outcomes_).Add(shell_->loop().now_ns(), requests, errors);
  if (!watched_ || watched_->version != instance->version || requests == 0) return;
  watched_->seen.calls += requests;
  watched_->seen.errors += errors;
  if (JudgeWatched()) Evaluate();
}

bool ServiceController::JudgeWatched() {
  if (!watched_) return false;
  watched_->seen.instances = 0;
  for (const Instance* instance : instances_) {
    if (instance->attached || instance->version != watched_->version) continue;
    if (instance->phase < InstancePhase::kDraining) ++watched_->seen.instances;
  }
  // A canary is measured by the version beside it, in the same minutes.
  const policy::WatchDecision decision =
      policy::DecideWatch(watched_->seen, watched_->canary ? outcomes_ : watched_->outcomes_before,
                          watched_->ends_ns, shell_->loop().now_ns());
  switch (decision.verdict) {
    case policy::WatchVerdict::kGoOn:
      return false;
    case policy::WatchVerdict::kKeep:
      EndWatch();
      return false;
    case policy::WatchVerdict::kRollBack:
      TakeBack(decision.reason);
      return true;
  }
  return false;
}

// An instance of the version before is started first, as for any upgrade, if the bad one has any
// that serve: most of their calls may be fine. If it has none, calls wait for the version before.
void ServiceController::TakeBack(const std::string& reason) {
  Watched watched = std::move(*watched_);
  watched_.reset();
  shell_->loop().Disarm(&watch_end_);
  const Status why = WhyTakenBack(watched, reason);
  Log(LogLevel::kWarning, name().ToString() + ": version " + std::to_string(watched.version) +
                              " is taken back: " + reason);
  if (watched.canary) {
    EndCanary(why);
    watched.done({.taken_back = true, .why = why});
    return;
  }
  scale_.backoff.Reset();
  bool serves = false;
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (instance->attached || instance->version != current_->version) continue;
    if (instance->phase == InstancePhase::kReady) serves = true;
    if (instance->phase == InstancePhase::kStarting) shell_->Kill(instance, why);
  }
  if (!serves) {
    Replace(std::move(watched.before));
    Publish();
    // One that is silent would stay if it were heard again.
    for (Instance* instance : instances) {
      const bool stays = instance->phase == InstancePhase::kStandby ||
                         instance->phase == InstancePhase::kStalled;
      if (instance->attached || !stays) continue;
      shell_->Drain(instance, "version " + std::to_string(current_->version) + " takes its place");
    }
    watched.done({.taken_back = true, .why = why});
    return;
  }
  taking_back_ = true;
  const uint64_t version = watched.before.version;
  next_ = std::move(watched.before);
  next_done_ = [this, why, version, done = std::move(watched.done)](const Status& started) {
    taking_back_ = false;
    // A host that ends serves neither: what was decided holds.
    if (started.ok() || shutting_down_) {
      done({.taken_back = true, .why = why});
      return;
    }
    done({.taken_back = false,
          .why = Status(why.code(), why.message() + "; it serves still, since version " +
                                        std::to_string(version) +
                                        " does not start again: " + started.message())});
  };
}

Status ServiceController::WhyTakenBack(const Watched& watched, const std::string& reason) const {
  if (!watched.crash.ok())
    return Status(watched.crash.code(), reason + ": " + watched.crash.message());
  for (const Instance* instance : instances_) {
    if (instance->attached || instance->version != watched.version) continue;
    if (instance->phase < InstancePhase::kDraining) return shell_->WithLastWords(*instance, reason);
  }
  return Unavailable(reason);
}

}  // namespace lever::scale
