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
      wake_([this] { Evaluate(); }),
      watch_end_([this] {
        if (JudgeWatched()) Evaluate();
      }) {}

ServiceController::~ServiceController() {
  shell_->loop().Disarm(&wake_);
  if (shards_ != nullptr) shards_->set_shell(nullptr);
  shell_->loop().Disarm(&watch_end_);
}

void ServiceController::Remove() {
  if (next_) FailNext(Aborted(name().ToString() + " was removed"));
  EndCanary(Aborted(name().ToString() + " was removed"));
  EndWatch();
  current_.reset();
  before_.reset();
  outcomes_ = {};
  held_calls_.clear();
  if (shards_ != nullptr) shards_->set_discards(true);
  DrainAll("the service was removed");
  Publish();
}

void ServiceController::Shutdown() {
  shutting_down_ = true;
  EndWatch();
  if (canary_ && canary_->done) {
    std::exchange(canary_->done, nullptr)(Unavailable("the host is shutting down"));
  }
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

void ServiceController::Demand(const void* holder, uint32_t held_calls) {
  if (held_calls == 0) {
    if (held_calls_.erase(holder) > 0) Evaluate();
    return;
  }
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
  held_calls_[holder] = held_calls;
  Evaluate();
}

void ServiceController::AddAttached(Instance* instance) { instances_.push_back(instance); }

void ServiceController::OnReady(Instance* instance) {
  const bool standby = BecomesStandby(*instance);
  instance->phase = standby ? InstancePhase::kStandby : InstancePhase::kReady;
  instance->ready_ns = shell_->loop().now_ns();
  if (!instance->attached) {
    instance->ClearDeadline();
    // Weight of the newest one: 1 / 2^2.
    const int64_t took_ns = instance->ready_ns - instance->created_ns;
    VersionScale& scale = ScaleOf(instance->version);
    scale.start_ns = scale.start_ns == 0 ? took_ns : scale.start_ns + (took_ns - scale.start_ns) / 4;
    if (!standby) scale.last_ready_ns = instance->ready_ns;
  }
  instance->CheckPhase();
  // One of a version that is to serve is listed when there are enough of them.
  if (Serves(*instance)) {
    held_calls_.clear();
    Publish();
  }
  if (canary_ && canary_->done && IsCanary(*instance)) {
    std::exchange(canary_->done, nullptr)(Status::Ok());
  }
  Evaluate();
}

void ServiceController::OnLoad(Instance* instance) {
  if (!instance->attached) Evaluate();
}

void ServiceController::OnStalled(Instance* instance) {
  instance->phase = InstancePhase::kStalled;
  instance->CheckPhase();
  Publish();
}

void ServiceController::OnHeardAgain(Instance* instance) {
  instance->phase = InstancePhase::kReady;
  instance->CheckPhase();
  held_calls_.clear();
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
  const bool by_itself = phase != InstancePhase::kDraining || instance->lost;
  if (by_itself && watched_ && version == watched_->version) {
    ++watched_->seen.crashes;
    watched_->crash = why;
    if (JudgeWatched()) {
      last_error_ = why;
      Publish();
      Evaluate();
      return;
    }
  }
  if (IsCanary(version)) {
    if (by_itself) OnCanaryGone(*instance, phase, uptime_ns, why);
  } else if (next_ && next_->version == version) {
    if (by_itself) FailNext(why);
  } else if (phase == InstancePhase::kStarting) {
    if (current_ && current_->version == version) {
      Crashed(*instance, 0, &scale_);
      const bool others = std::any_of(instances_.begin(), instances_.end(), [&](const Instance* i) {
        return i->phase <= InstancePhase::kStalled && i->version == version;
      });
      if (others) {
        last_error_ = why;
      } else {
        FailStart(why);
      }
    }
  } else if (by_itself) {
    last_error_ = why;
    Crashed(*instance, uptime_ns, &scale_);
    Publish();
  }
  Evaluate();
}

// Instances that were started together and failed together are one crash in a row.
void ServiceController::Crashed(const Instance& instance, int64_t uptime_ns, VersionScale* scale) {
  if (instance.key <= scale->crash_counted_key) return;
  scale->crash_counted_key = instance.key;
  for (const Instance* other : instances_) {
    scale->crash_counted_key = std::max(scale->crash_counted_key, other->key);
  }
  scale->backoff.OnCrash(shell_->loop().now_ns(), uptime_ns, shell_->NextRandom());
}

void ServiceController::FailStart(const Status& status) {
  last_error_ = status;
  held_calls_.clear();
  shell_->PublishStartFailed(name(), status);
}

// A version without instances would leave its share to the other one.
policy::ScaleLimits ServiceController::Limits(const ServiceSpec& spec) const {
  return {.instances_min = canary_ ? std::max(1u, spec.instances_min) : spec.instances_min,
          .instances_max = spec.instances_max,
          .standby = IsCanary(spec.version) ? 0 : spec.standby,
          .load_max = spec.load_target,
          .stream_load = spec.stream_load,
          .concurrency_max = spec.concurrency_max,
          .idle_timeout_ns = spec.idle_timeout_ns};
}

// Calls are held for the version that serves: those of a canary that has no instance go there, too.
policy::ScaleLoad ServiceController::Observe(uint64_t version, VersionScale* scale) {
  policy::ScaleLoad seen;
  uint64_t latencies_ns = 0;
  uint64_t with_latency = 0;
  for (const Instance* instance : instances_) {
    if (instance->attached || instance->version != version) continue;
    if (instance->phase == InstancePhase::kStarting) ++seen.instances_starting;
    if (StandsBy(*instance, version)) ++seen.instances_standby;
    if (instance->phase != InstancePhase::kReady && instance->phase != InstancePhase::kStalled) {
      continue;
    }
    ++seen.instances_ready;
    const uint32_t streams = instance->load->streams.load(std::memory_order_relaxed);
    seen.streams += streams;
    seen.calls += instance->InFlight() - streams;
    scale->last_active_ns = std::max(scale->last_active_ns, instance->last_active_ns);
    if (const uint64_t ns = instance->load->latency_ns.load(std::memory_order_relaxed); ns > 0) {
      latencies_ns += ns;
      ++with_latency;
    }
  }
  if (with_latency > 0) scale->latency_ns = static_cast<int64_t>(latencies_ns / with_latency);
  if (version == current_->version) {
    for (const auto& [holder, count] : held_calls_) seen.held_calls += count;
  }
  seen.latency_ns = scale->latency_ns;
  seen.start_ns = scale->start_ns;
  seen.last_active_ns = scale->last_active_ns;
  seen.last_ready_ns = scale->last_ready_ns;
  seen.backoff_until_ns = scale->backoff.until_ns();
  return seen;
}

void ServiceController::Evaluate() {
  if (shutting_down_) return;
  if (next_) AdvanceNext();
  if (!current_) return;
  Status lacks;
  int64_t wake_at_ns = Scale(*current_, &scale_, &lacks);
  // One that is being promoted has what it needs to serve alone.
  if (canary_ && !Promoting()) {
    wake_at_ns = std::min(wake_at_ns, Scale(canary_->spec, &canary_->scale, &lacks));
  }
  SetLacks(lacks);
  if (wake_at_ns == kNever) {
    shell_->loop().Disarm(&wake_);
  } else {
    shell_->loop().Arm(&wake_, wake_at_ns);
  }
}

int64_t ServiceController::Scale(const ServiceSpec& spec, VersionScale* scale, Status* lacks) {
  const policy::ScaleLoad load = Observe(spec.version, scale);
  const policy::ScaleDecision decision =
      policy::DecideScale(Limits(spec), load, shell_->loop().now_ns(), &scale->memory);
  scale->wanted = decision.wanted;
  if (decision.refuse_held) RefuseHeld();
  if (decision.promote > 0) Promote(scale, spec.version, decision.promote);
  if (decision.stop_standby > 0) StopStandbys(spec.version, decision.stop_standby);
  const bool busy = load.calls + load.streams + load.held_calls > 0;
  const uint32_t present =
      load.instances_starting + load.instances_ready + load.instances_standby;
  for (uint32_t i = 0; i < decision.start; ++i) {
    const StartFor for_load = busy ? StartFor::kNow : StartFor::kLater;
    const auto begun =
        shell_->Launch(this, spec, present + i < decision.wanted ? for_load : StartFor::kStandby);
    if (!begun.ok()) {
      *lacks = begun.status();
      break;
    }
    instances_.push_back(*begun);
  }
  if (decision.stop > 0) StopLeastLoaded(*scale, spec.version, decision.stop);
  return decision.wake_at_ns;
}

// Of what lasts the first word stays: the numbers in it change all the time.
void ServiceController::SetLacks(const Status& lacks) {
  const bool lasting = lacks.code() == LEVER_RESOURCE_EXHAUSTED;
  if (lasting == !lacks_.ok()) return;
  lacks_ = lasting ? lacks : Status::Ok();
  Publish();
  const int64_t now_ns = shell_->loop().now_ns();
  if (!lasting || now_ns < lacks_quiet_until_ns_) return;
  lacks_quiet_until_ns_ = now_ns + kLacksQuietNs;
  Log(LogLevel::kWarning, lacks_.message());
}

bool ServiceController::HasInstance() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const Instance* i) {
    return !i->attached && i->phase < InstancePhase::kDraining;
  });
}

