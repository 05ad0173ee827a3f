#include "liblever/host/scale/shard_controller.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/registry/schema.h"
#include "liblever/policy/shard.h"

namespace lever::scale {

using fleet::ShardOrderKind;
using fleet::StateRequestKind;
using policy::LedgerAction;

ShardController::ShardController(Loop* loop, registry::Registry* registry, HostLease* lease,
                                 std::string host, std::string environment, std::string service,
                                 uint32_t shards, uint64_t carried_bytes_max)
    : loop_(loop),
      registry_(registry),
      lease_(lease),
      host_(std::move(host)),
      environment_(std::move(environment)),
      service_(std::move(service)),
      shards_(shards),
      carried_bytes_max_(carried_bytes_max),
      balance_(shards) {
  lease_->OnGranted([this] {
    if (led_under_ != registry::kNoLease && led_under_ != lease_->id()) Resign("its lease ended");
    Compete();
  });
  lease_->Want();
  Compete();
}

ShardController::~ShardController() {
  loop_->Disarm(&timer_);
  loop_->Disarm(&act_timer_);
}

// ---- Leading ----

void ShardController::Compete() {
  if (competing_ || led_under_ != registry::kNoLease || lease_->id() == registry::kNoLease) return;
  competing_ = true;
  const std::string key = registry::ControllerKey(environment_, service_);
  const registry::LeaseId lease = lease_->id();
  registry::Transaction take;
  take.If(registry::Compare::Missing(key))
      .Then(registry::Operation::Put(key, host_, lease))
      .Else(registry::Operation::Get(key));
  registry_->Commit(std::move(take), [this, lease](const auto& result) {
    competing_ = false;
    OnCompeted(result, lease);
  });
}

void ShardController::OnCompeted(const StatusOr<registry::TransactionResult>& result,
                                 registry::LeaseId lease) {
  if (!result.ok() && result.status().code() == LEVER_CANCELLED) return;  // it was closed
  registry::Revision revision = 0;
  if (result.ok() && result->succeeded) {
    revision = result->revision;
  } else if (result.ok()) {
    // An attempt of which the outcome was not known may have been ours.
    const auto& entry = result->results.at(0).entry;
    if (entry && entry->lease == lease && entry->value == host_) revision = entry->create_revision;
  }
  if (revision == 0 || lease != lease_->id()) return ArmTimer();
  led_under_ = lease;
  // Others may have granted until they lost the key, which was before now.
  Lead(revision, loop_->clock().NowNs());
}

void ShardController::Lead(registry::Revision revision, int64_t since_ns) {
  const auto holder = registry::Compare::CreateRevision(
      registry::ControllerKey(environment_, service_), revision);
  std::erase_if(old_stores_, [](const auto& store) { return store->idle(); });
  if (store_ != nullptr) old_stores_.push_back(std::move(store_));
  store_ = std::make_unique<ShardStore>(registry_, environment_, service_, shards_, holder);
  std::erase_if(old_states_, [](const auto& states) { return states->idle(); });
  if (states_ != nullptr) {
    states_->Abandon();
    old_states_.push_back(std::move(states_));
  }
  states_ = std::make_unique<StateStore>(registry_, environment_, service_, holder,
                                         carried_bytes_max_);
  ++term_;
  store_->Load([this, term = term_, since_ns](StatusOr<ShardStore::Loaded> loaded) {
    if (term == term_ && led_under_ != registry::kNoLease) OnLoaded(std::move(loaded), since_ns);
  });
}

void ShardController::OnLoaded(StatusOr<ShardStore::Loaded> loaded, int64_t since_ns) {
  if (!loaded.ok()) return Resign(loaded.status().ToString());
  ledger_ = std::make_unique<policy::ShardLedger>(std::move(loaded->rows),
                                                  loaded->last_generation, since_ns);
  writes_ = 0;
  since_ns_.assign(shards_, loop_->now_ns());
  for (const auto& [instance, renewal] : sessions_) ledger_->OnSession(instance);
  Place();
  rows_changed_ = false;
  Changed();
  // Asked while nothing was known; behind what the instances were told now.
  for (auto& [instance, renewal] : sessions_) {
    if (renewal != 0) OnRenew(instance, std::exchange(renewal, 0));
  }
}

void ShardController::Resign(const std::string& why) {
  Log(LogLevel::kWarning, "lever://" + environment_ + "/" + service_ +
                              ": this host does not decide about its resources for now: " + why);
  ledger_.reset();
  if (states_ != nullptr) states_->Abandon();
  wishes_ = {};
  led_under_ = registry::kNoLease;
  ++term_;
  ArmTimer();
  Changed();
}

bool ShardController::LeaseHolds() const {
  return lease_->id() == led_under_ && lease_->Valid();
}

void ShardController::Changed() {
  if (shell_ != nullptr) shell_->OnOwnersChanged();
}

void ShardController::ArmTimer() {
  int64_t at_ns = DeadlineAfter(loop_->now_ns(), kRetryNs);
  if (ledger_ != nullptr) at_ns = ledger_->WakeAtNs();
  if (at_ns == kNever) return loop_->Disarm(&timer_);
  loop_->Arm(&timer_, at_ns);
}

void ShardController::OnTimer() {
  if (ledger_ == nullptr) return Compete();
  ledger_->OnTime(loop_->clock().NowNs());
  Act();
}

// ---- Deciding ----

void ShardController::SetEligible(std::vector<ShardTaker> instances) {
  std::sort(instances.begin(), instances.end(), [](const ShardTaker& a, const ShardTaker& b) {
    return a.instance < b.instance;
  });
  std::vector<std::string> eligible;
  std::vector<double> weights;
  for (ShardTaker& taker : instances) {
    eligible.push_back(std::move(taker.instance));
    weights.push_back(taker.weight);
  }
  if (eligible == eligible_ && weights == weights_) return;
  eligible_ = std::move(eligible);
  weights_ = std::move(weights);
  by_load_ = true;
  balance_.Moved(loop_->now_ns());
  if (ledger_ != nullptr) Place();
}

std::vector<policy::PlacementInstance> ShardController::Takers() const {
  std::vector<policy::PlacementInstance> instances;
  for (size_t i = 0; i < eligible_.size(); ++i) {
    instances.push_back({.id = eligible_[i], .weight = weights_[i]});
  }
  return instances;
}

// The shards with their owners among those that may have them, and their loads.
std::vector<policy::PlacementShard> ShardController::OwnedBy(int64_t now_ns) const {
  std::vector<policy::PlacementShard> shards(shards_);
  for (uint32_t i = 0; i < shards_; ++i) {
    shards[i].load = balance_.LoadAt(now_ns, i);
    const auto at = std::lower_bound(eligible_.begin(), eligible_.end(), ledger_->row(i).owner);
    if (at == eligible_.end() || *at != ledger_->row(i).owner) continue;
    shards[i].owner = static_cast<uint32_t>(at - eligible_.begin());
  }
  return shards;
}

// A shard that is being handed to one who may have it stays with that one until it is: calls wait for it
// there, and would have to follow.
void ShardController::Place() {
  unplaced_ = false;
  std::vector<policy::PlacementShard> shards = OwnedBy(loop_->now_ns());
  // Of what is asked for otherwise, nothing else moves.
  if (!by_load_) {
    for (policy::PlacementShard& shard : shards) shard.load = 0;
  }
  const std::vector<uint32_t> placed = policy::PlaceShards(Takers(), shards);
  std::vector<std::string> targets(shards_);
  for (uint32_t i = 0; i < shards_; ++i) {
    if (placed[i] != policy::kNoInstance) targets[i] = eligible_[placed[i]];
  }
  wishes_.Apply(eligible_, &targets);
  for (uint32_t i = 0; i < shards_; ++i) {
    if (ledger_->Settled(i) || shards[i].owner == policy::kNoInstance) continue;
    unplaced_ |= targets[i] != ledger_->row(i).owner;
    targets[i] = ledger_->row(i).owner;
  }
  if (!unplaced_) by_load_ = false;
  ledger_->SetTargets(targets, loop_->clock().NowNs());
  Act();
}

StatusOr<std::string> ShardController::ChooseFor(uint32_t shard, const std::string& to) const {
  const std::string& owner = ledger_->row(shard).owner;
  if (!to.empty()) {
    if (std::binary_search(eligible_.begin(), eligible_.end(), to)) return to;
    return FailedPrecondition(to + " is no instance of it that may have resources");
  }
  std::map<std::string, uint32_t> shards_of;
  for (const std::string& id : eligible_) shards_of[id] = 0;
  for (uint32_t i = 0; i < shards_; ++i) {
    const auto of = shards_of.find(ledger_->row(i).owner);
    if (of != shards_of.end()) ++of->second;
  }
  shards_of.erase(owner);
  if (shards_of.empty()) return FailedPrecondition("there is no other instance that may have it");
  const auto fewest = std::min_element(
      shards_of.begin(), shards_of.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  return fewest->first;
}

StatusOr<std::string> ShardController::Change(uint32_t shard, policy::ShardChange change,
                                              const std::string& to) {
  if (ledger_ == nullptr) {
    return Unavailable("this host does not decide about the service's resources at the moment");
  }
  if (change != policy::ShardChange::kResume && wishes_.paused(shard)) {
    return FailedPrecondition("it is paused: resume it first");
  }
  std::string instance;
  switch (change) {
    case policy::ShardChange::kMove: {
      LEVER_ASSIGN_OR_RETURN(instance, ChooseFor(shard, to));
      wishes_.Move(shard, instance);
      break;
    }
    case policy::ShardChange::kClose:
      if (ledger_->row(shard).owner.empty()) return FailedPrecondition("nobody has it");
      wishes_.Close(shard);
      break;
    case policy::ShardChange::kPause: wishes_.Pause(shard); break;
    case policy::ShardChange::kResume:
      if (!wishes_.Resume(shard)) return FailedPrecondition("it is not paused");
      break;
  }
  Place();
  return instance;
}

std::vector<ShardOwner> ShardController::Owners() const {
  std::vector<ShardOwner> owners;
  if (ledger_ == nullptr) return owners;
  owners.resize(shards_);
  for (uint32_t i = 0; i < shards_; ++i) {
    const policy::ShardRow& row = ledger_->row(i);
    owners[i] = {row.owner, row.generation, ledger_->Settled(i), since_ns_[i], wishes_.paused(i)};
  }
  return owners;
}

bool ShardController::Quiet() const {
  if (ledger_ == nullptr) return true;
  if (writes_ > 0) return false;
  for (uint32_t i = 0; i < shards_; ++i) {
    if (!ledger_->Settled(i) && sessions_.contains(ledger_->row(i).from)) return false;
  }
  return true;
}

// Many shards move at a time: what becomes of them in one turn goes together.
void ShardController::ActSoon() { loop_->Arm(&act_timer_, loop_->now_ns()); }

// Does what the ledger wants done. What it does may make the ledger want more, also from inside.
void ShardController::Act() {
  loop_->Disarm(&act_timer_);
  if (std::exchange(acting_, true)) return;
  while (ledger_ != nullptr) {
    // After a pause somebody else may decide. An instance that has come since then would take what it is told
    // here for true: its grant was renewed by the other one.
    if (!LeaseHolds()) {
      Resign("its lease may have ended");
      break;
    }
    const std::vector<LedgerAction> actions = ledger_->TakeActions();
    if (actions.empty() && !rows_changed_) break;
    std::map<std::string, fleet::ShardOrdersData> orders;
    for (const LedgerAction& action : actions) {
      if (ledger_ == nullptr) break;
      Do(action, &orders);
    }
    // Whoever lets go refuses calls from then on: the tables of this host know better before.
    if (std::exchange(rows_changed_, false)) Changed();
    if (shell_ == nullptr) continue;
    for (auto& [instance, told] : orders) shell_->TellShards(instance, std::move(told));
  }
  acting_ = false;
  if (ledger_ == nullptr) return;
  ArmTimer();
  const auto let_go = [this](uint32_t shard) {
    return ledger_->Settled(shard) && ledger_->row(shard).owner.empty();
  };
  if (wishes_.Reopen(let_go) || (unplaced_ && AllSettled())) Place();
}

bool ShardController::AllSettled() const {
  for (uint32_t i = 0; i < shards_; ++i) {
    if (!ledger_->Settled(i)) return false;
  }
  return true;
}

void ShardController::Do(const LedgerAction& action,
                         std::map<std::string, fleet::ShardOrdersData>* orders) {
  using Kind = LedgerAction::Kind;
  switch (action.kind) {
    case Kind::kWrite: {
      ++writes_;
      store_->Write(action.shard, action.row, ledger_->last_generation(),
                    [this, term = term_, shard = action.shard](ShardStore::Result result) {
                      if (term != term_ || ledger_ == nullptr) return;
                      --writes_;
                      if (result == ShardStore::Result::kUnknown ||
                          result == ShardStore::Result::kNotHolder) {
                        return Resign("a row of it could not be written");
                      }
                      const uint64_t before = ledger_->row(shard).generation;
                      const bool durable = result == ShardStore::Result::kDurable;
                      ledger_->OnWritten(shard, durable, loop_->clock().NowNs());
                      rows_changed_ |= durable;
                      if (ledger_->row(shard).generation != before) {
                        since_ns_[shard] = loop_->now_ns();
                      }
                      ActSoon();
                    });
      return;
    }
    case Kind::kSynced:
      (*orders)[action.instance].begins = true;
      (*orders)[action.instance].synced = true;
      return;
    case Kind::kName:
    case Kind::kGrant:
    case Kind::kRelease: break;
  }
  fleet::ShardOrderData& order = (*orders)[action.instance].orders.emplace_back();
  order.shard = action.shard;
  order.generation = action.generation;
  if (action.kind != Kind::kRelease) {
    order.kind = action.kind == Kind::kName ? ShardOrderKind::kName : ShardOrderKind::kGrant;
    return;
  }
  order.kind = ShardOrderKind::kRelease;
  order.next = action.next;
  order.next_generation = action.next.empty() ? 0 : ledger_->row(action.shard).generation;
  if (shell_ != nullptr) order.reason = shell_->WhyItMoves(action.instance);
}

// ---- Attach sessions ----

void ShardController::OnSession(const std::string& instance) {
  sessions_[instance] = 0;
  if (ledger_ == nullptr) return;
  ledger_->OnSession(instance);
  Act();
}

void ShardController::OnSessionEnd(const std::string& instance) {
  sessions_.erase(instance);
  if (ledger_ == nullptr) return;
  ledger_->OnSessionEnd(instance);
  Act();
  ArmTimer();
}

void ShardController::OnEnded(const std::string& instance) {
  sessions_.erase(instance);
  if (ledger_ == nullptr) return;
  ledger_->OnEnded(instance, loop_->clock().NowNs());
  Act();
}

void ShardController::OnRenew(const std::string& instance, uint64_t id) {
  const auto session = sessions_.find(instance);
  if (session == sessions_.end()) return;
  if (ledger_ == nullptr) {
    session->second = id;
    return;
  }
  if (!LeaseHolds()) return;
  if (!ledger_->AnswerRenewal(instance, loop_->clock().NowNs())) return;
  if (shell_ != nullptr) shell_->TellRenewed(instance, id);
}

void ShardController::OnReleased(const std::string& instance,
                                 const fleet::ShardReleasedData& released) {
  if (ledger_ == nullptr || released.shard >= shards_) return;
  ledger_->OnReleased(instance, released.shard, released.generation, released.clean,
                      loop_->clock().NowNs());
  ActSoon();
}

// ---- Loads ----

// Calls that wait for a shard which moves say nothing about it, nor does who has it no more.
void ShardController::OnLoads(const std::string& instance, const fleet::ShardLoadsData& loads,
                              double stream_load) {
  if (ledger_ == nullptr) return;
  const int64_t now_ns = loop_->now_ns();
  for (const fleet::ShardLoadsData::Load& load : loads.loads) {
    if (load.shard >= shards_ || !ledger_->Settled(load.shard)) continue;
    if (ledger_->row(load.shard).owner != instance) continue;
    const double weighed = load.calls_milli + load.streams * stream_load * policy::kLoadOfACall;
    balance_.Observe(now_ns, load.shard,
                     static_cast<uint32_t>(std::min(weighed, static_cast<double>(UINT32_MAX))),
                     loads.window_ns);
  }
  if (now_ns < DeadlineAfter(loads_considered_ns_, kConsiderLoadsNs)) return;
  loads_considered_ns_ = now_ns;
  ConsiderLoads();
}

void ShardController::ConsiderLoads() {
  if (by_load_ || unplaced_ || !AllSettled()) return;
  const int64_t now_ns = loop_->now_ns();
  if (!balance_.ShouldMove(now_ns, Takers(), OwnedBy(now_ns))) return;
  Log(LogLevel::kInfo, "lever://" + environment_ + "/" + service_ +
                           ": shards move to other instances, since the load of their resources is "
                           "uneven");
  by_load_ = true;
  Place();
}

// ---- What resources carry ----

// Whether the instance has, or has not let go of, the shard under that generation.
bool ShardController::MayHold(const std::string& instance, uint32_t shard,
                              uint64_t generation) const {
  if (shard >= shards_) return false;
  const policy::ShardRow& row = ledger_->row(shard);
  if (!row.from.empty()) return row.from == instance && row.from_generation == generation;
  return row.owner == instance && row.generation == generation;
}

void ShardController::OnState(const std::string& instance, fleet::StateRequestData request) {
  if (ledger_ == nullptr) return;  // it is asked again after the next sync
  if (!MayHold(instance, request.shard, request.generation)) {
    return Answer(instance, request.id,
                  FailedPrecondition("the instance does not own the shard").WithExecuted(
                      LEVER_EXECUTED_NO));
  }
  // Else it could have what another owner's resource carries deleted.
  if (request.resource.empty() ||
      policy::ShardOf(environment_, service_, request.resource, shards_) != request.shard) {
    return Answer(instance, request.id,
                  InvalidArgument("the resource is not of that shard").WithExecuted(
                      LEVER_EXECUTED_NO));
  }
  const auto done = [this, instance, id = request.id](const Status& status) {
    Answer(instance, id, status);
  };
  const bool keeps =
      request.kind == StateRequestKind::kCarry || request.kind == StateRequestKind::kLose;
  if (discards_ && keeps) return done(Status::Ok());
  switch (request.kind) {
    case StateRequestKind::kOpen: return OpenState(instance, request);
    case StateRequestKind::kOpened: return states_->Forget(request.resource, done);
    case StateRequestKind::kCarry:
      return states_->Carry(request.resource, request.generation, request.payload_kind,
                            request.payload, done);
    case StateRequestKind::kLose:
      return states_->Lose(request.resource, request.generation, done);
    case StateRequestKind::kUnknown: return done(Unimplemented("an unknown request about a state"));
  }
}

void ShardController::OpenState(const std::string& instance,
                                const fleet::StateRequestData& request) {
  const bool unclean = ledger_->row(request.shard).unclean;
  states_->Read(request.resource,
                [this, instance, id = request.id, unclean](fleet::StateAnswerData answer) {
                  answer.id = id;
                  // It may have been open with an owner that went without a word.
                  if (unclean && answer.origin == fleet::StateOrigin::kNew) {
                    answer.origin = fleet::StateOrigin::kLost;
                  }
                  if (shell_ != nullptr) shell_->TellState(instance, std::move(answer));
                });
}

void ShardController::Answer(const std::string& instance, uint64_t id, const Status& status) {
  fleet::StateAnswerData answer;
  answer.id = id;
  answer.status = status;
  if (shell_ != nullptr) shell_->TellState(instance, std::move(answer));
}

}  // namespace lever::scale
