// The promise of ownership, looked for the contrary of: instances, two controllers that take turns and a
// registry, each with a clock of its own rate, over links that delay and break, with pauses and deaths at
// every moment. After each event at most one instance has a valid grant for each shard.
//
// LEVER_SIMULATION_SEEDS: how many runs (the default takes a few seconds).
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "liblever/policy/grant.h"
#include "liblever/policy/owned_shards.h"
#include "liblever/policy/placement.h"
#include "liblever/policy/shard_ledger.h"

namespace lever::policy {
namespace {

constexpr uint32_t kShards = 8;
constexpr int64_t kSecond = kNanosPerSecond;
constexpr int64_t kLeaseTtlNs = 5 * kSecond;
constexpr int64_t kFaultsEndNs = 240 * kSecond;
constexpr int64_t kEndNs = 330 * kSecond;

class Simulation;

// Something with a clock, that can be paused (what happens to it waits) and die (it is forgotten).
class Process {
 public:
  Process(Simulation* world, std::string id);
  virtual ~Process() = default;

  int64_t Now() const;
  // In so much true time, unless it dies before; later if it is paused then.
  void After(int64_t delay_ns, std::function<void()> action);
  void Pause(int64_t for_ns);

  Simulation* const world;
  const std::string id;
  bool dead = false;

 private:
  void Run(const std::function<void()>& action);
  void GoOn();

  int64_t offset_ns_;
  double rate_;
  int64_t paused_until_ns_ = 0;
  std::deque<std::function<void()>> waiting_;  // what happened to it in the pause, in order
};

class Registry {
 public:
  std::vector<ShardRow> rows{kShards};
  uint64_t counter = 0;
  uint64_t lease_epoch = 0;   // of the newest lease
  int64_t lease_end_ns = 0;   // on the registry's clock, which is the true one
};

class Controller;
class Instance;

// Messages between one instance and one controller, in order; both ends see the cut.
struct Link {
  Instance* instance = nullptr;
  Controller* controller = nullptr;
  bool open = true;
  int64_t to_instance_ns = 0;  // when the last message each way arrives
  int64_t to_controller_ns = 0;
};

class Controller final : public Process {
 public:
  using Process::Process;
  void Start();
  void OnSession(const std::shared_ptr<Link>& link);
  void OnRenewal(const std::shared_ptr<Link>& link, int64_t asked_ns);
  void OnReleased(const std::shared_ptr<Link>& link, uint32_t shard, uint64_t generation, bool clean);
  void OnCut(const std::shared_ptr<Link>& link);
  void OnEnded(const std::string& instance);
  bool Leads() const { return ledger != nullptr && Now() < lease_end_ns_; }

  std::unique_ptr<ShardLedger> ledger;

 private:
  void Compete();
  void KeepAlive();
  void Look();
  void Place();
  void Act();
  void Write(const LedgerAction& action);
  void Resign();

  uint64_t epoch_ = 0;
  int64_t lease_end_ns_ = 0;
  std::map<std::string, std::shared_ptr<Link>> links_;
};

class Instance final : public Process {
 public:
  using Process::Process;
  void Start();
  void OnMessage(const std::shared_ptr<Link>& link, const LedgerAction& action);
  void OnRenewed(const std::shared_ptr<Link>& link, int64_t asked_ns);
  void OnCut(const std::shared_ptr<Link>& link);
  bool Valid(uint32_t shard) const {
    return shards.MayReply(shard, shards.generation(shard), Now());
  }

  OwnedShards shards{kShards};
  bool wants_shards = true;
  std::shared_ptr<Link> link;

 private:
  void Connect();
  void Renew();
  void OnRelease(const std::shared_ptr<Link>& on, uint32_t shard, uint64_t generation);

  std::set<std::pair<uint32_t, uint64_t>> unclean_;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random(seed) {}

  void At(int64_t at_ns, std::function<void()> action) {
    events_.push({at_ns, next_event_++, std::move(action)});
  }
  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  }
  bool OneIn(int64_t n) { return Below(n) == 0; }
  int64_t Delay() {
    return Faulty() && OneIn(20) ? Below(6 * kSecond) : Below(20 * kNanosPerMilli);
  }
  bool Faulty() const { return now_ns < kFaultsEndNs; }

