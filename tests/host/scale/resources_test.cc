// Services with resources in the control loop: which instances get the shards, what the routes say
// of them, and what happens to them as instances come, drain, fall silent and are replaced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "liblever/host/registry/loop_executor.h"
#include "liblever/host/registry/schema.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "liblever/policy/grant.h"
#include "liblever/policy/silence.h"
#include "tests/host/deploy/temporary_directory.h"
#include "tests/host/scale/control_fixture.h"
#include "tests/host/scale/host_registry.h"

namespace lever::scale {
namespace {

using fleet::ShardOrderData;
using fleet::ShardOrderKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Before the control loop, which asks it.
struct RegistryParts {
  RegistryParts() {
    LoopOptions loop_options;
    loop_options.posters_drive = false;
    registry_loop = std::move(Loop::Open(loop_options)).value();
    executor = std::make_unique<registry::LoopExecutor>(registry_loop.get());
    registry::SqliteRegistryOptions options;
    options.directory = registry_directory / "registry";
    options.executor = executor.get();
    options.clock = &registry_clock;  // stands still: leases do not end
    sqlite = std::move(registry::SqliteRegistry::Open(options)).value();
    host_registry = std::make_unique<HostRegistry>(sqlite.get());
  }

  deploy::TemporaryDirectory registry_directory;
  ManualClock registry_clock;
  std::unique_ptr<Loop> registry_loop;
  std::unique_ptr<registry::LoopExecutor> executor;
  std::unique_ptr<registry::SqliteRegistry> sqlite;
  std::unique_ptr<HostRegistry> host_registry;
};

// How many shards are whose, by id.
using Shares = std::map<std::string, size_t>;

struct Program {
  uint64_t key = 0;
  fleet::AttachWelcome welcome;
  std::shared_ptr<FakePeer> peer = std::make_shared<FakePeer>();
  size_t read = 0;  // of its orders

  const std::string& id() const { return welcome.instance; }
  std::vector<ShardOrderData> Orders(ShardOrderKind kind) const {
    std::vector<ShardOrderData> orders;
    for (const fleet::ShardOrdersData& message : peer->shards) {
      for (const ShardOrderData& order : message.orders) {
        if (order.kind == kind) orders.push_back(order);
      }
    }
    return orders;
  }
};

class Resources : private RegistryParts, public ControlTest {
 protected:
  Resources() : ControlTest(host_registry.get()) { host_registry->set_loop(loop.get()); }
  ~Resources() override {
    bool closed = false;
    sqlite->Close([&] { closed = true; });
    EXPECT_TRUE(Until([&] {
      registry_loop->Turn(kNanosPerMilli).value();
      return closed;
    }));
    Settle();
  }

  // Until the registry has answered everything, too.
  void SettleAll() {
    do {
      Settle();
      while (host_registry->outstanding() > 0) {
        ASSERT_TRUE(registry_loop->Turn(kNanosPerMilli).ok());
      }
      Settle();
    } while (host_registry->outstanding() > 0);
  }
  StatusOr<Program> TryAttach(fleet::AttachHello hello) {
    Program program;
    std::optional<StatusOr<fleet::AttachWelcome>> welcome;
    hello.has_resources = true;
    Do([&] {
      control->Attach(std::move(hello), program.peer, loop.get(),
                      [&](auto answer) { welcome = std::move(answer); });
    });
    SettleAll();
    if (!welcome->ok()) return welcome->status();
    program.welcome = **welcome;
    program.key = program.welcome.instance_key;
    return program;
  }
  // A program with resources that attaches itself.
  Program AttachProgram() {
    fleet::AttachHello hello;
    hello.environment = "dev.lever";
    hello.service = "hello";
    hello.listen = "127.0.0.1:5000";
    Program program = TryAttach(std::move(hello)).value();
    BecomesReady(program);
    return program;
  }
  void BecomesReady(const Program& program) {
    Do([&] { control->AttachReady(program.key); });
    SettleAll();
  }
  // The instance that was started last says hello, and is ready.
  Program StartedOne() {
    fleet::AttachHello hello;
    hello.caller.instance_key = Last();
    Started(Last());
    Program program = TryAttach(std::move(hello)).value();
    BecomesReady(program);
    return program;
  }
  // Lets go of all that it is asked for, and has not let go of.
  size_t LetGo(Program& program) {
    size_t released = 0;
    const auto asked = program.Orders(ShardOrderKind::kRelease);
    for (; program.read < asked.size(); ++program.read, ++released) {
      const ShardOrderData& order = asked[program.read];
      Do([&] { control->AttachReleased(program.key, {order.shard, order.generation, true}); });
    }
    SettleAll();
    return released;
  }
  void LiveAll(int64_t by_ns, const std::vector<uint64_t>& keys) {
    constexpr int64_t kStepNs = kNanosPerSecond / 2;
    for (int64_t passed = 0; passed < by_ns; passed += kStepNs) {
      Advance(kStepNs);
      for (const uint64_t key : keys) Load(key, 0, 0);
      SettleAll();
    }
  }
  fleet::StateAnswerData Ask(const Program& program, fleet::StateRequestKind kind, uint32_t shard) {
    fleet::StateRequestData request;
    request.id = ++last_request_;
    request.kind = kind;
    request.shard = shard;
    request.generation = OwnerRows().at(shard).generation;
    for (int i = 0; policy::ShardOf("dev.lever", "hello", request.resource, 256) != shard; ++i) {
      request.resource = "n" + std::to_string(i);
    }
    request.payload_kind = 2;
    request.payload = "blob";
    Do([&] { control->AttachState(program.key, request); });
    SettleAll();
    return program.peer->states.empty() ? fleet::StateAnswerData() : program.peer->states.back();
  }

