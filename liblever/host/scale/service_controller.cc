#include "liblever/host/scale/service_controller.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"

namespace lever::scale {

ServiceController::ServiceController(ControllerShell* shell, std::string environment,
                                     std::string service)
    : shell_(shell),
      environment_(std::move(environment)),
      service_(std::move(service)),
      wake_([this] { Evaluate(); }) {}

ServiceController::~ServiceController() { shell_->loop().Disarm(&wake_); }

void ServiceController::Deploy(ServiceSpec spec, std::function<void(Status)> done) {
  if (next_) {
    done(Aborted("another deploy of " + name().ToString() + " is in progress"));
    return;
  }
  const bool running = std::any_of(instances_.begin(), instances_.end(), [](const Instance* i) {
    return !i->attached && i->phase < InstancePhase::kDraining;
  });
  backoff_.Reset();
  last_error_ = Status::Ok();
  if (running || spec.instances_min > 0 || spec.start_first) {
    next_ = std::move(spec);
    next_done_ = std::move(done);
    Evaluate();
    return;
  }
  current_ = std::move(spec);
  Publish();
  done(Status::Ok());
  Evaluate();
}

void ServiceController::Remove() {
  if (next_) FailNext(Aborted(name().ToString() + " was removed"));
  current_.reset();
  held_calls_ = 0;
  DrainAll("the service was removed");
  Publish();
}

void ServiceController::Shutdown() {
  shutting_down_ = true;
  if (next_) FailNext(Unavailable("the host is shutting down"));
  DrainAll("the host is shutting down");
  Publish();
}

void ServiceController::DrainAll(const std::string& reason) {
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    // An attached program is told, and decides for itself what it does without its host.
    if (instance->phase >= InstancePhase::kDraining) continue;
    shell_->Drain(instance, reason);
  }
}

void ServiceController::Demand(uint32_t held_calls) {
  // A program that is attached and silent may be heard again, and is gone from the tables if not.
  const bool stalled = std::any_of(instances_.begin(), instances_.end(), [](const Instance* i) {
    return i->phase == InstancePhase::kStalled;
  });
  if (!shutting_down_ && !current_ && stalled) return;
  if (shutting_down_ || !current_) {
    shell_->PublishStartFailed(
        name(), shutting_down_ ? Unavailable("the host is shutting down")
                               : Unavailable("no program that serves " + name().ToString() +
                                             " is attached"));
    return;
  }
  held_calls_ = std::max(held_calls_, held_calls);
  Evaluate();
}

void ServiceController::AddAttached(Instance* instance) { instances_.push_back(instance); }

void ServiceController::OnReady(Instance* instance) {
  instance->phase = InstancePhase::kReady;
  instance->ready_ns = shell_->loop().now_ns();
  instance->last_active_ns = instance->ready_ns;
  if (!instance->attached) instance->ClearDeadline();
  instance->CheckPhase();
  if (next_ && instance->version == next_->version && !instance->attached) {
    SwitchToNext();
  } else {
    held_calls_ = 0;
    Publish();
  }
  Evaluate();
}

void ServiceController::OnLoad(Instance* instance) {
  // Only idleness matters here: load decides in the balancer of whoever calls.
  if (instance->InFlight() == 0) Evaluate();
}

void ServiceController::OnStalled(Instance* instance) {
  instance->phase = InstancePhase::kStalled;
  instance->CheckPhase();
  Publish();
}

void ServiceController::OnHeardAgain(Instance* instance) {
  instance->phase = InstancePhase::kReady;
  instance->CheckPhase();
  held_calls_ = 0;
  Publish();
  Evaluate();
}

void ServiceController::OnDraining(Instance* instance) {
  if (instance->phase >= InstancePhase::kDraining) return;
  shell_->Drain(instance, "it asked to be drained");
  Publish();
  Evaluate();
}

void ServiceController::OnLost(Instance* instance) {
  instance->phase = InstancePhase::kDraining;
  instance->CheckPhase();
  Publish();
  Evaluate();
}

void ServiceController::OnGone(Instance* instance, const Status& why) {
  const InstancePhase phase = instance->phase;
  const uint64_t version = instance->version;
  const bool attached = instance->attached;
  const int64_t now_ns = shell_->loop().now_ns();
  const int64_t uptime_ns = instance->ready_ns == 0 ? 0 : now_ns - instance->ready_ns;
  std::erase(instances_, instance);
  if (attached) {
    Publish();
    return;
  }
  if (phase == InstancePhase::kStarting) {
    if (next_ && next_->version == version) {
      FailNext(why);
    } else if (current_ && current_->version == version) {
      backoff_.OnCrash(now_ns, 0, shell_->NextRandom());
      FailStart(why);
    }
  } else if (phase != InstancePhase::kDraining || instance->lost) {
    last_error_ = why;
    backoff_.OnCrash(now_ns, uptime_ns, shell_->NextRandom());
    Publish();
  }
  Evaluate();
}

void ServiceController::FailStart(const Status& status) {
  last_error_ = status;
  held_calls_ = 0;
  shell_->PublishStartFailed(name(), status);
}