  void Run();

  std::mt19937_64 random;
  int64_t now_ns = 0;
  Registry registry;
  std::vector<std::unique_ptr<Controller>> controllers;
  std::vector<std::unique_ptr<Instance>> instances;
  uint64_t handed_over = 0;  // shards that had an owner and got another

 private:
  struct Event {
    int64_t at_ns;
    uint64_t number;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::pair(at_ns, number) > std::pair(other.at_ns, other.number);
    }
  };
  void Fault();
  void Check();
  void CheckEnd();
  void AddInstance();
  void AddController();

  std::priority_queue<Event> events_;
  uint64_t next_event_ = 0;
  // By shard: who was seen with a valid grant last, and under which generation.
  std::map<uint32_t, std::pair<std::string, uint64_t>> seen_;
};

// ---- Process ----

Process::Process(Simulation* in, std::string name)
    : world(in),
      id(std::move(name)),
      offset_ns_(in->Below(1000 * kSecond)),
      rate_(1 + static_cast<double>(in->Below(1000) - 500) / 1'000'500) {}

int64_t Process::Now() const {
  return offset_ns_ + static_cast<int64_t>(static_cast<double>(world->now_ns) * rate_);
}

void Process::After(int64_t delay_ns, std::function<void()> action) {
  world->At(world->now_ns + delay_ns, [this, action = std::move(action)] { Run(action); });
}

void Process::Run(const std::function<void()>& action) {
  if (dead) return;
  if (world->now_ns >= paused_until_ns_ && waiting_.empty()) return action();
  waiting_.push_back(action);
  if (waiting_.size() == 1) world->At(paused_until_ns_, [this] { GoOn(); });
}

// The pause is over, unless it has become longer meanwhile. No message overtakes another by that: a link keeps
// their order.
void Process::GoOn() {
  if (dead) return;
  if (world->now_ns < paused_until_ns_) {
    return world->At(paused_until_ns_, [this] { GoOn(); });
  }
  for (const auto& action : std::exchange(waiting_, {})) {
    if (!dead) action();
  }
}

void Process::Pause(int64_t for_ns) {
  paused_until_ns_ = std::max(paused_until_ns_, world->now_ns + for_ns);
}

// A message that is on its way when the link is cut may arrive or not.
template <typename To>
void SendOver(const std::shared_ptr<Link>& link, Process* from, To* to, int64_t* last_ns,
              std::function<void()> deliver) {
  if (!link->open) return;
  Simulation* world = from->world;
  *last_ns = std::max(*last_ns, world->now_ns + world->Delay());
  to->After(*last_ns - world->now_ns, [link, deliver = std::move(deliver)] {
    if (link->open) deliver();
  });
}

void Cut(const std::shared_ptr<Link>& link) {
  if (!std::exchange(link->open, false)) return;
  link->instance->After(link->instance->world->Delay(),
                        [link] { link->instance->OnCut(link); });
  link->controller->After(link->controller->world->Delay(),
                          [link] { link->controller->OnCut(link); });
}

// ---- Controller ----

void Controller::Start() {
  Compete();
  Look();
}

void Controller::Compete() {
  if (ledger == nullptr) {
    const int64_t asked_ns = Now();
    After(world->Delay(), [this, asked_ns] {
      // What follows happens in the registry.
      Registry& registry = world->registry;
      if (ledger != nullptr || world->now_ns < registry.lease_end_ns) return;
      const uint64_t epoch = ++registry.lease_epoch;
      registry.lease_end_ns = world->now_ns + kLeaseTtlNs;
      const std::vector<ShardRow> rows = registry.rows;
      const uint64_t counter = registry.counter;
      After(world->Delay(), [this, asked_ns, epoch, rows, counter] {
        if (ledger != nullptr) return;
        epoch_ = epoch;
        lease_end_ns_ = LeaseEndNs(asked_ns, kLeaseTtlNs);
        // Later than when the lease was taken, which is what it may be counted from at the earliest.
        ledger = std::make_unique<ShardLedger>(rows, counter, Now());
        KeepAlive();
      });
    });
  }
  After(kSecond, [this] { Compete(); });
}