  std::vector<OwnerStatus> OwnerRows() {
    StatusOr<std::vector<OwnerStatus>> rows = Unavailable("no answer");
    Do([&] {
      control->ListOwners(Hello(), loop.get(), [&](auto answer) { rows = std::move(answer); });
    });
    Settle();
    EXPECT_TRUE(rows.ok()) << rows.status().ToString();
    return rows.ok() ? *rows : std::vector<OwnerStatus>();
  }
  // As the controller says it.
  Shares Share() {
    Shares share;
    for (const OwnerStatus& row : OwnerRows()) ++share[row.instance];
    return share;
  }
  // The same as the routes say it.
  Shares Routed() {
    Shares share;
    const ListedService* service = directory.Find(Hello());
    if (service == nullptr || service->view->shards == nullptr) return share;
    for (const ShardOwners::Owner& owner : service->view->shards->owners) {
      ++share[owner.instance == ShardOwners::kNobody ? "nobody"
                                                     : service->instances[owner.instance].id];
    }
    return share;
  }

  uint64_t last_request_ = 0;
};

TEST_F(ControlTest, AHostWithoutARegistryKeepsNoResources) {
  fleet::AttachHello hello;
  hello.environment = "dev.lever";
  hello.service = "hello";
  hello.listen = "127.0.0.1:5000";
  hello.has_resources = true;
  std::optional<StatusOr<fleet::AttachWelcome>> welcome;
  Do([&] {
    control->Attach(std::move(hello), std::make_shared<FakePeer>(), loop.get(),
                    [&](auto answer) { welcome = std::move(answer); });
  });
  Settle();
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(welcome->status().message(), HasSubstr("keeps no resources"));
  EXPECT_THAT(Rows(), IsEmpty());
}

TEST_F(Resources, TheFirstGetsAllShards) {
  const Program a = AttachProgram();
  EXPECT_EQ(a.welcome.shards, 256u);
  ASSERT_FALSE(a.peer->shards.empty());
  EXPECT_TRUE(a.peer->shards[0].begins && a.peer->shards[0].synced);
  EXPECT_EQ(a.Orders(ShardOrderKind::kGrant).size(), 256u);
  EXPECT_EQ(Routed(), (Shares{{a.id(), 256}}));
  EXPECT_TRUE(directory.Find(Hello())->view->has_resources);
  const ServiceView& view = *directory.Find(Hello())->view;
  for (const ShardOrderData& order : a.Orders(ShardOrderKind::kGrant)) {
    EXPECT_EQ(view.shards->owners[order.shard].generation, order.generation);
  }
  Do([&] { control->AttachRenew(a.key, 7); });
  SettleAll();
  EXPECT_THAT(a.peer->renewed, ElementsAre(7));
}

TEST_F(Resources, AThirdTakesItsPartOfBoth) {
  Program a = AttachProgram();
  Program b = AttachProgram();
  const size_t of_b = LetGo(a);
  EXPECT_NEAR(static_cast<double>(of_b), 128, 16);
  EXPECT_EQ(Share(), (Shares{{a.id(), 256 - of_b}, {b.id(), of_b}}));
  EXPECT_EQ(b.Orders(ShardOrderKind::kGrant).size(), of_b);
  Program c = AttachProgram();
  // Calls wait at the one that was named; the routes lead there already.
  EXPECT_EQ(c.Orders(ShardOrderKind::kName).size(), Routed()[c.id()]);
  EXPECT_EQ(c.Orders(ShardOrderKind::kGrant).size(), 0u);
  const size_t moved = LetGo(a) + LetGo(b);
  EXPECT_NEAR(static_cast<double>(moved), 256.0 / 3, 22);
  EXPECT_EQ(c.Orders(ShardOrderKind::kGrant).size(), moved);
  EXPECT_EQ(Share()[c.id()], moved);
  EXPECT_EQ(Share(), Routed());
  for (const OwnerStatus& row : OwnerRows()) EXPECT_TRUE(row.settled);
}

TEST_F(Resources, OneThatDrainsIsAskedForItsShards) {
  Program a = AttachProgram();
  Program b = AttachProgram();
  const size_t of_b = LetGo(a);
  Do([&] { control->AttachDraining(b.key); });
  SettleAll();
  const auto asked = b.Orders(ShardOrderKind::kRelease);
  ASSERT_EQ(asked.size(), of_b);
  EXPECT_EQ(asked[0].reason, fleet::ShardCloseReason::kStopping);
  EXPECT_EQ(asked[0].next, a.id());
  LetGo(b);
  EXPECT_EQ(Share(), (Shares{{a.id(), 256}}));
  EXPECT_EQ(a.Orders(ShardOrderKind::kGrant).size(), 256 + of_b);
}

TEST_F(Resources, OneThatIsStalledKeepsItsShards) {
  Program a = AttachProgram();
  Program b = AttachProgram();
  const size_t of_b = LetGo(a);
  LiveAll(policy::kStalledAfterNs + 2 * kNanosPerSecond, {b.key});
  EXPECT_EQ(Routed(), (Shares{{"nobody", 256 - of_b}, {b.id(), of_b}}));
  EXPECT_EQ(Share()[a.id()], 256 - of_b);
  EXPECT_EQ(a.Orders(ShardOrderKind::kRelease).size(), of_b) << "those of before";
  Load(a.key, 0, 0);
  SettleAll();
  EXPECT_EQ(Routed(), (Shares{{a.id(), 256 - of_b}, {b.id(), of_b}}));
}

TEST_F(Resources, TheShardsOfAProgramThatWentAreGrantedAnewAfterATerm) {
  Program a = AttachProgram();
  Program b = AttachProgram();
  const size_t of_b = LetGo(a);
  Do([&] { control->AttachRenew(a.key, 1); });
  SettleAll();
  Do([&] { control->AttachEnded(a.key, Status::Ok()); });
  SettleAll();
  std::set<uint32_t> named;
  for (const ShardOrderData& order : b.Orders(ShardOrderKind::kName)) named.insert(order.shard);
  EXPECT_EQ(named.size(), 256u) << "its calls may wait there";
  LiveAll(policy::kGrantTermNs, {b.key});
  EXPECT_EQ(b.Orders(ShardOrderKind::kGrant).size(), of_b);
  LiveAll(kNanosPerSecond, {b.key});
  EXPECT_EQ(b.Orders(ShardOrderKind::kGrant).size(), 256u);
}

TEST_F(Resources, AVersionTakesTheShardsOfTheOneBefore) {
  Deploy(Spec(1));
  Demand();
  Program old = StartedOne();
  EXPECT_EQ(old.Orders(ShardOrderKind::kGrant).size(), 256u);
  Deploy(Spec(2));
  SettleAll();
  Program fresh = StartedOne();
  ASSERT_NE(fresh.key, old.key);
  const auto asked = old.Orders(ShardOrderKind::kRelease);
  ASSERT_EQ(asked.size(), 256u);
  EXPECT_EQ(asked[0].reason, fleet::ShardCloseReason::kUpgrade);
  EXPECT_EQ(asked[0].next, fresh.id());
  EXPECT_GE(old.peer->drain_timeout_ns, 0);
  EXPECT_EQ(Routed(), (Shares{{fresh.id(), 256}}));
  EXPECT_EQ(fresh.Orders(ShardOrderKind::kGrant).size(), 0u);
  LetGo(old);
  EXPECT_EQ(fresh.Orders(ShardOrderKind::kGrant).size(), 256u);
  EXPECT_EQ(OwnerRows()[0].version, 2u);
}

TEST_F(Resources, OneThatStandsByOwnsNothingUntilItIsPromoted) {
  ServiceSpec spec = Spec();
  spec.standby = 1;
  Deploy(spec);
  Program one = StartedOne();
  EXPECT_EQ(one.Orders(ShardOrderKind::kGrant).size(), 0u);
  Demand();
  SettleAll();
  EXPECT_EQ(Routed(), (Shares{{one.id(), 256}}));
  EXPECT_EQ(one.Orders(ShardOrderKind::kGrant).size(), 256u);
  ASSERT_EQ(driver.order.size(), 2u);
  const Program two = StartedOne();
  EXPECT_EQ(Routed(), (Shares{{one.id(), 256}}));
  StatusOr<OwnerChange> moved = Unavailable("no answer");
  Do([&] {
    control->ChangeOwner(Hello(), "a", policy::ShardChange::kMove, two.id(), loop.get(),
                         [&](auto answer) { moved = std::move(answer); });
  });
  SettleAll();
  EXPECT_FALSE(moved.ok());
  // Whoever comes beside it changes nothing.
  const Program beside = AttachProgram();
  LetGo(one);
  EXPECT_EQ(Share()[one.id()] + Share()[beside.id()], 256u);
  Exited(one.key, 1);
  SettleAll();
  EXPECT_EQ(Share()[beside.id()], 256u);
  Demand();
  SettleAll();
  EXPECT_NEAR(static_cast<double>(Routed()[two.id()]), 128, 16);
}

TEST_F(Resources, AnInstanceThatWasSeenToEndIsNotWaitedFor) {
  Deploy(Spec());
  Demand();
  Program one = StartedOne();
  const Program b = AttachProgram();
  LetGo(one);
  Exited(one.key, 1);
  SettleAll();
  EXPECT_EQ(Share()[b.id()], 256u);
  EXPECT_EQ(b.Orders(ShardOrderKind::kGrant).size(), 256u);
}

TEST_F(Resources, AProgramTakesAsManyShardsAsTheServiceHas) {
  ServiceSpec spec = Spec();
  spec.shards = 64;
  Deploy(spec);
  const Program program = AttachProgram();
  EXPECT_EQ(program.welcome.shards, 64u);
  Demand();
  const Program started = StartedOne();
  EXPECT_EQ(started.welcome.shards, 64u);
}

TEST_F(Resources, AfterARemovalTheServiceOfThatNameCarriesAgain) {
  Deploy(Spec());
  Demand();
  Program first = StartedOne();
  Do([&] { control->Remove(Hello(), [](Status) {}); });
  SettleAll();
  EXPECT_TRUE(Ask(first, fleet::StateRequestKind::kCarry, 3).status.ok());
  LetGo(first);
  Do([&] { control->AttachEnded(first.key, Status::Ok()); });
  Exited(first.key);
  SettleAll();
  EXPECT_EQ(directory.Find(Hello()), nullptr);

  Deploy(Spec(2));
  Demand();
  const Program second = StartedOne();
  EXPECT_EQ(Ask(second, fleet::StateRequestKind::kOpen, 3).origin, fleet::StateOrigin::kNew)
      << "what the removed one carried is not kept";
  EXPECT_TRUE(Ask(second, fleet::StateRequestKind::kCarry, 3).status.ok());
  EXPECT_EQ(Ask(second, fleet::StateRequestKind::kOpen, 3).origin, fleet::StateOrigin::kCarried);
}

TEST_F(Resources, AShutdownWaitsUntilWhatWasReleasedIsDurable) {
  Deploy(Spec());
  Demand();
  Program one = StartedOne();
  bool down = false;
  Do([&] { control->Shutdown([&] { down = true; }); });
  SettleAll();
  for (const ShardOrderData& order : one.Orders(ShardOrderKind::kRelease)) {
    Do([&] { control->AttachReleased(one.key, {order.shard, order.generation, true}); });
  }
  Exited(one.key);
  EXPECT_FALSE(down) << "the rows are being written";
  SettleAll();
  Advance(2 * ControlLoop::kDrainPollNs);
  EXPECT_TRUE(down);
  for (const OwnerStatus& row : OwnerRows()) EXPECT_EQ(row.instance, "");
}

}  // namespace
}  // namespace lever::scale