// The last one of a service that is busy is no idle one, and of a service that is being changed it is
// not known which will be needed.
void ServiceController::AddIdle(std::vector<policy::IdleInstance>* idle) const {
  if (!current_ || next_ || canary_ || shutting_down_ || !held_calls_.empty()) return;
  std::vector<const Instance*> ready;
  bool busy = false;
  for (const Instance* instance : instances_) {
    if (instance->phase == InstancePhase::kStandby) {
      idle->push_back({instance->key, instance->ram_bytes, instance->ready_ns});
    }
    if (instance->attached || instance->phase != InstancePhase::kReady) continue;
    ready.push_back(instance);
    busy |= instance->InFlight() > 0;
  }
  const auto active_ns = [](const Instance* i) { return std::max(i->last_active_ns, i->ready_ns); };
  std::sort(ready.begin(), ready.end(), [&](const Instance* a, const Instance* b) {
    return active_ns(a) < active_ns(b);
  });
  const size_t kept = std::max<size_t>(current_->instances_min, busy ? 1 : 0);
  ready.resize(ready.size() - std::min(ready.size(), kept));
  for (const Instance* instance : ready) {
    if (instance->InFlight() > 0) continue;
    idle->push_back({instance->key, instance->ram_bytes, active_ns(instance)});
  }
}