void Controller::KeepAlive() {
  if (ledger == nullptr) return;
  const int64_t asked_ns = Now();
  const uint64_t epoch = epoch_;
  After(world->Delay(), [this, asked_ns, epoch] {
    Registry& registry = world->registry;
    if (registry.lease_epoch != epoch || world->now_ns >= registry.lease_end_ns) {
      if (epoch_ == epoch) Resign();
      return;
    }
    registry.lease_end_ns = world->now_ns + kLeaseTtlNs;
    After(world->Delay(), [this, asked_ns, epoch] {
      if (epoch_ == epoch) lease_end_ns_ = std::max(lease_end_ns_, LeaseEndNs(asked_ns, kLeaseTtlNs));
    });
  });
  After(kSecond, [this, epoch] {
    if (epoch_ == epoch) KeepAlive();
  });
}

void Controller::Resign() {
  ledger.reset();
  const auto links = std::exchange(links_, {});
  for (const auto& [name, link] : links) Cut(link);
}

void Controller::Look() {
  if (ledger != nullptr) {
    if (world->OneIn(world->Faulty() ? 6 : 20)) Place();
    ledger->OnTime(Now());
    Act();
  }
  After(500 * kNanosPerMilli, [this] { Look(); });
}

void Controller::Place() {
  std::vector<std::string> names;
  for (const auto& [name, link] : links_) {
    if (link->open && link->instance->wants_shards) names.push_back(name);
  }
  std::vector<PlacementInstance> placed;
  for (const std::string& name : names) placed.push_back({name, true});
  std::vector<PlacementShard> shards(kShards);
  for (uint32_t i = 0; i < kShards; ++i) {
    const auto at = std::find(names.begin(), names.end(), ledger->row(i).owner);
    if (at != names.end()) shards[i].owner = static_cast<uint32_t>(at - names.begin());
  }
  const std::vector<uint32_t> owners = PlaceShards(placed, shards);
  std::vector<std::string> targets(kShards);
  for (uint32_t i = 0; i < kShards; ++i) {
    if (owners[i] != kNoInstance) targets[i] = names[owners[i]];
    // Moves that no placement would make, too.
    if (world->Faulty() && !names.empty() && world->OneIn(6)) {
      targets[i] = names[static_cast<size_t>(world->Below(static_cast<int64_t>(names.size())))];
    }
  }
  ledger->SetTargets(targets, Now());
}

void Controller::Act() {
  if (ledger == nullptr) return;
  for (const LedgerAction& action : ledger->TakeActions()) {
    if (action.kind == LedgerAction::Kind::kWrite) {
      Write(action);
      continue;
    }
    const auto link = links_.find(action.instance);
    if (link == links_.end()) continue;
    Instance* to = link->second->instance;
    SendOver(link->second, this, to, &link->second->to_instance_ns,
             [to, on = link->second, action] { to->OnMessage(on, action); });
  }
}

void Controller::Write(const LedgerAction& action) {
  const uint64_t epoch = epoch_;
  const uint64_t counter = ledger->last_generation();
  world->At(world->now_ns + world->Delay(), [this, action, epoch, counter] {
    Registry& registry = world->registry;
    const bool lost = registry.lease_epoch != epoch || world->now_ns >= registry.lease_end_ns;
    const bool failed = world->Faulty() && world->OneIn(30);
    const bool silent = world->Faulty() && world->OneIn(60);  // nobody hears what became of it
    if (!lost && !failed) {
      registry.rows[action.shard] = action.row;
      registry.counter = std::max(registry.counter, counter);
    }
    After(world->Delay(), [this, action, epoch, lost, failed, silent] {
      if (epoch_ != epoch || ledger == nullptr) return;
      if (lost || silent) return Resign();
      ledger->OnWritten(action.shard, !failed, Now());
      Act();
    });
  });
}

