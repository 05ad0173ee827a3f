#include "liblever/host/scale/control_loop.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/scale/answer.h"
#include "liblever/rpc/tls_identity.h"

namespace lever::scale {
namespace {

// Of a program that attaches itself.
Status CheckAddress(const fleet::AttachHello& hello) {
  if (hello.listen.empty() && hello.listen_key_hash.empty()) return Status::Ok();
  LEVER_ASSIGN_OR_RETURN(const rpc::Endpoint endpoint, rpc::Endpoint::Parse(hello.listen));
  const size_t wanted_bytes = endpoint.tls ? rpc::kKeyHashBytes : 0;
  if (hello.listen_key_hash.size() != wanted_bytes) {
    return InvalidArgument("attach: an address with tls: comes with the hash of its key, and no other");
  }
  if (hello.is_private && !endpoint.tls) {
    return InvalidArgument("attach: a private service cannot listen on a plain address");
  }
  return Status::Ok();
}

}  // namespace

ControlLoop::ControlLoop(ControlOptions options)
    : options_(std::move(options)),
      random_(options_.random_seed),
      memory_(options_.ram_bytes) {
  if (options_.registry != nullptr) {
    lease_ = std::make_unique<HostLease>(options_.loop, options_.registry);
  }
}

ControlLoop::~ControlLoop() {
  loop().Disarm(&silence_timer_);
  loop().Disarm(&shutdown_timer_);
  loop().Disarm(&memory_timer_);
}

StatusOr<std::unique_ptr<ControlLoop>> ControlLoop::Open(ControlOptions options) {
  std::unique_ptr<ControlLoop> control(new ControlLoop(std::move(options)));
  ControlLoop* self = control.get();
  LEVER_ASSIGN_OR_RETURN(control->signer_, route::TokenSigner::Make());
  LEVER_ASSIGN_OR_RETURN(
      control->introducer_,
      fleet::Introducer::Open(
          self->options_.loop, self->options_.introduction_path,
          [self](uint64_t key) {
            if (Instance* instance = self->FindInstance(key)) self->BecomeReadyIfReachable(instance);
          },
          [self](uint64_t key) {
            if (Instance* instance = self->FindInstance(key)) self->OnUnreachable(instance);
          }));
  return control;
}

ServiceController* ControlLoop::FindController(ServiceName name) const {
  const auto found =
      controllers_.find({std::string(name.environment), std::string(name.service)});
  return found == controllers_.end() ? nullptr : found->second.get();
}

ServiceController* ControlLoop::ControllerOf(ServiceName name) {
  if (ServiceController* controller = FindController(name)) return controller;
  auto controller = std::make_unique<ServiceController>(this, std::string(name.environment),
                                                        std::string(name.service));
  ServiceController* result = controller.get();
  controllers_.emplace(std::pair(std::string(name.environment), std::string(name.service)),
                       std::move(controller));
  return result;
}

Instance* ControlLoop::FindInstance(uint64_t key) const {
  const auto found = instances_.find(key);
  return found == instances_.end() ? nullptr : found->second.get();
}

Instance* ControlLoop::FindInstanceById(const std::string& id) const {
  const auto found = instances_by_id_.find(id);
  return found == instances_by_id_.end() ? nullptr : FindInstance(found->second);
}

// ---- What data loops ask for ----

void ControlLoop::Demand(ServiceName name, const void* holder, uint32_t held_calls) {
  loop().Post([this, environment = std::string(name.environment),
               service = std::string(name.service), holder, held_calls] {
    const ServiceName owned{environment, service};
    ServiceController* controller = FindController(owned);
    if (controller != nullptr) {
      controller->Demand(holder, held_calls);
    } else if (held_calls > 0) {
      PublishStartFailed(owned, NotFound("there is no service " + owned.ToString()));
    }
  });
}

// ---- Attaching ----

void ControlLoop::Attach(fleet::AttachHello hello, std::shared_ptr<fleet::AttachPeer> peer,
                         Loop* loop, std::function<void(StatusOr<fleet::AttachWelcome>)> done) {
  this->loop().Post([this, hello = std::move(hello), peer = std::move(peer), loop,
                     done = std::move(done)]() mutable {
    Answer(loop, std::move(done), AttachNow(hello, std::move(peer)));
  });
}

StatusOr<Instance*> ControlLoop::AttachStarted(const fleet::AttachHello& hello) {
  Instance* instance = FindInstance(hello.caller.instance_key);
  if (instance == nullptr) return NotFound("attach: the instance has ended");
  if (instance->peer != nullptr) return AlreadyExists("attach: the instance is attached already");
  return instance;
}

StatusOr<Instance*> ControlLoop::AttachProgram(const fleet::AttachHello& hello) {
  const ServiceName name{hello.environment, hello.service};
  if (instances_.size() >= kAttachedMax) {
    return ResourceExhausted("attach: the host has " + std::to_string(kAttachedMax) +
                             " instances already");
  }
  if (environments_ != nullptr &&
      !std::binary_search(environments_->begin(), environments_->end(), hello.environment)) {
    return NotFound("attach: there is no environment " + hello.environment);
  }
  LEVER_RETURN_IF_ERROR(CheckAddress(hello));
  ServiceController* controller = FindController(name);
  if (controller != nullptr) LEVER_RETURN_IF_ERROR(controller->CheckMayAttach(hello.is_private));
  if (controller == nullptr) controller = ControllerOf(name);
  Instance* instance = AddInstance(controller, 0);
  instance->attached = true;
  instance->is_private = hello.is_private;
  instance->address = hello.listen;
  instance->key_hash = hello.listen_key_hash;
  controller->AddAttached(instance);
  return instance;
}

Status ControlLoop::FailAttach(Instance* instance, const Status& why) {
  instance->peer.reset();
  if (instance->attached) {
    Gone(instance, why);
  } else {
    Kill(instance, why);
  }
  return why;
}

StatusOr<fleet::AttachWelcome> ControlLoop::AttachNow(const fleet::AttachHello& hello,
                                                      std::shared_ptr<fleet::AttachPeer> peer) {
  const bool started = hello.caller.instance_key != 0;
  LEVER_ASSIGN_OR_RETURN(Instance* const instance,
                         started ? AttachStarted(hello) : AttachProgram(hello));
  instance->peer = std::move(peer);
  Heard(instance);
  instance->runtime = hello.runtime;
  if (instance->pid == 0) instance->pid = hello.pid;
  if (hello.concurrency_max != 0 && instance->concurrency_max == 0) {
    instance->concurrency_max = hello.concurrency_max;
  }
  ServiceController& controller = *instance->controller;
  fleet::AttachWelcome welcome;
  if (hello.has_resources) {
    const StatusOr<uint32_t> shards = controller.OnHasResources(instance);
    if (!shards.ok()) return FailAttach(instance, shards.status());
    welcome.shards = *shards;
    // Behind the welcome.
    this->loop().Post([this, key = instance->key] {
      const Instance* attached = FindInstance(key);
      if (attached == nullptr || attached->peer == nullptr) return;
      ShardsOf(attached)->OnSession(attached->id);
    });
  }
  welcome.instance_key = instance->key;
  welcome.environment = controller.name().environment;
  welcome.service = controller.name().service;
  welcome.version = instance->version;
  welcome.instance = instance->id;
  welcome.config_json = instance->config_json;
  welcome.secrets_json = instance->secrets_json;
  welcome.drain_timeout_ns = instance->drain_timeout_ns;
  welcome.concurrency_max = instance->concurrency_max;
  welcome.token_keys = {signer_->key()};
  if (!started) {
    welcome.introduction_path = introducer_->path();
    welcome.nonce = introducer_->ExpectPeer(instance->key);
  }
  return welcome;
}

void ControlLoop::AttachReady(uint64_t instance_key) {
  loop().Post([this, instance_key] {
    Instance* instance = FindInstance(instance_key);
    if (instance == nullptr) return;
    instance->said_ready = true;
    Heard(instance);
    BecomeReadyIfReachable(instance);
  });
}

void ControlLoop::BecomeReadyIfReachable(Instance* instance) {
  if (instance->phase != InstancePhase::kStarting || !instance->said_ready) return;
  if (instance->address.empty() && !introducer_->Reachable(instance->key)) return;
  if (!instance->health.empty() && !instance->healthy) {
    AskHealth(instance);
    return;
  }
  instance->controller->OnReady(instance);
  Note(*instance, InstancePhaseName(instance->phase));
  TellServing(*instance);
}

void ControlLoop::TellServing(const Instance& instance) {
  if (instance.peer == nullptr) return;
  auto left = std::make_shared<std::atomic<size_t>>(options_.data_loops.size());
  for (const DataLoop& data : options_.data_loops) {
    data.loop->Post([left, peer = instance.peer] {
      if (left->fetch_sub(1) == 1) peer->TellServing();
    });
  }
}

void ControlLoop::AttachLoad(uint64_t instance_key, fleet::LoadReportData report) {
  loop().Post([this, instance_key, report] {
    Instance* instance = FindInstance(instance_key);
    if (instance == nullptr) return;
    instance->load->calls.store(report.calls, std::memory_order_relaxed);
    instance->load->streams.store(report.streams, std::memory_order_relaxed);
    instance->load->latency_ns.store(report.latency_ns, std::memory_order_relaxed);
    instance->calls_total = report.calls_total;
    // A clock that is ahead of ours would keep the instance alive for ever.
    instance->last_active_ns = std::max(instance->last_active_ns,
                                        std::min(report.last_active_ns, loop().now_ns()));
    Heard(instance);
    // One that attaches anew counts from 0 again.
    const auto more = [](uint64_t now, uint64_t before) { return now > before ? now - before : 0; };
    const uint64_t ended =
        more(report.ended_total, std::exchange(instance->ended_total, report.ended_total));
    const uint64_t errors =
        more(report.errors_total, std::exchange(instance->errors_total, report.errors_total));
    instance->controller->OnEnded(instance, ended, errors);
    instance->controller->OnLoad(instance);
  });
}

void ControlLoop::AttachShardLoads(uint64_t instance_key, fleet::ShardLoadsData loads) {
  loop().Post([this, instance_key, loads = std::move(loads)] {
    const Instance* instance = FindInstance(instance_key);
    ShardController* shards = ShardsOf(instance);
    if (shards == nullptr) return;
    const std::optional<ServiceSpec>& spec = instance->controller->current();
    shards->OnLoads(instance->id, loads, spec ? spec->stream_load : ServiceSpec().stream_load);
  });
}

void ControlLoop::AttachRenew(uint64_t instance_key, uint64_t id) {
  loop().Post([this, instance_key, id] {
    const Instance* instance = FindInstance(instance_key);
    if (ShardController* shards = ShardsOf(instance)) shards->OnRenew(instance->id, id);
  });
}

void ControlLoop::AttachReleased(uint64_t instance_key, fleet::ShardReleasedData released) {
  loop().Post([this, instance_key, released] {
    const Instance* instance = FindInstance(instance_key);
    if (ShardController* shards = ShardsOf(instance)) shards->OnReleased(instance->id, released);
  });
}

void ControlLoop::AttachState(uint64_t instance_key, fleet::StateRequestData request) {
  loop().Post([this, instance_key, request = std::move(request)] {
    const Instance* instance = FindInstance(instance_key);
    if (ShardController* shards = ShardsOf(instance)) shards->OnState(instance->id, request);
  });
}

ShardController* ControlLoop::ShardsOf(const Instance* instance) const {
  if (instance == nullptr || !instance->has_resources) return nullptr;
  return instance->controller->shards();
}

ShardController* ControlLoop::ShardsOf(ServiceController* controller, uint32_t shards) {
  if (options_.registry == nullptr) return nullptr;
  const ServiceName name = controller->name();
  std::unique_ptr<ShardController>& found =
      shards_[{std::string(name.environment), std::string(name.service)}];
  if (found == nullptr) {
    found = std::make_unique<ShardController>(&loop(), options_.registry, lease_.get(),
                                              options_.host_id, std::string(name.environment),
                                              std::string(name.service), shards);
  }
  return found.get();
}

void ControlLoop::AttachDraining(uint64_t instance_key) {
  loop().Post([this, instance_key] {
    Instance* instance = FindInstance(instance_key);
    if (instance == nullptr) return;
    Heard(instance);
    instance->controller->OnDraining(instance);
  });
}

void ControlLoop::AttachDrained(uint64_t instance_key, uint32_t cut_off) {
  loop().Post([this, instance_key, cut_off] {
    Instance* instance = FindInstance(instance_key);
    if (instance == nullptr) return;
    Note(*instance, cut_off == 0 ? "drained"
                                 : "drained; the drain timeout cut off " +
                                       std::to_string(cut_off) + " calls and streams");
    if (instance->attached || !instance->started) return;
    instance->SetDeadline(&loop(), loop().now_ns() + kExitGraceNs,
                          [this, instance] { options_.driver->Stop(instance->key,
                                                                   fleet::StopKind::kKill); });
  });
}

void ControlLoop::AttachEnded(uint64_t instance_key, Status status) {
  loop().Post([this, instance_key, status = std::move(status)] {
    Instance* instance = FindInstance(instance_key);
    if (instance == nullptr) return;
    instance->peer.reset();
    if (ShardController* shards = ShardsOf(instance)) shards->OnSessionEnd(instance->id);
    if (instance->attached) {
      Gone(instance, status);
      return;
    }
    // The process may live, but cannot be told anything any more: it exits by itself, or is ended.
    Lose(instance, "the instance ended its attach session", kExitGraceNs);
  });
}

// No new connections to it can be made.
void ControlLoop::OnUnreachable(Instance* instance) {
  if (!instance->address.empty() || instance->phase == InstancePhase::kStarting) return;
  if (instance->attached) {
    if (instance->peer != nullptr) {
      instance->peer->End(Unavailable("its introduction socket has ended: attach again"));
    }
    return;
  }
  if (instance->peer != nullptr) {
    instance->peer->RequestDrain(instance->drain_timeout_ns, "its introduction socket has ended");
  }
  Lose(instance, "the instance ended its introduction socket",
       DrainDeadlineNs(*instance) - loop().now_ns());
}

int64_t ControlLoop::DrainDeadlineNs(const Instance& instance) const {
  const int64_t slack_ns = kDrainSlackNs + (instance.has_resources ? kCloseSlackNs : 0);
  return DeadlineAfter(options_.loop->now_ns(), instance.drain_timeout_ns + slack_ns);
}

// A started instance that is not of use any more, and has `grace_ns` to end.
void ControlLoop::Lose(Instance* instance, const std::string& what, int64_t grace_ns) {
  const InstancePhase phase = instance->phase;
  // One that is killed while it starts goes for the reason that it was killed for.
  const bool known = phase == InstancePhase::kStarting && !instance->ended_because.ok();
  if (phase < InstancePhase::kDraining && !known) {
    instance->ended_because = WithLastWords(*instance, what);
    instance->lost = true;
  }
  instance->SetDeadline(&loop(), loop().now_ns() + grace_ns, [this, instance] {
    options_.driver->Stop(instance->key, fleet::StopKind::kKill);
  });
  if (phase > InstancePhase::kStarting && phase < InstancePhase::kDraining) {
    instance->controller->OnLost(instance);
  }
}

// ---- Lists ----

void ControlLoop::ListInstances(Loop* loop,
                                std::function<void(std::vector<InstanceStatus>)> done) {
  this->loop().Post([this, loop, done = std::move(done)]() mutable {
    std::vector<InstanceStatus> rows;
    rows.reserve(instances_.size());
    for (const auto& [name, controller] : controllers_) {
      for (const Instance* instance : controller->instances()) {
        InstanceStatus& row = rows.emplace_back();
        row.environment = name.first;
        row.service = name.second;
        row.id = instance->id;
        row.version = instance->version;
        row.phase = instance->phase;
        row.attached = instance->attached;
        row.canary = controller->IsCanary(*instance);
        row.pid = instance->pid;
        row.runtime = instance->runtime;
        row.address = instance->address;
        row.calls = instance->load->calls.load(std::memory_order_relaxed);
        row.streams = instance->load->streams.load(std::memory_order_relaxed);
        row.calls_total = instance->calls_total;
        row.age_ns = this->loop().now_ns() - instance->created_ns;
        if (!instance->attached) {
          row.driver =
              instance->confined.empty() ? options_.driver->Describe() : instance->confined;
        }
      }
    }
    Answer(loop, std::move(done), std::move(rows));
  });
}

void ControlLoop::ListOwners(ServiceName name, Loop* loop,
                             std::function<void(StatusOr<std::vector<OwnerStatus>>)> done) {
  this->loop().Post([this, environment = std::string(name.environment),
                     service = std::string(name.service), loop, done = std::move(done)]() mutable {
    const ServiceName owned{environment, service};
    const ServiceController* controller = FindController(owned);
    StatusOr<std::vector<OwnerStatus>> rows =
        controller == nullptr
            ? StatusOr<std::vector<OwnerStatus>>(NotFound("there is no service " + owned.ToString()))
            : controller->ListOwners();
    Answer(loop, std::move(done), std::move(rows));
  });
}

void ControlLoop::ChangeOwner(ServiceName name, std::string resource, policy::ShardChange change,
                              std::string to, Loop* loop,
                              std::function<void(StatusOr<OwnerChange>)> done) {
  this->loop().Post([this, environment = std::string(name.environment),
                     service = std::string(name.service), resource = std::move(resource), change,
                     to = std::move(to), loop, done = std::move(done)]() mutable {
    const ServiceName owned{environment, service};
    ServiceController* controller = FindController(owned);
    StatusOr<OwnerChange> begun =
        controller == nullptr
            ? StatusOr<OwnerChange>(NotFound("there is no service " + owned.ToString()))
            : controller->ChangeOwner(resource, change, to);
    Answer(loop, std::move(done), std::move(begun));
  });
}

void ControlLoop::ListServices(Loop* loop,
                               std::function<void(std::vector<ServiceStatus>)> done) {
  this->loop().Post([this, loop, done = std::move(done)]() mutable {
    std::vector<ServiceStatus> rows;
    rows.reserve(controllers_.size());
    for (const auto& [name, controller] : controllers_) {
      if (!controller->Finished()) rows.push_back(controller->GetStatus());
    }
    Answer(loop, std::move(done), std::move(rows));
  });
}

ControlCounters ControlLoop::Counters() const {
  ControlCounters counters;
  counters.introductions = introductions_.load(std::memory_order_relaxed);
  counters.instances_started = instances_started_.load(std::memory_order_relaxed);
  counters.ram_bytes = options_.ram_bytes;
  counters.ram_reserved_bytes = ram_reserved_bytes_.load(std::memory_order_relaxed);
  return counters;
}

// ---- Services ----

void ControlLoop::Deploy(ServiceSpec spec, std::function<void(Status)> done) {
  ServiceController* controller = ControllerOf(spec.name());
  options_.planner->Expect(spec);
  controller->Deploy(std::move(spec), std::move(done));
}

void ControlLoop::Watch(ServiceName name, int64_t watch_ns, std::function<void(WatchResult)> done) {
  ServiceController* controller = FindController(name);
  if (controller == nullptr) {
    done({});
    return;
  }
  controller->Watch(watch_ns, std::move(done));
}

void ControlLoop::SetCanary(ServiceSpec spec, CanaryTerms terms, CanaryStart start,
                            std::function<void(Status)> done) {
  ServiceController* controller = ControllerOf(spec.name());
  controller->SetCanary(std::move(spec), terms, start, std::move(done));
}

void ControlLoop::EndCanary(ServiceName name) {
  if (ServiceController* controller = FindController(name)) {
    controller->EndCanary(Aborted("the canary was given up"));
  }
}

bool ControlLoop::EndWatch(ServiceName name) {
  ServiceController* controller = FindController(name);
  return controller == nullptr || controller->EndWatch();
}

void ControlLoop::Remove(ServiceName name, std::function<void(Status)> done) {
  ServiceController* controller = FindController(name);
  if (controller == nullptr || !controller->deployed()) {
    done(NotFound("there is no service " + name.ToString()));
    return;
  }
  controller->Remove();
  DropFinishedControllers();
  done(Status::Ok());
}

void ControlLoop::SetEnvironments(std::vector<std::string> environments) {
  std::sort(environments.begin(), environments.end());
  const auto shared = std::make_shared<const std::vector<std::string>>(std::move(environments));
  environments_ = shared;
  for (const DataLoop& data : options_.data_loops) {
    data.loop->Post([directory = data.directory, shared] { directory->ApplyEnvironments(shared); });
  }
}

void ControlLoop::Shutdown(std::function<void()> done) {
  shutdown_done_ = std::move(done);
  for (const auto& [name, controller] : controllers_) controller->Shutdown();
  CheckShutdown();
}

void ControlLoop::CheckShutdown() {
  if (!shutdown_done_) return;
  const bool any_started = std::any_of(instances_.begin(), instances_.end(),
                                       [](const auto& entry) { return !entry.second->attached; });
  // What was released is to be durable, else the next host waits for grants that have ended.
  const bool quiet = std::all_of(shards_.begin(), shards_.end(),
                                 [](const auto& entry) { return entry.second->Quiet(); });
  if (!any_started && !quiet) {
    return loop().Arm(&shutdown_timer_, DeadlineAfter(loop().now_ns(), kDrainPollNs));
  }
  if (!any_started) std::exchange(shutdown_done_, nullptr)();
}

void ControlLoop::DropFinishedControllers() {
  std::erase_if(controllers_, [](const auto& entry) { return entry.second->Finished(); });
}

// ---- Publishing to the data loops ----

void ControlLoop::Publish(std::shared_ptr<const ServiceView> view) {
  for (const DataLoop& data : options_.data_loops) {
    data.loop->Post([directory = data.directory, view] { directory->Apply(view); });
  }
}

void ControlLoop::PublishRemoved(ServiceName name, uint64_t revision) {
  for (const DataLoop& data : options_.data_loops) {
    data.loop->Post([directory = data.directory, environment = std::string(name.environment),
                     service = std::string(name.service), revision] {
      directory->Remove({environment, service}, revision);
    });
  }
}

void ControlLoop::PublishStartFailed(ServiceName name, const Status& status) {
  for (const DataLoop& data : options_.data_loops) {
    data.loop->Post([directory = data.directory, environment = std::string(name.environment),
                     service = std::string(name.service), status] {
      directory->StartFailed({environment, service}, status);
    });
  }
}

}  // namespace lever::scale