void ServiceController::GiveWay(Instance* instance, const std::string& reason) {
  shell_->Drain(instance, reason);
  Publish();
}

void ServiceController::RefuseHeld() {
  const int64_t wait_ms =
      std::max<int64_t>(0, scale_.backoff.until_ns() - shell_->loop().now_ns()) / kNanosPerMilli;
  held_calls_.clear();
  shell_->PublishStartFailed(
      name(), Status(last_error_.code(), last_error_.message() + " (the next start is tried in " +
                                             std::to_string(wait_ms) + " ms)"));
}

void ServiceController::StopLeastLoaded(const VersionScale& scale, uint64_t version,
                                        uint32_t count) {
  std::vector<Instance*> ready;
  for (Instance* instance : instances_) {
    if (instance->attached || instance->version != version) continue;
    if (instance->phase != InstancePhase::kReady && instance->phase != InstancePhase::kStalled) {
      continue;
    }
    ready.push_back(instance);
  }
  // Of those with the same load the newest goes: the others are warmer.
  std::sort(ready.begin(), ready.end(), [](const Instance* a, const Instance* b) {
    const uint32_t load_a = a->InFlight();
    const uint32_t load_b = b->InFlight();
    return load_a != load_b ? load_a < load_b : a->key > b->key;
  });
  ready.resize(std::min<size_t>(ready.size(), count));
  const bool idle = scale.wanted == 0;
  for (Instance* instance : ready) {
    shell_->Drain(instance, idle ? "it was idle" : "the load needs fewer instances");
  }
  Publish();
}

bool ServiceController::Serves(const Instance& instance) const {
  if (instance.phase != InstancePhase::kReady) return false;
  return instance.attached || (current_ && instance.version == current_->version) ||
         IsCanary(instance);
}

// ---- Resources ----

StatusOr<uint32_t> ServiceController::OnHasResources(Instance* instance) {
  uint32_t wanted = policy::kShardsDefault;
  // All versions have the same, and so has an attached program beside them.
  if (current_ && (instance->attached || current_->version == instance->version)) {
    wanted = current_->shards;
  }
  if (next_ && (instance->attached || next_->version == instance->version)) {
    wanted = next_->shards;
  }
  if (IsCanary(*instance)) wanted = canary_->spec.shards;
  if (shards_ == nullptr) shards_ = shell_->ShardsOf(this, wanted);
  if (shards_ == nullptr) return FailedPrecondition("this host keeps no resources");
  shards_->set_shell(this);
  // It may be that of a service of this name that was removed.
  shards_->set_discards(false);
  // An attached program takes what there is.
  if (!instance->attached && shards_->shards() != wanted) {
    return FailedPrecondition(name().ToString() + " has " + std::to_string(shards_->shards()) +
                              " shards, which is fixed when a name is first deployed, and not " +
                              std::to_string(wanted));
  }
  instance->has_resources = true;
  return shards_->shards();
}

