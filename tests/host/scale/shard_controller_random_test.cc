// Random histories of several hosts over one real registry, and instances that do what the policy
// tells them: hosts and instances pause, sessions break, processes end, leases end, the registry
// refuses, loses answers and holds them back. After each step at most one instance has a valid grant
// for a shard.
//
// LEVER_SIMULATION_SEEDS: how many runs (the default takes some seconds). A seed gives the same faults;
// what the registry's own thread has answered by then may differ a little between two runs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/policy/grant.h"
#include "liblever/policy/owned_shards.h"
#include "tests/host/scale/shard_fixture.h"
#include "tests/host/scale/shard_links.h"

namespace lever::scale {
namespace {

using fleet::ShardOrderData;
using fleet::ShardOrderKind;

constexpr uint32_t kShards = 8;
constexpr size_t kHosts = 3;
constexpr size_t kInstances = 4;
constexpr int64_t kStepNs = 200 * kNanosPerMilli;
constexpr int kFaultySteps = 600;
constexpr int kCalmSteps = 400;

struct Instance : LinkEnd {
  Instance(std::string name, int64_t now, Random* random) : now_ns(now), drift(random) {
    id = std::move(name);
  }

  int64_t now_ns;
  Drift drift;
  policy::OwnedShards owned{kShards};
  int64_t renew_ns = 0;
  std::map<uint64_t, int64_t> asked;  // renewals of this session, by id
  std::set<std::pair<uint32_t, uint64_t>> releasing;
};

class RandomShardsTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  RandomShardsTest() : random_(GetParam()), world_(kShards, Faults()), links_(&world_, &random_) {}
  ~RandomShardsTest() override {
    for (const auto& host : world_.hosts) host->controller->set_shell(nullptr);
  }

  static registry::FaultyRegistryOptions Faults() {
    return {.seed = GetParam(), .refuse_permille = 20, .lose_answer_permille = 10,
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
      Instance* to = Find(id);
      links_.Send(host, to, [this, to, orders] { OnOrders(*to, orders); });
    };
    host.shell.on_renewed = [this, &host](const std::string& id, uint64_t renewal) {
      Instance* to = Find(id);
      links_.Send(host, to, [to, renewal] {
        const auto asked = to->asked.find(renewal);
        if (asked == to->asked.end()) return;
        to->owned.Renewed(asked->second);
        to->asked.erase(asked);
      });
    };
  }
  void AddInstance() {
    instances_.push_back(std::make_unique<Instance>(
        "i-" + std::to_string(++instances_made_),
        kSecond + static_cast<int64_t>(random_.Below(1'000'000)) * kSecond, &random_));
    instances_.back()->on_cut = [&asked = instances_.back()->asked] { asked.clear(); };
  }
  Instance* Find(const std::string& id) {
    for (const auto& instance : instances_) {
      if (instance->id == id) return instance.get();
    }
    return nullptr;
  }

  void Die(size_t at) {
    links_.End(*instances_[at], random_.Below(2) == 0);
    dead_.push_back(std::move(instances_[at]));
    instances_.erase(instances_.begin() + static_cast<std::ptrdiff_t>(at));
    AddInstance();
  }

