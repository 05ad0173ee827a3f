// Hosts, instances and callers of one service, over one registry: everything that happens to it, drawn from
// a seed. While it is busy the service is scaled and upgraded, its shards are moved, and calls are made;
// with faults hosts and instances pause and die, sessions break, callers give up, shards are closed and
// paused, and the registry refuses, loses and holds back answers.
#ifndef TESTS_HOST_SCALE_OWNERSHIP_WORLD_H_
#define TESTS_HOST_SCALE_OWNERSHIP_WORLD_H_

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/policy/shard.h"
#include "tests/host/scale/fencing_store.h"
#include "tests/host/scale/ownership_history.h"
#include "tests/host/scale/owning_instance.h"
#include "tests/host/scale/shard_links.h"

namespace lever::scale {

class OwnershipWorld {
 public:
  static constexpr uint32_t kShards = 8;
  static constexpr int64_t kStepNs = 200 * kNanosPerMilli;

  OwnershipWorld(uint64_t seed, Faults faults)
      : random_(seed * 2 + (faults == Faults::kNone ? 1 : 0)),
        world_(kShards, faults == Faults::kNone ? registry::FaultyRegistryOptions() : Failing(seed)),
        links_(&world_, &random_),
        store_(&links_, &history_) {
    links_.faulty = faults == Faults::kAny;
    for (uint32_t i = 0; i < 2 * kNamesOfAKind; ++i) {
      names_.push_back((i % 2 == 0 ? "carried-" : "stored-") + std::to_string(i / 2));
    }
    for (uint32_t i = 0; i < kHosts; ++i) AddHost();
    for (size_t i = 0; i < kInstancesMin + 1; ++i) AddInstance();
  }
  ~OwnershipWorld() {
    for (const auto& host : world_.hosts) host->controller->set_shell(nullptr);
  }

  // kStepNs go by.
  void Step() {
    ++links_.step;
    if (links_.faulty) {
      BreakSomething();
    } else {
      world_.faulty->ReleaseHeld();
      for (uint32_t shard = 0; !asking_ && shard < kShards; ++shard) {
        Change(shard, policy::ShardChange::kResume);
      }
    }
    ScaleAndUpgrade();
    world_.AdvanceRegistry(kStepNs);
    for (size_t i = 0; i < kHosts; ++i) {
      ShardHost& host = *world_.hosts[i];
      host.clock.Advance(drifts_[i].Of(kStepNs));
      if (host.paused && links_.step >= host_wakes_[i]) host.paused = false;
    }
    for (const auto& instance : instances_) instance->clock.Advance(instance->drift.Of(kStepNs));
    for (const auto& host : world_.hosts) Live(*host);
    LiveCallers();
    for (const auto& instance : instances_) Live(*instance);
    store_.Live();
    StopDrained();
    for (int i = 0; i < 3; ++i) {
      world_.Read(key_);  // the registry has done what was asked before
      world_.TurnOnce();
    }
  }
  // From now on nothing is asked for and nothing breaks.
  void Calm() {
    asking_ = false;
    links_.faulty = false;
    for (const auto& host : world_.hosts) host->paused = false;
    for (const auto& instance : instances_) instance->steps_paused = 0;
  }
  // How many shards somebody may run calls of.
  uint32_t Owned() const {
    uint32_t owned = 0;
    for (const auto& instance : instances_) {
      for (uint32_t shard = 0; shard < kShards; ++shard) owned += instance->Owns(shard) ? 1 : 0;
    }
    return owned;
  }
  // Calls without an answer.
  size_t waiting() const { return calls_.size(); }
  // Nothing is left of what was scaled down or of another version.
  bool Scaled() const { return Wanted().size() == instances_.size(); }
  const History& history() const { return history_; }

 private:
  static constexpr uint32_t kHosts = 3;
  static constexpr uint32_t kNamesOfAKind = 12;
  static constexpr size_t kInstancesMin = 2;
  static constexpr size_t kInstancesMax = 5;
  // Three grants: as long as anything stands still at most.
  static constexpr uint32_t kPauseSteps = 150;

