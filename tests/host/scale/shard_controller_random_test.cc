// Random histories of several hosts over one real registry, and instances that do what the policy
// tells them: hosts and instances pause, sessions break, processes end, leases end, the registry
// refuses, loses answers and holds them back. After each step at most one instance has a valid grant
// for a shard.
//
// LEVER_SIMULATION_SEEDS: how many runs (the default takes some seconds). A seed gives the same faults;
// what the registry's own thread has answered by then may differ a little between two runs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
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

// A clock that runs up to 0.04 % too fast or too slow: two differ by less than kClockRateSlack.
struct Drift {
  explicit Drift(Random* random) : parts(static_cast<int64_t>(random->Below(801)) - 400) {}
  int64_t Of(int64_t ns) const { return ns + ns / 1'000'000 * parts; }
  int64_t parts;  // of a million
};

struct Instance {
  Instance(std::string name, int64_t now, Random* random)
      : id(std::move(name)), now_ns(now), drift(random) {}

  std::string id;
  int64_t now_ns;
  Drift drift;
  policy::OwnedShards owned{kShards};
  ShardHost* host = nullptr;  // that it has a session with
  uint64_t session = 0;
  uint64_t known_session = 0;  // of the host: what it says goes over that one
  int steps_paused = 0;
  int64_t renew_ns = 0;
  std::map<uint64_t, int64_t> asked;  // renewals of this session, by id
  // Of this session, each with the step at which it arrives.
  std::deque<std::pair<int, std::function<void()>>> to_instance;
  std::deque<std::pair<int, std::function<void()>>> to_host;
  std::set<std::pair<uint32_t, uint64_t>> releasing;
};

class RandomShardsTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  RandomShardsTest() : random_(GetParam()), world_(kShards, Faults()) {}
  ~RandomShardsTest() override {
    for (const auto& host : world_.hosts) host->controller->set_shell(nullptr);
  }

  static registry::FaultyRegistryOptions Faults() {
    return {.seed = GetParam(), .refuse_permille = 20, .lose_answer_permille = 10,
            .hold_permille = 20};
  }
  bool OneIn(uint32_t n) { return faulty_ && random_.Below(n) == 0; }
  // Mostly at once, now and then some seconds.
  int Arrival() { return step_ + (OneIn(15) ? static_cast<int>(random_.Below(25)) : 0); }

  void AddHost() {
    ShardHost& host =
        world_.AddHost("h-" + std::to_string(world_.hosts.size()),
                       kSecond + static_cast<int64_t>(random_.Below(1'000'000)) * kSecond);
    drifts_.emplace_back(&random_);
    host.shell.on_shards = [this, &host](const std::string& id,
                                         const fleet::ShardOrdersData& orders) {
      Send(host, id, [this, orders](Instance& to) { OnOrders(to, orders); });
    };
    host.shell.on_renewed = [this, &host](const std::string& id, uint64_t renewal) {
      Send(host, id, [renewal](Instance& to) {
        const auto asked = to.asked.find(renewal);
        if (asked == to.asked.end()) return;
        to.owned.Renewed(asked->second);
        to.asked.erase(asked);
      });
    };
  }
  void AddInstance() {
    instances_.push_back(std::make_unique<Instance>(
        "i-" + std::to_string(++instances_made_),
        kSecond + static_cast<int64_t>(random_.Below(1'000'000)) * kSecond, &random_));
  }
  Instance* Find(const std::string& id) {
    for (const auto& instance : instances_) {
      if (instance->id == id) return instance.get();
    }
    return nullptr;
  }

  // ---- Links ----
  static int After(const std::deque<std::pair<int, std::function<void()>>>& queue, int at) {
    return queue.empty() ? at : std::max(at, queue.back().first);  // in order
  }
  void Send(ShardHost& host, const std::string& id, std::function<void(Instance&)> what) {
    Instance* to = Find(id);
    if (to == nullptr || to->host != &host || to->known_session != to->session) return;
    to->to_instance.emplace_back(After(to->to_instance, Arrival()),
                                 [to, what = std::move(what)] { what(*to); });
  }
  void SendToHost(Instance& from, std::function<void(ShardController&)> what) {
    if (from.host == nullptr) return;
    from.to_host.emplace_back(
        After(from.to_host, Arrival()),
        [host = from.host, what = std::move(what)] { what(*host->controller); });
  }
  void Connect(Instance& instance) {
    instance.host = world_.hosts[random_.Below(kHosts)].get();
    // It looks for the host that decides.
    for (const auto& host : world_.hosts) {
      if (host->controller->leading() && !OneIn(4)) instance.host = host.get();
    }
    ++instance.session;
    // Behind the end of the one before.
    instance.to_host.emplace_back(
        After(orphans_[instance.host], Arrival()),
        [this, host = instance.host, id = instance.id, session = instance.session] {
          Instance* from = Find(id);
          // Another host may hear of one before only now.
          if (from != nullptr && from->session == session) from->known_session = session;
          host->controller->OnSession(id);
        });
  }
  // Both sides learn of it, the host maybe later.
  void Cut(Instance& instance) {
    if (instance.host == nullptr) return;
    instance.to_instance.clear();
    instance.asked.clear();
    // What it said last may be lost.
    while (!instance.to_host.empty() && OneIn(2)) instance.to_host.pop_back();
    std::deque<std::pair<int, std::function<void()>>> last = std::move(instance.to_host);
    instance.to_host.clear();
    last.emplace_back(After(last, Arrival()), [host = instance.host, id = instance.id] {
      host->controller->OnSessionEnd(id);
    });
    auto& orphans = orphans_[instance.host];
    for (auto& [at, what] : last) orphans.emplace_back(After(orphans, at), std::move(what));
    instance.host = nullptr;
  }
  void Die(size_t at) {
    Instance& instance = *instances_[at];
    const bool seen = random_.Below(2) == 0;
    ShardHost* const host = instance.host;
    Cut(instance);
    if (seen && host != nullptr) {
      auto& orphans = orphans_[host];
      orphans.emplace_back(After(orphans, Arrival()),
                           [host, id = instance.id] { host->controller->OnEnded(id); });
    }
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
    SendToHost(instance, [id = instance.id, shard = shard, generation = generation,
                          clean = random_.Below(4) != 0](ShardController& to) {
      to.OnReleased(id, {shard, generation, clean});
    });
  }
  void Live(Instance& instance) {
    if (instance.steps_paused > 0) {
      --instance.steps_paused;
      return;
    }
    while (!instance.to_instance.empty() && instance.to_instance.front().first <= step_) {
      const auto what = std::move(instance.to_instance.front().second);
      instance.to_instance.pop_front();
      what();
      CheckAll();
    }
    if (instance.host == nullptr && random_.Below(3) == 0) Connect(instance);
    const auto releasing = instance.releasing;
    for (const auto& what : releasing) {
      if (random_.Below(3) == 0) Release(instance, what);
    }
    if (instance.host != nullptr && instance.now_ns >= instance.renew_ns) {
      instance.renew_ns = instance.now_ns + policy::kGrantRenewNs;
      const uint64_t id = ++renewals_;
      instance.asked[id] = instance.now_ns;
      SendToHost(instance, [name = instance.id, id](ShardController& to) { to.OnRenew(name, id); });
    }
    // A host that does not decide has nothing to tell.
    if (instance.host != nullptr && !instance.host->controller->leading() &&
        !instance.host->paused && random_.Below(20) == 0) {
      Cut(instance);
    }
  }

  // ---- The hosts ----
  void Arrive(ShardHost& host, std::deque<std::pair<int, std::function<void()>>>* queue) {
    while (!queue->empty() && queue->front().first <= step_) {
      const auto what = std::move(queue->front().second);
      queue->pop_front();
      world_.On(host, what);
      CheckAll();
    }
  }
  void Live(ShardHost& host) {
    if (host.paused) return;
    Arrive(host, &orphans_[&host]);
    std::vector<ShardTaker> eligible;
    for (const auto& instance : instances_) {
      if (instance->host != &host) continue;
      Arrive(host, &instance->to_host);
      if (!unwanted_.contains(instance->id)) eligible.push_back({instance->id});
    }
    if (step_ % 3 == 0) world_.On(host, [&] { host.controller->SetEligible(eligible); });
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
      host_wakes_[at] = step_ + static_cast<int>(random_.Below(150));
    }
    if (OneIn(25)) Cut(*instances_[random_.Below(kInstances)]);
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
    ++step_;
    if (faulty_) {
      BreakSomething();
    } else {
      world_.faulty->ReleaseHeld();  // by chance some are held on
    }
    world_.AdvanceRegistry(kStepNs);
    for (size_t i = 0; i < kHosts; ++i) {
      ShardHost& host = *world_.hosts[i];
      host.clock.Advance(drifts_[i].Of(kStepNs));
      if (host.paused && step_ >= host_wakes_[i]) host.paused = false;
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
        ASSERT_EQ(owner, nullptr) << "step " << step_ << ": shard " << shard << " is that of "
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
  std::vector<Drift> drifts_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<std::unique_ptr<Instance>> dead_;  // messages of theirs may be under way
  std::map<ShardHost*, std::deque<std::pair<int, std::function<void()>>>> orphans_;
  std::map<size_t, int> host_wakes_;
  std::set<std::string> unwanted_;
  std::map<std::pair<uint32_t, uint64_t>, std::string> granted_;
  uint64_t renewals_ = 0;
  int instances_made_ = 0;
  int grants_ = 0;
  int step_ = 0;
  bool faulty_ = true;
};

TEST_P(RandomShardsTest, NeverHaveTwoInstancesAValidGrant) {
  for (size_t i = 0; i < kHosts; ++i) AddHost();
  for (size_t i = 0; i < kInstances; ++i) AddInstance();
  for (int i = 0; i < kFaultySteps && !HasFailure(); ++i) Step();
  EXPECT_GT(grants_, static_cast<int>(kShards)) << "nothing has happened";
  // Without faults every shard is somebody's again.
  faulty_ = false;
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