Instance* ServiceController::FindById(const std::string& id) const {
  const auto found = std::find_if(instances_.begin(), instances_.end(),
                                  [&](const Instance* i) { return i->id == id; });
  return found == instances_.end() ? nullptr : *found;
}

fleet::AttachPeer* ServiceController::PeerOf(const std::string& id) const {
  const Instance* instance = FindById(id);
  return instance == nullptr ? nullptr : instance->peer.get();
}

void ServiceController::TellShards(const std::string& id, fleet::ShardOrdersData orders) {
  if (fleet::AttachPeer* peer = PeerOf(id)) peer->TellShards(std::move(orders));
}

void ServiceController::TellRenewed(const std::string& id, uint64_t renewal) {
  if (fleet::AttachPeer* peer = PeerOf(id)) peer->TellRenewed(renewal);
}

void ServiceController::TellState(const std::string& id, fleet::StateAnswerData answer) {
  if (fleet::AttachPeer* peer = PeerOf(id)) peer->TellState(std::move(answer));
}

fleet::ShardCloseReason ServiceController::WhyItMoves(const std::string& from) {
  const Instance* instance = FindById(from);
  if (instance == nullptr) return fleet::ShardCloseReason::kMoved;
  if (!instance->attached && current_ && current_->version != instance->version &&
      !IsCanary(*instance)) {
    return fleet::ShardCloseReason::kUpgrade;
  }
  return instance->phase >= InstancePhase::kDraining ? fleet::ShardCloseReason::kStopping
                                                     : fleet::ShardCloseReason::kMoved;
}

void ServiceController::OnOwnersChanged() {
  // What is being published places shards first.
  if (!placing_) Publish();
}

// One that is stalled keeps its shards: it may be heard again, and its grant has to end before.
void ServiceController::PlaceShards() {
  if (shards_ == nullptr) return;
  std::vector<ShardTaker> eligible;
  std::vector<ShardTaker> of_canary;
  for (const Instance* instance : instances_) {
    if (!instance->has_resources || instance->peer == nullptr) continue;
    const bool alive =
        instance->phase == InstancePhase::kReady || instance->phase == InstancePhase::kStalled;
    if (!alive) continue;
    if (IsCanary(*instance)) {
      of_canary.push_back({instance->id});
    } else if (instance->attached || (current_ && instance->version == current_->version)) {
      eligible.push_back({instance->id});
    }
  }
  if (canary_) {
    const policy::ShardWeights weights =
        policy::WeighVersions(canary_->terms.share, eligible.size(), of_canary.size());
    for (ShardTaker& taker : eligible) taker.weight = weights.serving;
    for (ShardTaker& taker : of_canary) taker.weight = weights.canary;
    eligible.insert(eligible.end(), of_canary.begin(), of_canary.end());
  }
  placing_ = true;
  shards_->SetEligible(std::move(eligible));
  placing_ = false;
}

std::shared_ptr<const ShardOwners> ServiceController::ShardOwnersOf(const ServiceView& view) const {
  if (shards_ == nullptr || !shards_->leading()) return nullptr;
  std::map<std::string_view, uint32_t> indices;
  for (uint32_t i = 0; i < view.instances.size(); ++i) indices.emplace(view.instances[i].id, i);
  auto shown = std::make_shared<ShardOwners>();
  for (const ShardOwner& owner : shards_->Owners()) {
    ShardOwners::Owner& row = shown->owners.emplace_back();
    row.generation = owner.generation;
    const auto found = indices.find(owner.instance);
    if (found != indices.end()) row.instance = found->second;
  }
  return shown;
}