  static registry::FaultyRegistryOptions Failing(uint64_t seed) {
    return {.seed = seed, .refuse_permille = 20, .lose_answer_permille = 10,
            .hold_permille = 20};
  }
  bool OneIn(uint32_t n) { return links_.OneIn(n); }

  void AddHost() {
    ShardHost& host =
        world_.AddHost("h-" + std::to_string(world_.hosts.size()),
                       kSecond + static_cast<int64_t>(random_.Below(1'000'000)) * kSecond);
    drifts_.emplace_back(&random_);
    host.shell.on_shards = [this, &host](const std::string& id,
                                         const fleet::ShardOrdersData& orders) {
      OwningInstance* to = Find(id);
      links_.Send(host, to, [to, orders] { to->OnOrders(orders); });
    };
    host.shell.on_renewed = [this, &host](const std::string& id, uint64_t renewal) {
      OwningInstance* to = Find(id);
      links_.Send(host, to, [to, renewal] { to->OnRenewed(renewal); });
    };
    host.shell.on_state = [this, &host](const std::string& id,
                                        const fleet::StateAnswerData& answer) {
      OwningInstance* to = Find(id);
      links_.Send(host, to, [to, answer] { to->OnState(answer); });
    };
    host.shell.why = [this](const std::string& from) {
      const OwningInstance* instance = Find(from);
      if (instance == nullptr) return fleet::ShardCloseReason::kMoved;
      if (instance->version != version_) return fleet::ShardCloseReason::kUpgrade;
      return instance->stopping ? fleet::ShardCloseReason::kStopping
                                : fleet::ShardCloseReason::kMoved;
    };
  }
  void AddInstance() {
    OwningInstance::Around around{&links_, &history_, &store_,
                                  [this](uint64_t call, CallAnswer answer) {
                                    answers_.emplace(links_.Arrival(), std::pair(call, answer));
                                  }};
    instances_.push_back(std::make_unique<OwningInstance>(
        "i-" + std::to_string(++instances_made_), version_, kShards, std::move(around)));
  }
  OwningInstance* Find(const std::string& id) {
    for (const auto& instance : instances_) {
      if (instance->id == id) return instance.get();
    }
    return nullptr;
  }
  OwningInstance& AnyInstance() {
    return *instances_[random_.Below(static_cast<uint32_t>(instances_.size()))];
  }
  ShardHost& AnyHost() { return *world_.hosts[random_.Below(kHosts)]; }

  // ---- Callers ----
  struct Call {
    std::string resource;
    std::string at;  // where it was sent last
    // Whom the last refusal has named.
    std::string owner;
    uint64_t generation = 0;
  };