  // ---- The instance ----
  void OnOrders(Instance& to, const fleet::ShardOrdersData& orders) {
    if (orders.begins) to.owned.BeginResync();
    for (const ShardOrderData& order : orders.orders) {
      switch (order.kind) {
        case ShardOrderKind::kName: to.owned.Name(order.shard, order.generation); break;
        case ShardOrderKind::kGrant: {
          to.owned.Grant(order.shard, order.generation);
          const auto [owner, first] =
              granted_.emplace(std::pair(order.shard, order.generation), to.id);
          EXPECT_EQ(owner->second, to.id) << "a generation was given twice";
          if (first) ++grants_;
          break;
        }
        case ShardOrderKind::kRelease:
          to.owned.BeginRelease(order.shard, order.generation);
          to.releasing.emplace(order.shard, order.generation);
          break;
      }
    }
    if (orders.synced) to.owned.EndResync();
  }
  void Release(Instance& instance, std::pair<uint32_t, uint64_t> what) {
    const auto [shard, generation] = what;
    instance.owned.Release(shard, generation);
    instance.releasing.erase(what);
    links_.SendToHost(instance, [id = instance.id, shard = shard, generation = generation,
                          clean = random_.Below(4) != 0](ShardController& to) {
      to.OnReleased(id, {shard, generation, clean});
    });
  }
  void Live(Instance& instance) {
    if (instance.steps_paused > 0) {
      --instance.steps_paused;
      return;
    }
    while (const auto what = instance.to_instance.Take(links_.step)) {
      what();
      CheckAll();
    }
    if (instance.host == nullptr && random_.Below(3) == 0) links_.Connect(instance);
    const auto releasing = instance.releasing;
    for (const auto& what : releasing) {
      if (random_.Below(3) == 0) Release(instance, what);
    }
    if (instance.host != nullptr && instance.now_ns >= instance.renew_ns) {
      instance.renew_ns = instance.now_ns + policy::kGrantRenewNs;
      const uint64_t id = ++renewals_;
      instance.asked[id] = instance.now_ns;
      links_.SendToHost(instance, [name = instance.id, id](ShardController& to) { to.OnRenew(name, id); });
    }
    // A host that does not decide has nothing to tell.
    if (instance.host != nullptr && !instance.host->controller->leading() &&
        !instance.host->paused && random_.Below(20) == 0) {
      links_.Cut(instance);
    }
  }

  // ---- The hosts ----
  void Live(ShardHost& host) {
    if (host.paused) return;
    links_.ArriveAt(host, instances_, [this] { CheckAll(); });
    std::vector<ShardTaker> eligible;
    for (const auto& instance : instances_) {
      if (instance->host == &host && !unwanted_.contains(instance->id)) {
        eligible.push_back({instance->id});
      }
    }
    if (links_.step % 3 == 0) world_.On(host, [&] { host.controller->SetEligible(eligible); });
  }

  // Whatever somebody may ask for, of any shard.
  void Change(ShardHost& host) {
    if (host.paused) return;
    constexpr policy::ShardChange kChanges[] = {
        policy::ShardChange::kMove, policy::ShardChange::kClose, policy::ShardChange::kPause,
        policy::ShardChange::kResume};
    const auto shard = static_cast<uint32_t>(random_.Below(kShards));
    const policy::ShardChange change = kChanges[random_.Below(std::size(kChanges))];
    world_.On(host, [&] { (void)host.controller->Change(shard, change, ""); });
  }
  void ResumeAll() {
    for (const auto& host : world_.hosts) {
      world_.On(*host, [&] {
        for (uint32_t shard = 0; shard < kShards; ++shard) {
          (void)host->controller->Change(shard, policy::ShardChange::kResume, "");
        }
      });
    }
  }
  void BreakSomething() {
    if (OneIn(40)) {
      Instance& instance = *instances_[random_.Below(kInstances)];
      instance.steps_paused = static_cast<int>(random_.Below(150));
    }
    if (OneIn(60)) {
      const size_t at = random_.Below(kHosts);
      world_.hosts[at]->paused = true;
      host_wakes_[at] = links_.step + static_cast<int>(random_.Below(150));
    }
    if (OneIn(25)) links_.Cut(*instances_[random_.Below(kInstances)]);
    if (OneIn(80)) Die(random_.Below(kInstances));
    if (OneIn(50)) {
      const std::string& id = instances_[random_.Below(kInstances)]->id;
      if (!unwanted_.erase(id)) unwanted_.insert(id);
    }
    if (OneIn(20)) Change(*world_.hosts[random_.Below(kHosts)]);
    if (OneIn(100)) world_.faulty->HoldAll();
    if (random_.Below(15) == 0) world_.faulty->ReleaseHeld();
  }
  void Step() {
    ++links_.step;
    if (links_.faulty) {
      BreakSomething();
    } else {
      world_.faulty->ReleaseHeld();  // by chance some are held on
    }
    world_.AdvanceRegistry(kStepNs);
    for (size_t i = 0; i < kHosts; ++i) {
      ShardHost& host = *world_.hosts[i];
      host.clock.Advance(drifts_[i].Of(kStepNs));
      if (host.paused && links_.step >= host_wakes_[i]) host.paused = false;
    }
    for (const auto& instance : instances_) instance->now_ns += instance->drift.Of(kStepNs);
    for (const auto& instance : dead_) instance->now_ns += instance->drift.Of(kStepNs);
    CheckAll();
    for (const auto& host : world_.hosts) Live(*host);
    for (const auto& instance : instances_) Live(*instance);
    for (int i = 0; i < 3; ++i) {
      world_.Read(key_);  // the registry has done what was asked before
      world_.TurnOnce();
      CheckAll();
    }
  }