void ServiceController::Publish() {
  PlaceShards();
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
  view->held = held_;
  if (current_) {
    view->lacks = lacks_.message();
    view->queue_max = current_->queue_max;
    view->version = current_->version;
  }
  view->is_private = IsPrivate();
  std::vector<const Instance*> shown;
  for (const Instance* instance : instances_) {
    if (Serves(*instance)) shown.push_back(instance);
  }
  const auto canaries = std::stable_partition(
      shown.begin(), shown.end(), [this](const Instance* i) { return !IsCanary(*i); });
  if (canary_) {
    view->canary_instances = static_cast<uint32_t>(shown.end() - canaries);
    view->canary_version = canary_->spec.version;
    view->canary_share = canary_->terms.share;
    view->canary_sticky = canary_->terms.sticky;
  }
  for (const Instance* instance : shown) {
    InstanceView& row = view->instances.emplace_back();
    row.key = instance->key;
    row.id = instance->id;
    row.environment = environment_;
    row.service = service_;
    row.version = instance->version;
    row.listens = !instance->key_hash.empty();
    if (!row.listens) row.address = instance->address;
    row.introducible = instance->peer != nullptr;
    row.concurrency_max = instance->concurrency_max;
    row.load_max = instance->load_max;
    row.load = instance->load;
    view->has_resources |= instance->has_resources;
  }
  view->shards = ShardOwnersOf(*view);
  shell_->Publish(std::move(view));
}

bool ServiceController::IsPrivate() const {
  if (current_) return current_->is_private;
  return std::any_of(instances_.begin(), instances_.end(),
                     [](const Instance* i) { return i->is_private; });
}

Status ServiceController::CheckMayAttach(bool is_private) const {
  if (current_ && current_->is_private && !is_private) {
    return PermissionDenied("attach: " + name().ToString() +
                            " is private and deployed: a program of it has to be private, too");
  }
  const bool known = current_ || std::any_of(instances_.begin(), instances_.end(),
                                             [](const Instance* i) { return i->attached; });
  if (!known || IsPrivate() == is_private) return Status::Ok();
  return FailedPrecondition("attach: " + name().ToString() + " is " +
                            (is_private ? "not " : "") + "private: all of its programs are, or none");
}

Status ServiceController::CheckAttached(const ServiceSpec& spec) const {
  const bool agreed = std::none_of(instances_.begin(), instances_.end(), [&](const Instance* i) {
    return i->attached && i->is_private != spec.is_private;
  });
  if (agreed) return Status::Ok();
  return FailedPrecondition(name().ToString() + " is served by programs that attached themselves and are " +
                            (spec.is_private ? "not private: end them before it becomes private"
                                             : "private: end them before it becomes public"));
}

Status ServiceController::CheckOwners() const {
  if (shards_ == nullptr) {
    return FailedPrecondition("no instance of " + name().ToString() +
                              " has said that it has resources");
  }
  if (shards_->leading()) return Status::Ok();
  return Unavailable("this host does not know who owns them at the moment");
}

StatusOr<OwnerChange> ServiceController::ChangeOwner(std::string_view resource,
                                                     policy::ShardChange change,
                                                     const std::string& to) {
  LEVER_RETURN_IF_ERROR(CheckOwners());
  OwnerChange begun;
  begun.shard = policy::ShardOf(environment_, service_, resource, shards_->shards());
  begun.generation_before = shards_->generation(begun.shard);
  LEVER_ASSIGN_OR_RETURN(begun.to, shards_->Change(begun.shard, change, to));
  return begun;
}

StatusOr<std::vector<OwnerStatus>> ServiceController::ListOwners() const {
  LEVER_RETURN_IF_ERROR(CheckOwners());
  std::vector<OwnerStatus> rows;
  for (ShardOwner& owner : shards_->Owners()) {
    OwnerStatus& row = rows.emplace_back();
    row.shard = static_cast<uint32_t>(rows.size() - 1);
    row.generation = owner.generation;
    row.settled = owner.settled;
    row.paused = owner.paused;
    row.age_ns = shell_->loop().now_ns() - owner.since_ns;
    if (const Instance* instance = FindById(owner.instance)) {
      row.version = instance->version;
      row.calls = instance->load->calls.load(std::memory_order_relaxed);
      row.streams = instance->load->streams.load(std::memory_order_relaxed);
    }
    row.instance = std::move(owner.instance);
  }
  return rows;
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
  status.instances_wanted = scale_.wanted + (canary_ ? canary_->scale.wanted : 0);
  status.last_error = lacks_.ok() ? last_error_.message() : lacks_.message();
  status.backoff_until_ns = scale_.backoff.until_ns();
  return status;
}

}  // namespace lever::scale