  void Ask() {
    const uint64_t increment = ++calls_made_;
    Call& call = calls_[increment];
    call.resource = names_[random_.Below(static_cast<uint32_t>(names_.size()))];
    HistoryEvent event;
    event.kind = HistoryEvent::Kind::kAsked;
    event.increment = increment;
    event.resource = call.resource;
    history_.push_back(event);
    due_.emplace(links_.step, increment);
  }
  void TryAgain(uint64_t increment) {
    due_.emplace(links_.step + 1 + static_cast<int>(random_.Below(4)), increment);
  }
  void Send(uint64_t increment) {
    const auto found = calls_.find(increment);
    if (found == calls_.end()) return;  // given up
    Call& call = found->second;
    const uint32_t shard =
        policy::ShardOf(ShardWorld::kEnvironment, ShardWorld::kService, call.resource, kShards);
    std::string owner = std::exchange(call.owner, "");
    uint64_t generation = call.generation;
    // What it was told may be older than what is known by now.
    const bool known = !table_.empty() && table_[shard].generation >= generation;
    if (owner.empty() ? !table_.empty() : known) {
      owner = table_[shard].instance;
      // Some know of no generations.
      generation = random_.Below(10) == 0 ? 0 : table_[shard].generation;
    }
    OwningInstance* to = Find(owner);
    if (to == nullptr) return TryAgain(increment);
    call.at = owner;
    to->Call(increment, call.resource, shard, generation);
  }
  void OnAnswer(uint64_t increment, const CallAnswer& answer) {
    const auto found = calls_.find(increment);
    if (found == calls_.end()) return;
    if (answer.kind == CallAnswer::Kind::kRefused) {
      found->second.owner = answer.owner;
      found->second.generation = answer.generation;
      return TryAgain(increment);
    }
    if (answer.kind == CallAnswer::Kind::kCounted) {
      HistoryEvent event;
      event.kind = HistoryEvent::Kind::kAcknowledged;
      event.increment = increment;
      event.resource = found->second.resource;
      history_.push_back(event);
    }
    calls_.erase(found);
  }
  void LiveCallers() {
    // Tables are a little behind, and of any host that believes that it decides.
    if (random_.Below(2) == 0) {
      const ShardHost& host = AnyHost();
      if (host.controller->leading()) table_ = host.controller->Owners();
    }
    if (asking_) {
      for (uint32_t i = random_.Below(5); i > 0; --i) Ask();
    }
    if (OneIn(50) && !calls_.empty()) {
      const auto gone = calls_.lower_bound(random_.Below(static_cast<uint32_t>(calls_made_)));
      OwningInstance* at = gone == calls_.end() ? nullptr : Find(gone->second.at);
      if (at != nullptr) at->GiveUp(gone->first);
      if (gone != calls_.end()) calls_.erase(gone);
    }
    while (!answers_.empty() && answers_.begin()->first <= links_.step) {
      const auto [increment, answer] = std::move(answers_.begin()->second);
      answers_.erase(answers_.begin());
      OnAnswer(increment, answer);
    }
    while (!due_.empty() && due_.begin()->first <= links_.step) {
      const uint64_t increment = due_.begin()->second;
      due_.erase(due_.begin());
      Send(increment);
    }
  }