void Controller::OnSession(const std::shared_ptr<Link>& link) {
  if (!Leads()) return Cut(link);
  const auto before = links_.find(link->instance->id);
  if (before != links_.end()) {
    Cut(before->second);
    ledger->OnSessionEnd(link->instance->id);
  }
  links_[link->instance->id] = link;
  ledger->OnSession(link->instance->id);
  Act();
}

void Controller::OnRenewal(const std::shared_ptr<Link>& link, int64_t asked_ns) {
  const auto known = links_.find(link->instance->id);
  if (!Leads() || known == links_.end() || known->second != link) return;
  if (!ledger->AnswerRenewal(link->instance->id, Now())) return;
  SendOver(link, this, link->instance, &link->to_instance_ns,
           [link, asked_ns] { link->instance->OnRenewed(link, asked_ns); });
}

void Controller::OnReleased(const std::shared_ptr<Link>& link, uint32_t shard, uint64_t generation,
                            bool clean) {
  const auto known = links_.find(link->instance->id);
  if (ledger == nullptr || known == links_.end() || known->second != link) return;
  ledger->OnReleased(link->instance->id, shard, generation, clean, Now());
  Act();
}

void Controller::OnCut(const std::shared_ptr<Link>& link) {
  const auto known = links_.find(link->instance->id);
  if (known == links_.end() || known->second != link) return;
  links_.erase(known);
  if (ledger != nullptr) ledger->OnSessionEnd(link->instance->id);
}

void Controller::OnEnded(const std::string& instance) {
  if (ledger == nullptr) return;
  ledger->OnEnded(instance, Now());
  Act();
}

// ---- Instance ----

void Instance::Start() {
  Connect();
  Renew();
}

void Instance::Connect() {
  if (link == nullptr) {
    for (const auto& controller : world->controllers) {
      if (controller->dead || !controller->Leads()) continue;
      link = std::make_shared<Link>();
      link->instance = this;
      link->controller = controller.get();
      shards.BeginResync();
      SendOver(link, this, controller.get(), &link->to_controller_ns,
               [on = link, to = controller.get()] { to->OnSession(on); });
      break;
    }
  }
  After(200 * kNanosPerMilli, [this] { Connect(); });
}

void Instance::Renew() {
  if (link != nullptr) {
    SendOver(link, this, link->controller, &link->to_controller_ns,
             [on = link, asked_ns = Now()] { on->controller->OnRenewal(on, asked_ns); });
  }
  After(kGrantRenewNs, [this] { Renew(); });
}

void Instance::OnRenewed(const std::shared_ptr<Link>& on, int64_t asked_ns) {
  if (link == on) shards.Renewed(asked_ns);
}

void Instance::OnMessage(const std::shared_ptr<Link>& on, const LedgerAction& action) {
  if (link != on) return;
  switch (action.kind) {
    case LedgerAction::Kind::kName: shards.Name(action.shard, action.generation); break;
    case LedgerAction::Kind::kGrant: shards.Grant(action.shard, action.generation); break;
    case LedgerAction::Kind::kSynced: shards.EndResync(); break;
    case LedgerAction::Kind::kRelease: OnRelease(on, action.shard, action.generation); break;
    case LedgerAction::Kind::kWrite: break;
  }
}

void Instance::OnRelease(const std::shared_ptr<Link>& on, uint32_t shard, uint64_t generation) {
  // What runs is finished, and resources are closed.
  const int64_t busy_ns = shards.BeginRelease(shard, generation) ? world->Below(8 * kSecond) : 0;
  After(busy_ns, [this, on, shard, generation] {
    if (shards.Release(shard, generation) && world->OneIn(5)) unclean_.emplace(shard, generation);
    const bool released = shards.generation(shard) == generation &&
                          shards.phase(shard) == ShardPhase::kReleased;
    if (!released && shards.generation(shard) == generation) return;  // it is still at it
    const bool clean = released && !unclean_.contains({shard, generation});
    SendOver(on, this, on->controller, &on->to_controller_ns, [on, shard, generation, clean] {
      on->controller->OnReleased(on, shard, generation, clean);
    });
  });
}

void Instance::OnCut(const std::shared_ptr<Link>& on) {
  if (link == on) link = nullptr;
}

// ---- The world ----

