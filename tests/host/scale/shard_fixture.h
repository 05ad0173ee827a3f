// Hosts over one registry, each with a loop and a clock of its own, and a controller of the shards of
// one service; time and faults by hand.
#ifndef TESTS_HOST_SCALE_SHARD_FIXTURE_H_
#define TESTS_HOST_SCALE_SHARD_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/registry/faulty_registry.h"
#include "liblever/host/registry/loop_executor.h"
#include "liblever/host/registry/schema.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "liblever/host/scale/host_lease.h"
#include "liblever/host/scale/shard_controller.h"
#include "tests/host/deploy/temporary_directory.h"
#include "tests/host/scale/host_registry.h"

namespace lever::scale {

inline constexpr int64_t kSecond = kNanosPerSecond;

class FakeShell final : public ShardControllerShell {
 public:
  void TellShards(const std::string& instance, fleet::ShardOrdersData orders) override {
    if (on_shards) on_shards(instance, orders);
    told[instance].push_back(std::move(orders));
  }
  void TellRenewed(const std::string& instance, uint64_t id) override {
    if (on_renewed) on_renewed(instance, id);
    renewed[instance].push_back(id);
  }
  void TellState(const std::string& instance, fleet::StateAnswerData answer) override {
    if (on_state) on_state(instance, answer);
    states[instance].push_back(std::move(answer));
  }
  fleet::ShardCloseReason WhyItMoves(const std::string& from) override {
    return why ? why(from) : reason;
  }
  void OnOwnersChanged() override { ++changes; }

  // Of one kind, by shard, in the order in which they were told; those of one instance.
  std::vector<fleet::ShardOrderData> Orders(const std::string& instance,
                                            fleet::ShardOrderKind kind) {
    std::vector<fleet::ShardOrderData> orders;
    for (const fleet::ShardOrdersData& message : told[instance]) {
      for (const fleet::ShardOrderData& order : message.orders) {
        if (order.kind == kind) orders.push_back(order);
      }
    }
    return orders;
  }
  void Forget() {
    told.clear();
    renewed.clear();
    states.clear();
  }

  std::function<void(const std::string&, const fleet::ShardOrdersData&)> on_shards;
  std::function<void(const std::string&, uint64_t)> on_renewed;
  std::function<void(const std::string&, const fleet::StateAnswerData&)> on_state;
  std::function<fleet::ShardCloseReason(const std::string&)> why;
  std::map<std::string, std::vector<fleet::ShardOrdersData>> told;
  std::map<std::string, std::vector<uint64_t>> renewed;
  std::map<std::string, std::vector<fleet::StateAnswerData>> states;
  fleet::ShardCloseReason reason = fleet::ShardCloseReason::kMoved;
  int changes = 0;
};

inline std::unique_ptr<Loop> OpenLoop(const Clock* clock) {
  LoopOptions options;
  options.clock = clock;
  options.posters_drive = false;
  return std::move(Loop::Open(options)).value();
}

struct ShardHost {
  ShardHost(registry::Registry* inner, std::string host_id, int64_t now_ns)
      : id(std::move(host_id)), clock(now_ns), loop(OpenLoop(&clock)), registry(inner, loop.get()),
        lease(loop.get(), &registry) {}

  const std::string id;
  ManualClock clock;
  std::unique_ptr<Loop> loop;
  HostRegistry registry;
  HostLease lease;
  std::unique_ptr<ShardController> controller;
  FakeShell shell;
  bool paused = false;
};

class ShardWorld {
 public:
  static constexpr const char* kEnvironment = "dev.lever";
  static constexpr const char* kService = "notes";

  explicit ShardWorld(uint32_t shards, registry::FaultyRegistryOptions faults = {},
                      uint64_t carried_bytes_max = policy::kServiceCarriedBytesMax)
      : shards_(shards), carried_bytes_max_(carried_bytes_max), registry_loop_(OpenLoop(&registry_clock_)),
        executor_(registry_loop_.get()) {
    registry::SqliteRegistryOptions options;
    options.directory = directory_ / "registry";
    options.executor = &executor_;
    options.clock = &registry_clock_;
    sqlite = std::move(registry::SqliteRegistry::Open(options)).value();
    faulty = std::make_unique<registry::FaultyRegistry>(sqlite.get(), &executor_, faults);
  }
  ~ShardWorld() {
    bool closed = false;
    faulty->Close([&] { closed = true; });
    const int64_t limit_ns = Clock::System().NowNs() + 60 * kSecond;
    while (!closed && Clock::System().NowNs() < limit_ns) TurnAll(kNanosPerMilli);
    EXPECT_TRUE(closed);
    TurnAll(0);
    hosts.clear();
    faulty.reset();
    // Its thread may still be in the middle of posting that it has closed: it ends before the loop does.
    sqlite.reset();
  }