void ServiceController::SwitchToNext() {
  const std::optional<ServiceSpec> old = std::exchange(current_, std::exchange(next_, std::nullopt));
  held_calls_ = 0;
  Publish();
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (instance->attached || instance->version == current_->version) continue;
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
  const std::vector<Instance*> instances = instances_;
  for (Instance* instance : instances) {
    if (!instance->attached && instance->version == version &&
        instance->phase < InstancePhase::kDraining) {
      shell_->Kill(instance, status);
    }
  }
  if (next_done_) std::exchange(next_done_, nullptr)(status);
}

Instance* ServiceController::Starting(uint64_t version) const {
  for (Instance* instance : instances_) {
    if (!instance->attached && instance->version == version &&
        instance->phase == InstancePhase::kStarting) {
      return instance;
    }
  }
  return nullptr;
}

policy::ScaleState ServiceController::Observe() const {
  policy::ScaleState state;
  state.instances_min = current_->instances_min;
  state.idle_timeout_ns = current_->idle_timeout_ns;
  state.held_calls = held_calls_;
  state.backoff_until_ns = backoff_.until_ns();
  for (const Instance* instance : instances_) {
    if (instance->attached || instance->version != current_->version) continue;
    if (instance->phase == InstancePhase::kStarting) ++state.instances_starting;
    if (instance->phase != InstancePhase::kReady && instance->phase != InstancePhase::kStalled) {
      continue;
    }
    ++state.instances_ready;
    state.in_flight += instance->InFlight();
    state.last_active_ns = std::max(state.last_active_ns, instance->last_active_ns);
  }
  return state;
}

void ServiceController::Evaluate() {
  if (shutting_down_) return;
  if (next_ && Starting(next_->version) == nullptr) {
    if (Instance* instance = shell_->Launch(this, *next_)) instances_.push_back(instance);
  }
  if (!current_) return;
  const policy::ScaleDecision decision =
      policy::DecideScale(Observe(), shell_->loop().now_ns());
  StartIfWanted(decision);
  if (decision.wake_at_ns == kNever) {
    shell_->loop().Disarm(&wake_);
  } else {
    shell_->loop().Arm(&wake_, decision.wake_at_ns);
  }
}

void ServiceController::StartIfWanted(const policy::ScaleDecision& decision) {
  switch (decision.action) {
    case policy::ScaleAction::kNone: return;
    case policy::ScaleAction::kStart:
      if (Instance* instance = shell_->Launch(this, *current_)) instances_.push_back(instance);
      return;
    case policy::ScaleAction::kRefuse: {
      const int64_t wait_ms =
          std::max<int64_t>(0, backoff_.until_ns() - shell_->loop().now_ns()) / kNanosPerMilli;
      held_calls_ = 0;
      shell_->PublishStartFailed(
          name(), Status(last_error_.code(), last_error_.message() + " (the next start is tried in " +
                                                 std::to_string(wait_ms) + " ms)"));
      return;
    }
    case policy::ScaleAction::kStop: {
      const std::vector<Instance*> instances = instances_;
      for (Instance* instance : instances) {
        if (instance->attached || instance->phase >= InstancePhase::kDraining ||
            instance->phase == InstancePhase::kStarting) {
          continue;
        }
        shell_->Drain(instance, "it was idle");
      }
      Publish();
      return;
    }
  }
}

bool ServiceController::Serves(const Instance& instance) const {
  if (instance.phase != InstancePhase::kReady) return false;
  return instance.attached || (current_ && instance.version == current_->version);
}

void ServiceController::Publish() {
  const uint64_t revision = shell_->NextRevision();
  const bool served = std::any_of(instances_.begin(), instances_.end(),
                                  [this](const Instance* i) { return Serves(*i); });
  const bool any_attached = std::any_of(instances_.begin(), instances_.end(),
                                        [](const Instance* i) { return i->attached; });
  if (!current_ && !served && !any_attached) {
    shell_->PublishRemoved(name(), revision);
    return;
  }
  auto view = std::make_shared<ServiceView>();
  view->environment = environment_;
  view->service = service_;
  view->revision = revision;
  view->startable = current_.has_value() && !shutting_down_;
  if (current_) {
    view->version = current_->version;
    view->is_private = current_->is_private;
  }
  for (const Instance* instance : instances_) {
    if (!Serves(*instance)) continue;
    InstanceView& row = view->instances.emplace_back();
    row.key = instance->key;
    row.id = instance->id;
    row.environment = environment_;
    row.service = service_;
    row.version = instance->version;
    row.address = instance->address;
    row.introducible = instance->peer != nullptr;
    row.concurrency_max = instance->concurrency_max;
    row.load_max = instance->load_max;
    row.load = instance->load;
  }
  shell_->Publish(std::move(view));
}

ServiceStatus ServiceController::GetStatus() const {
  ServiceStatus status;
  status.deployed = deployed();
  if (current_) {
    status.spec = *current_;
  } else {
    status.spec.environment = environment_;
    status.spec.service = service_;
  }
  status.instances = static_cast<uint32_t>(instances_.size());
  status.last_error = last_error_.message();
  status.backoff_until_ns = backoff_.until_ns();
  return status;
}

}  // namespace lever::scale