  // The promise.
  void CheckAll() {
    if (HasFatalFailure()) return;
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      const Instance* owner = nullptr;
      for (const auto& instance : instances_) {
        const policy::OwnedShards& owned = instance->owned;
        if (!owned.MayReply(shard, owned.generation(shard), instance->now_ns)) continue;
        ASSERT_EQ(owner, nullptr) << "step " << links_.step << ": shard " << shard << " is that of "
                                  << owner->id << " and of " << instance->id;
        owner = instance.get();
      }
    }
  }
  int Owned() const {
    int owned = 0;
    for (const auto& instance : instances_) {
      for (uint32_t shard = 0; shard < kShards; ++shard) {
        owned += instance->owned.Check(shard, policy::kNoGeneration, instance->now_ns) ==
                         policy::ShardVerdict::kRun
                     ? 1
                     : 0;
      }
    }
    return owned;
  }

  const std::string key_ = registry::ControllerKey(ShardWorld::kEnvironment, ShardWorld::kService);
  Random random_;
  ShardWorld world_;
  ShardLinks links_;
  std::vector<Drift> drifts_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<std::unique_ptr<Instance>> dead_;  // messages of theirs may be under way
  std::map<size_t, int> host_wakes_;
  std::set<std::string> unwanted_;
  std::map<std::pair<uint32_t, uint64_t>, std::string> granted_;
  uint64_t renewals_ = 0;
  int instances_made_ = 0;
  int grants_ = 0;
};

TEST_P(RandomShardsTest, NeverHaveTwoInstancesAValidGrant) {
  for (size_t i = 0; i < kHosts; ++i) AddHost();
  for (size_t i = 0; i < kInstances; ++i) AddInstance();
  for (int i = 0; i < kFaultySteps && !HasFailure(); ++i) Step();
  EXPECT_GE(grants_, static_cast<int>(kShards)) << "nothing has happened";
  // Without faults every shard is somebody's again.
  links_.faulty = false;
  unwanted_.clear();
  world_.faulty->ReleaseHeld();
  for (const auto& host : world_.hosts) host->paused = false;
  for (const auto& instance : instances_) instance->steps_paused = 0;
  for (int i = 0; i < kCalmSteps && !HasFailure(); ++i) {
    ResumeAll();
    Step();
    if (i > 100 && Owned() == static_cast<int>(kShards)) break;
  }
  EXPECT_EQ(Owned(), static_cast<int>(kShards));
}

std::vector<uint64_t> Seeds() {
  const char* wanted = std::getenv("LEVER_SIMULATION_SEEDS");
  const uint64_t count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 12;
  std::vector<uint64_t> seeds;
  for (uint64_t i = 1; i <= count; ++i) seeds.push_back(i);
  return seeds;
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomShardsTest, ::testing::ValuesIn(Seeds()));

}  // namespace
}  // namespace lever::scale