  // ---- The fleet ----
  std::vector<OwningInstance*> Wanted() const {
    std::vector<OwningInstance*> wanted;
    for (const auto& instance : instances_) {
      if (!instance->stopping && instance->version == version_) wanted.push_back(instance.get());
    }
    return wanted;
  }
  void ScaleAndUpgrade() {
    const std::vector<OwningInstance*> wanted = Wanted();
    const size_t count = wanted.size();
    bool all_there = true;
    for (const OwningInstance* instance : wanted) {
      all_there &= instance->host != nullptr && instance->known_session == instance->session;
    }
    // The new version is there: it takes over.
    for (const auto& instance : instances_) {
      if (all_there && instance->version != version_) instance->stopping = true;
    }
    if (!asking_ || !all_there) return;
    if (random_.Below(60) == 0) {
      ++version_;
      for (size_t i = 0; i < count; ++i) AddInstance();
    } else if (random_.Below(40) == 0) {
      if (random_.Below(2) == 0 ? count < kInstancesMax : count <= kInstancesMin) {
        AddInstance();
      } else if (count > kInstancesMin) {
        wanted[random_.Below(static_cast<uint32_t>(count))]->stopping = true;
      }
    }
    if (random_.Below(30) == 0) {
      Change(static_cast<uint32_t>(random_.Below(kShards)), policy::ShardChange::kMove);
    }
  }
  void Change(uint32_t shard, policy::ShardChange change) {
    for (const auto& host : world_.hosts) {
      if (host->paused) continue;
      world_.On(*host, [&] { (void)host->controller->Change(shard, change, ""); });
    }
  }
  // Some host that decides has, or may be about to have, it own something.
  bool IsNamed(const std::string& id) {
    for (const auto& host : world_.hosts) {
      if (!host->controller->Quiet()) return true;
      for (const ShardOwner& owner : host->controller->Owners()) {
        if (owner.instance == id) return true;
      }
    }
    return false;
  }
  // Those that have handed over everything go.
  void StopDrained() {
    for (size_t i = instances_.size(); i-- > 0;) {
      OwningInstance& instance = *instances_[i];
      if (!instance.stopping || !instance.Idle() || IsNamed(instance.id)) continue;
      instance.End(CallAnswer::Kind::kRefused);
      Bury(i, true);
    }
  }
  void Kill(size_t at) {
    const bool replace = !instances_[at]->stopping;
    instances_[at]->End(CallAnswer::Kind::kUnknown);
    Bury(at, random_.Below(2) == 0);
    if (replace) AddInstance();
  }
  void Bury(size_t at, bool seen) {
    links_.End(*instances_[at], seen);
    dead_.push_back(std::move(instances_[at]));
    instances_.erase(instances_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // ---- Faults ----
  void BreakSomething() {
    if (OneIn(30)) {
      // Shorter than a grant as often as not.
      const uint32_t most = random_.Below(2) == 0 ? kPauseSteps : kPauseSteps / 4;
      AnyInstance().steps_paused = static_cast<int>(random_.Below(most));
    }
    if (OneIn(60)) {
      const size_t at = random_.Below(kHosts);
      world_.hosts[at]->paused = true;
      host_wakes_[at] = links_.step + static_cast<int>(random_.Below(kPauseSteps));
    }
    if (OneIn(25)) links_.Cut(AnyInstance());
    if (OneIn(60)) Kill(random_.Below(static_cast<uint32_t>(instances_.size())));
    if (OneIn(20)) {
      constexpr policy::ShardChange kChanges[] = {policy::ShardChange::kClose,
                                                  policy::ShardChange::kPause,
                                                  policy::ShardChange::kResume};
      Change(static_cast<uint32_t>(random_.Below(kShards)),
             kChanges[random_.Below(std::size(kChanges))]);
    }
    if (OneIn(100)) world_.faulty->HoldAll();
    if (random_.Below(15) == 0) world_.faulty->ReleaseHeld();
  }
  // ---- Time ----
  void Live(ShardHost& host) {
    if (host.paused) return;
    links_.ArriveAt(host, instances_, [] {});
    std::vector<ShardTaker> eligible;
    for (const auto& instance : instances_) {
      if (instance->host == &host && !instance->stopping) eligible.push_back({instance->id});
    }
    if (links_.step % 3 == 0) world_.On(host, [&] { host.controller->SetEligible(eligible); });
  }
  void Live(OwningInstance& instance) {
    const bool awake = instance.steps_paused == 0;
    instance.Live();
    if (!awake) return;
    if (instance.host == nullptr && random_.Below(3) == 0) links_.Connect(instance);
    // A host that does not decide has nothing to tell.
    if (instance.host != nullptr && !instance.host->controller->leading() &&
        !instance.host->paused && random_.Below(20) == 0) {
      links_.Cut(instance);
    }
  }

  const std::string key_ = registry::ControllerKey(ShardWorld::kEnvironment, ShardWorld::kService);
  Random random_;
  ShardWorld world_;
  ShardLinks links_;
  History history_;
  FencingStore store_;
  std::vector<Drift> drifts_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<OwningInstance>> instances_;
  std::vector<std::unique_ptr<OwningInstance>> dead_;  // messages of theirs may be under way
  std::map<size_t, int> host_wakes_;
  std::vector<ShardOwner> table_;  // as the callers know it
  std::map<uint64_t, Call> calls_;
  std::multimap<int, uint64_t> due_;                              // calls to be sent, by step
  std::multimap<int, std::pair<uint64_t, CallAnswer>> answers_;  // by step
  uint64_t calls_made_ = 0;
  uint64_t version_ = 1;
  int instances_made_ = 0;
  bool asking_ = true;
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_OWNERSHIP_WORLD_H_
