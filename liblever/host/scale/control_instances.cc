// The life of instances on the control loop: launching, draining, ending, and what the driver tells.
#include <sys/socket.h>

#include <utility>
#include <vector>

#include "liblever/base/ids.h"
#include "liblever/base/log.h"
#include "liblever/host/scale/control_loop.h"
#include "liblever/policy/canary.h"

namespace lever::scale {
namespace {

// Enough of a random id to be unique in a cluster, and short enough to be read.
std::string NewInstanceId() { return "i-" + Id128::Random().ToHex().substr(0, 12); }

}  // namespace

double ControlLoop::NextRandom() { return random_.NextDouble(); }

Instance* ControlLoop::AddInstance(ServiceController* controller, uint64_t version) {
  const uint64_t key = next_key_++;
  auto instance =
      std::make_unique<Instance>(key, NewInstanceId(), controller, loop().now_ns());
  instance->version = version;
  Instance* result = instance.get();
  instances_by_id_.emplace(result->id, key);
  instances_.emplace(key, std::move(instance));
  options_.output->Begin({key, std::string(controller->name().environment),
                          std::string(controller->name().service), result->id, version});
  return result;
}

StatusOr<Instance*> ControlLoop::Launch(ServiceController* controller, const ServiceSpec& spec,
                                        StartFor what) {
  LEVER_RETURN_IF_ERROR(ReserveMemory(controller, spec, what));
  Instance* instance = AddInstance(controller, spec.version);
  instance->ram_bytes = spec.ram_bytes;
  instance->concurrency_max = spec.concurrency_max;
  instance->load_max = spec.load_max;
  instance->drain_timeout_ns = spec.drain_timeout_ns;
  instance->health = spec.health;
  instance->config_json = spec.config_json;
  instance->secrets_json = spec.secrets_json;
  instance->SetDeadline(
      &loop(), DeadlineAfter(loop().now_ns(), spec.start_timeout_ns), [this, instance, spec] {
        const std::string what = instance->health_call == nullptr
                                     ? "not ready"
                                     : "its health method " + spec.health + " did not answer";
        Kill(instance,
             WithLastWords(*instance, what + " within " +
                                          std::to_string(spec.start_timeout_ns / kNanosPerMilli) +
                                          " ms (startTimeout)"));
      });
  instance->CheckPhase();
  instances_started_.fetch_add(1, std::memory_order_relaxed);
  options_.planner->Plan(spec, [this, key = instance->key, spec](StatusOr<LaunchPlan> plan) {
    Instance* planned = FindInstance(key);
    if (planned == nullptr) return;
    if (planned->phase != InstancePhase::kStarting || !planned->ended_because.ok()) {
      Gone(planned, planned->ended_because);
      return;
    }
    const Status status = plan.ok() ? StartPlanned(planned, spec, *plan) : plan.status();
    if (!status.ok()) Gone(planned, status);
  });
  return instance;
}

Status ControlLoop::StartPlanned(Instance* instance, const ServiceSpec& spec,
                                 const LaunchPlan& plan) {
  LEVER_ASSIGN_OR_RETURN(auto attach, SocketPair(SOCK_STREAM));
  LEVER_ASSIGN_OR_RETURN(auto introduction, SocketPair(SOCK_SEQPACKET));
  LEVER_RETURN_IF_ERROR(introducer_->AddPeer(instance->key, std::move(introduction.first)));
  fleet::Caller caller;
  caller.identity = spec.name().ToString();
  caller.environment = spec.environment;
  caller.service = spec.service;
  caller.instance_key = instance->key;
  caller.number = policy::CallerNumber(caller.identity);
  LEVER_RETURN_IF_ERROR(options_.adopt(std::move(attach.first), std::move(caller)));

  fleet::InstanceSpec start;
  start.environment = spec.environment;
  start.service = spec.service;
  start.version = spec.version;
  start.instance = instance->id;
  start.argv = plan.argv;
  start.directory = plan.directory;
  start.variables = plan.variables;
  start.uid = plan.uid;
  start.gid = plan.gid;
  start.ram_limit_bytes = spec.ram_limit_bytes;
  start.cpu_millis = spec.cpu_millis;
  start.processes_max = spec.processes_max;
  start.descriptors_max = spec.descriptors_max;
  start.sandbox = spec.sandbox;
  start.network = spec.network;
  start.readable = plan.readable;
  start.runtime = plan.runtime;
  start.attach = std::move(attach.second);
  start.introduction = std::move(introduction.second);
  instance->started = true;
  options_.driver->Start(instance->key, std::move(start), this);
  return Status::Ok();
}

void ControlLoop::Drain(Instance* instance, const std::string& reason) {
  if (instance->phase >= InstancePhase::kDraining) return;
  if (instance->phase == InstancePhase::kStarting) {
    Kill(instance, Aborted(reason));
    return;
  }
  Note(*instance, "draining: " + reason);
  instance->phase = InstancePhase::kDraining;
  const int64_t give_up_ns = DrainDeadlineNs(*instance);
  if (instance->peer != nullptr) {
    instance->peer->RequestDrain(instance->drain_timeout_ns, reason);
    instance->SetDeadline(&loop(), give_up_ns, [this, instance] {
      if (instance->attached) {
        instance->ClearDeadline();
        instance->peer->End(DeadlineExceeded("the instance did not drain in time"));
      } else {
        Kill(instance, DeadlineExceeded("it did not drain within drainTimeout"));
      }
    });
  } else {
    PollDrain(instance, give_up_ns);
  }
  instance->CheckPhase();
}

void ControlLoop::PollDrain(Instance* instance, int64_t give_up_ns) {
  // An instance that is only an address cannot be told: it is done when nothing of ours is on it.
  if (instance->load->relayed.load(std::memory_order_relaxed) == 0 ||
      loop().now_ns() >= give_up_ns) {
    options_.driver->Stop(instance->key, fleet::StopKind::kGraceful);
    instance->SetDeadline(&loop(), loop().now_ns() + kExitGraceNs, [this, instance] {
      options_.driver->Stop(instance->key, fleet::StopKind::kKill);
    });
    return;
  }
  instance->SetDeadline(&loop(), loop().now_ns() + kDrainPollNs,
                        [this, instance, give_up_ns] { PollDrain(instance, give_up_ns); });
}

void ControlLoop::Kill(Instance* instance, const Status& because) {
  if (instance->ended_because.ok()) instance->ended_because = because;
  if (instance->attached) {
    if (instance->peer != nullptr) instance->peer->End(because);
    return;
  }
  // Before the driver has it, the plan's answer ends it.
  if (!instance->started) return;
  options_.driver->Stop(instance->key, fleet::StopKind::kKill);
  // A driver that hangs must not keep callers waiting: for them the instance is gone.
  instance->SetDeadline(&loop(), loop().now_ns() + kExitGraceNs, [this, instance] {
    Note(*instance, "its driver does not answer: given up");
    options_.driver->Remove(instance->key);
    Gone(instance, instance->ended_because);
  });
}

void ControlLoop::Gone(Instance* instance, const Status& why) {
  const uint64_t key = instance->key;
  instance->controller->OnGone(instance, why);
  if (ShardController* shards = ShardsOf(instance)) {
    // One that was only given up may still run.
    if (instance->exited) {
      shards->OnEnded(instance->id);
    } else {
      shards->OnSessionEnd(instance->id);
    }
  }
  instance->phase = InstancePhase::kStopped;
  instance->peer.reset();
  instance->health_call.reset();
  instance->ClearDeadline();
  instance->CheckPhase();
  introducer_->RemovePeer(key);
  ReleaseMemory(*instance);
  options_.output->End(key);
  instances_by_id_.erase(instance->id);
  const auto found = instances_.find(key);
  const std::unique_ptr<Instance> last = std::move(found->second);
  instances_.erase(found);
  DropFinishedControllers();
  CheckShutdown();
}

void ControlLoop::Note(const Instance& instance, std::string_view line) {
  options_.output->Note(instance.key, line);
}

Status ControlLoop::WithLastWords(const Instance& instance, const std::string& what) const {
  std::string message = instance.controller->name().ToString() + ": " + what;
  const std::string words = options_.output->LastWords(instance.key);
  if (!words.empty()) message += "; its last words on stderr:\n" + words;
  return Unavailable(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

// ---- Health ----

// Until it answers, the instance is one that starts, with the deadline of one.
void ControlLoop::AskHealth(Instance* instance) {
  if (instance->health_call != nullptr || !instance->ended_because.ok()) return;
  const std::string url =
      "/" + std::string(instance->controller->name().service) + "/" + instance->health;
  const auto done = [this, key = instance->key](const Status& status) { OnHealth(key, status); };
  const auto ask = [&]() -> StatusOr<std::unique_ptr<HealthCall>> {
    if (!instance->address.empty()) {
      return HealthCall::To(&loop(), instance->address, url, kNever, done);
    }
    LEVER_ASSIGN_OR_RETURN(UniqueFd socket,
                           SocketTo(instance, "", fleet::Introducer::CallerIs::kHost, next_key_++));
    return HealthCall::Over(&loop(), std::move(socket), url, kNever, done);
  };
  StatusOr<std::unique_ptr<HealthCall>> call = ask();
  if (call.ok()) {
    instance->health_call = std::move(*call);
  } else {
    loop().Post([done, status = call.status()] { done(status); });
  }
}

void ControlLoop::OnHealth(uint64_t instance_key, const Status& status) {
  Instance* instance = FindInstance(instance_key);
  if (instance == nullptr) return;
  const std::unique_ptr<HealthCall> call = std::move(instance->health_call);
  if (instance->phase != InstancePhase::kStarting || !instance->ended_because.ok()) return;
  if (!status.ok()) {
    Kill(instance, WithLastWords(*instance, "its health method " + instance->health +
                                                " failed: " + status.message()));
    return;
  }
  instance->healthy = true;
  BecomeReadyIfReachable(instance);
}

// ---- Silence ----

void ControlLoop::Heard(Instance* instance) {
  instance->silence.Heard();
  if (!silence_timer_.armed()) {
    silence_looked_ns_ = loop().now_ns();
    loop().Arm(&silence_timer_, loop().now_ns() + policy::kSilenceLookNs);
  }
  if (instance->phase != InstancePhase::kStalled) return;
  Note(*instance, "is heard again");
  instance->controller->OnHeardAgain(instance);
}

void ControlLoop::LookForSilence() {
  const int64_t elapsed_ns = loop().now_ns() - std::exchange(silence_looked_ns_, loop().now_ns());
  std::vector<uint64_t> silent;  // by key: what is done about one may end it
  bool any_attached = false;
  for (const auto& [key, instance] : instances_) {
    if (instance->peer == nullptr) continue;
    any_attached = true;
    instance->silence.Pass(elapsed_ns);
    if (instance->silence.stalled()) silent.push_back(key);
  }
  if (any_attached) loop().Arm(&silence_timer_, loop().now_ns() + policy::kSilenceLookNs);
  for (const uint64_t key : silent) {
    Instance* instance = FindInstance(key);
    if (instance == nullptr) continue;
    if (instance->phase == InstancePhase::kReady) Stalled(instance);
    const bool uncalled = instance->phase == InstancePhase::kStandby ||
                          instance->phase == InstancePhase::kStalled;
    if (uncalled && instance->silence.over()) {
      StalledTooLong(instance);
    }
  }
}

void ControlLoop::Stalled(Instance* instance) {
  constexpr int64_t kSeconds = policy::kStalledAfterNs / kNanosPerSecond;
  const std::string what = "stalled: it has said nothing for " + std::to_string(kSeconds) +
                           " s and gets no new calls until it is heard again";
  Note(*instance, what);
  Log(LogLevel::kWarning, instance->controller->name().ToString() + ": instance " + instance->id +
                              " is " + what);
  instance->controller->OnStalled(instance);
}

void ControlLoop::StalledTooLong(Instance* instance) {
  if (!instance->ended_because.ok()) return;  // it is being ended already
  const Status because = WithLastWords(
      *instance, "the instance said nothing for " +
                     std::to_string(policy::kStallTimeoutNs / kNanosPerSecond) + " s (stallTimeout)");
  Note(*instance, instance->attached ? "detached: it was stalled too long"
                                     : "killed: it was stalled too long");
  Kill(instance, because);
}

// ---- What the driver tells ----

void ControlLoop::OnStarted(uint64_t id, const fleet::Started& started) {
  Instance* instance = FindInstance(id);
  if (instance == nullptr) return;
  instance->pid = started.pid;
  instance->confined = started.confined;
  if (started.endpoint == fleet::EndpointKind::kAddress) instance->address = started.address;
  if (!instance->ended_because.ok()) {
    options_.driver->Stop(id, fleet::StopKind::kKill);
    return;
  }
  Note(*instance, "started" + (started.pid == 0 ? "" : ", pid " + std::to_string(started.pid)));
}

void ControlLoop::OnReady(uint64_t id) {
  Instance* instance = FindInstance(id);
  if (instance == nullptr) return;
  instance->said_ready = true;
  BecomeReadyIfReachable(instance);
}

void ControlLoop::OnOutput(uint64_t id, fleet::OutputStream stream, std::string_view bytes) {
  if (FindInstance(id) != nullptr) options_.output->Append(id, stream, bytes);
}

void ControlLoop::OnExited(uint64_t id, const fleet::Exited& exited) {
  options_.driver->Remove(id);
  Instance* instance = FindInstance(id);
  if (instance == nullptr) return;
  Note(*instance, exited.ToString());
  instance->exited = true;
  Status why = instance->ended_because;
  if (why.ok() || instance->lost) {
    const bool ready = instance->ready_ns != 0;
    why = WithLastWords(*instance, "the instance " + exited.ToString() +
                                       (ready ? "" : " before it was ready"));
  }
  Gone(instance, why);
}

void ControlLoop::OnFailed(uint64_t id, const Status& status) {
  options_.driver->Remove(id);
  Instance* instance = FindInstance(id);
  if (instance == nullptr) return;
  Gone(instance, Unavailable(instance->controller->name().ToString() +
                             ": the instance could not be started: " + status.message())
                     .WithExecuted(LEVER_EXECUTED_NO));
}

void ControlLoop::OnRemoved(uint64_t id) {}

}  // namespace lever::scale