void Simulation::AddInstance() {
  instances.push_back(std::make_unique<Instance>(this, "i-" + std::to_string(instances.size())));
  instances.back()->Start();
}

void Simulation::AddController() {
  controllers.push_back(
      std::make_unique<Controller>(this, "c-" + std::to_string(controllers.size())));
  controllers.back()->Start();
}

void Simulation::Fault() {
  if (!Faulty()) return;
  const auto pick = [this](auto& among) {
    return among[static_cast<size_t>(Below(static_cast<int64_t>(among.size())))].get();
  };
  Instance* instance = pick(instances);
  Controller* controller = pick(controllers);
  switch (Below(8)) {
    case 0: instance->Pause(Below(30 * kSecond)); break;
    case 1: controller->Pause(Below(15 * kSecond)); break;
    case 2:
    case 3:
      if (instance->link != nullptr) Cut(instance->link);
      break;
    case 4:
      if (instance->dead) break;
      instance->dead = true;
      if (instance->link != nullptr) Cut(instance->link);
      if (OneIn(2)) {
        const std::string id = instance->id;
        for (const auto& each : controllers) {
          each->After(Below(2 * kSecond), [c = each.get(), id] { c->OnEnded(id); });
        }
      }
      AddInstance();
      break;
    case 5:
      if (controller->dead) break;
      controller->dead = true;
      for (const auto& each : instances) {
        if (each->link != nullptr && each->link->controller == controller) Cut(each->link);
      }
      AddController();
      break;
    case 6: instance->wants_shards = !instance->wants_shards; break;
    default: AddInstance(); break;
  }
  At(now_ns + Below(6 * kSecond), [this] { Fault(); });
}

void Simulation::Check() {
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    const Instance* owner = nullptr;
    for (const auto& instance : instances) {
      if (instance->dead || !instance->Valid(shard)) continue;
      ASSERT_EQ(owner, nullptr) << "shard " << shard << " is owned by " << owner->id << " and "
                                << instance->id << " at " << now_ns;
      owner = instance.get();
    }
    if (owner == nullptr) continue;
    const uint64_t generation = owner->shards.generation(shard);
    auto& [id, last] = seen_[shard];
    ASSERT_GE(generation, last) << "shard " << shard << ": the generation fell";
    if (generation == last) {
      ASSERT_EQ(id, owner->id) << "two owners under one generation";
    }
    if (generation > last && last != 0 && id != owner->id) ++handed_over;
    id = owner->id;
    last = generation;
  }
}

// Long after the last fault everything is as the placement wants it.
void Simulation::CheckEnd() {
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    size_t owners = 0;
    for (const auto& instance : instances) {
      if (instance->dead) continue;
      if (instance->Valid(shard)) ++owners;
      EXPECT_NE(instance->shards.phase(shard), ShardPhase::kNamed)
          << instance->id << " waits in vain for shard " << shard;
    }
    const bool any = std::any_of(instances.begin(), instances.end(), [](const auto& instance) {
      return !instance->dead && instance->wants_shards;
    });
    EXPECT_EQ(owners, any ? 1u : 0u) << "shard " << shard;
  }
}

void Simulation::Run() {
  AddController();
  AddController();
  for (int i = 0; i < 4; ++i) AddInstance();
  At(10 * kSecond, [this] { Fault(); });
  while (!events_.empty() && events_.top().at_ns < kEndNs) {
    const Event event = events_.top();
    events_.pop();
    now_ns = event.at_ns;
    event.action();
    Check();
    if (::testing::Test::HasFatalFailure()) return;
  }
  CheckEnd();
}

TEST(ShardSimulation, NoTwoInstancesEverHaveAValidGrantForOneShard) {
  const char* seeds = std::getenv("LEVER_SIMULATION_SEEDS");
  const uint64_t count = seeds != nullptr ? std::strtoull(seeds, nullptr, 10) : 60;
  uint64_t handed_over = 0;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed);
    simulation.Run();
    if (HasFailure()) return;
    handed_over += simulation.handed_over;
  }
  EXPECT_GT(handed_over, count * 20) << "too little happened to prove anything";
}

}  // namespace
}  // namespace lever::policy