  ShardHost& AddHost(const std::string& id, int64_t now_ns = kSecond) {
    hosts.push_back(std::make_unique<ShardHost>(faulty.get(), id, now_ns));
    ShardHost& host = *hosts.back();
    On(host, [&] {
      host.controller =
          std::make_unique<ShardController>(host.loop.get(), &host.registry, &host.lease, id,
                                            kEnvironment, kService, shards_, carried_bytes_max_);
      host.controller->set_shell(&host.shell);
    });
    return host;
  }

  // Runs `function` as what happens on the loop of the host.
  template <typename Function>
  void On(ShardHost& host, Function function) {
    ASSERT_TRUE(host.loop->TryEnter());
    function();
    host.loop->Leave();
  }

  // Until the registry has answered everything and nobody has anything to do, with time as it is.
  // Whoever is paused does nothing.
  void Settle() {
    const int64_t limit_ns = Clock::System().NowNs() + 60 * kSecond;
    for (int idle = 0; idle < 2;) {
      ASSERT_LT(Clock::System().NowNs(), limit_ns) << "the registry does not answer";
      const int outstanding = Outstanding();
      idle = TurnAll(outstanding > 0 ? kNanosPerMilli : 0) || outstanding > 0 ? 0 : idle + 1;
    }
  }
  // The same while answers are held back: only what is there is done.
  void SettleHeld() {
    for (int i = 0; i < 20; ++i) TurnAll(kNanosPerMilli);
  }
  void Advance(int64_t by_ns) {
    registry_clock_.Advance(by_ns);
    for (const auto& host : hosts) host->clock.Advance(by_ns);
    sqlite->ClockMoved();
    Settle();
  }
  // In steps in which leases are renewed.
  void Live(int64_t by_ns) {
    constexpr int64_t kStepNs = kSecond / 4;
    for (int64_t passed = 0; passed < by_ns; passed += kStepNs) Advance(kStepNs);
  }
  // Whoever is not paused does what is there to do.
  void TurnOnce() { TurnAll(0); }
  void AdvanceRegistry(int64_t by_ns) {
    registry_clock_.Advance(by_ns);
    sqlite->ClockMoved();
  }

  int Outstanding() const {
    int outstanding = 0;
    for (const auto& host : hosts) outstanding += host->registry.outstanding();
    return outstanding;
  }

  // What is in the registry, past all faults.
  std::optional<registry::Entry> Read(const std::string& key) {
    std::optional<registry::GetResult> read;
    sqlite->Get(key, [&](auto result) { read = std::move(result).value(); });
    Wait([&] { return read.has_value(); });
    return read->entry;
  }
  registry::TransactionResult Commit(registry::Transaction transaction) {
    std::optional<registry::TransactionResult> done;
    sqlite->Commit(std::move(transaction), [&](auto result) { done = std::move(result).value(); });
    Wait([&] { return done.has_value(); });
    return *done;
  }
  registry::LeaseId TakeLease(int64_t ttl_ns) {
    registry::LeaseId id = registry::kNoLease;
    sqlite->GrantLease(ttl_ns, [&](auto lease) { id = lease->id; });
    Wait([&] { return id != registry::kNoLease; });
    return id;
  }
  void Revoke(registry::LeaseId lease) {
    bool gone = false;
    sqlite->RevokeLease(lease, [&](const auto&) { gone = true; });
    Wait([&] { return gone; });
  }
  std::vector<policy::ShardRow> Rows() {
    const auto page = Read(registry::OwnerKey(kEnvironment, kService, 0));
    if (!page) return std::vector<policy::ShardRow>(shards_);
    return ParseShardPage(page->value, shards_).value();
  }

  std::unique_ptr<registry::SqliteRegistry> sqlite;
  std::unique_ptr<registry::FaultyRegistry> faulty;
  std::vector<std::unique_ptr<ShardHost>> hosts;

 private:
  template <typename Condition>
  void Wait(Condition condition) {
    const int64_t limit_ns = Clock::System().NowNs() + 60 * kSecond;
    while (!condition() && Clock::System().NowNs() < limit_ns) {
      TurnRegistry(kNanosPerMilli);
    }
    ASSERT_TRUE(condition());
  }
  // The registry's own thread may have the word for as long as it posts an answer.
  bool TurnRegistry(int64_t wait_ns) {
    const auto did = registry_loop_->Turn(wait_ns);
    if (did.ok()) return *did;
    EXPECT_EQ(did.status().code(), LEVER_BUSY) << did.status().ToString();
    return true;
  }
  bool TurnAll(int64_t wait_ns) {
    bool did = TurnRegistry(wait_ns);
    for (const auto& host : hosts) {
      if (!host->paused) did |= host->loop->Turn(0).value();
    }
    return did;
  }

  const uint32_t shards_;
  const uint64_t carried_bytes_max_;
  deploy::TemporaryDirectory directory_;
  ManualClock registry_clock_;
  std::unique_ptr<Loop> registry_loop_;
  registry::LoopExecutor executor_;
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_SHARD_FIXTURE_H_
