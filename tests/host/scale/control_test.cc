// Starts, stops, versions: what the control plane does with what is demanded and what the driver tells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

using Control = ControlTest;

TEST_F(Control, WhatNobodyCallsIsNotStarted) {
  Deploy(Spec());
  EXPECT_TRUE(deployed->ok());
  EXPECT_TRUE(driver.order.empty());
  ASSERT_NE(directory.Find(Hello()), nullptr);
  EXPECT_TRUE(directory.Find(Hello())->view->startable);
}

TEST_F(Control, CallsThatComeWhileItStartsShareTheOneStart) {
  auto spec = Spec();
  spec.instances_max = 1;
  Deploy(spec);
  for (uint32_t i = 1; i <= 300; ++i) Demand(i);
  ASSERT_EQ(driver.order.size(), 1u);
  EXPECT_TRUE(Listed().empty());
  Ready(Last());
  EXPECT_THAT(Listed(), ElementsAre(Last()));
  for (int i = 0; i < 10; ++i) Demand();
  EXPECT_EQ(driver.order.size(), 1u);
  EXPECT_EQ(control->Counters().instances_started, 1u);
}

TEST_F(Control, SeveralAreStartedForALoadAndTheLeastLoadedAreDrainedWhenItFalls) {
  Deploy(Spec());
  const uint64_t first = Up();
  Load(first, 30, 0);
  ASSERT_EQ(driver.order.size(), 4u) << "one for each ten, and headroom";
  std::vector<uint64_t> all = driver.order;
  for (size_t i = 1; i < all.size(); ++i) Ready(all[i]);
  EXPECT_EQ(Listed().size(), 4u);
  EXPECT_EQ(driver.order.size(), 4u);
  // Load stays on two of them: after the wait the others go.
  for (int half = 0; half < 240; ++half) {
    Advance(kNanosPerSecond / 2);
    for (const uint64_t key : all) Load(key, key == all[1] || key == all[2] ? 5 : 0, 0);
    if (half == 100) {
      EXPECT_EQ(Listed().size(), 4u) << "it waits";
    }
  }
  EXPECT_THAT(Listed(), ElementsAre(all[1], all[2]));
  EXPECT_EQ(peers[all[0]]->reason, "the load needs fewer instances");
  EXPECT_EQ(peers[all[3]]->reason, "the load needs fewer instances");
}

TEST_F(Control, OneOfSeveralThatFailsToStartFailsNobodyWhoWaits) {
  Deploy(Spec());
  Demand(300);
  ASSERT_EQ(driver.order.size(), 3u);
  const std::vector<uint64_t> all = driver.order;
  Started(all[0]);
  Exited(all[0], 1);
  EXPECT_TRUE(failures.empty());
  Started(all[1]);
  Exited(all[1], 1);
  EXPECT_TRUE(failures.empty());
  Started(all[2]);
  Exited(all[2], 1);
  EXPECT_EQ(failures.size(), 1u) << "there is none left";
  // Together they are one crash in a row: the wait is that of the first.
  Advance(static_cast<int64_t>(1.3 * policy::kBackoffFirstNs));
  Demand(1);
  EXPECT_EQ(driver.order.size(), 4u);
}

TEST_F(Control, HoldersAreAddedUpAndSayWhenTheyHoldNothingAnyMore) {
  auto spec = Spec();
  spec.instances_max = 3;
  Deploy(spec);
  int other = 0;
  Demand(1);
  ASSERT_EQ(driver.order.size(), 1u);
  Do([&] { control->Demand(Hello(), &other, 400); });
  Settle();
  EXPECT_EQ(driver.order.size(), 3u);
  Do([&] { control->Demand(Hello(), &other, 0); });
  Demand(0);
  EXPECT_TRUE(failures.empty());
}

TEST_F(Control, ADemandForNothingIsRefused) {
  Demand();
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].code(), LEVER_NOT_FOUND);
}

TEST_F(Control, AProcessThatExitsAtOnceFailsWhoWaitsWithItsLastWords) {
  Deploy(Spec());
  Demand(5);
  output.last_words = "Error: Cannot find module 'x'";
  Started(Last());
  Exited(Last(), 3);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(failures[0].executed(), LEVER_EXECUTED_NO);
  EXPECT_THAT(failures[0].message(), HasSubstr("exited with code 3 before it was ready"));
  EXPECT_THAT(failures[0].message(), HasSubstr("Cannot find module 'x'"));
  EXPECT_EQ(output.open, 0);
}

TEST_F(Control, CrashesInARowWaitLongerAndLonger) {
  Deploy(Spec());
  Demand();
  int64_t last_wait_ns = 0;
  for (size_t crash = 1; crash <= 6; ++crash) {
    ASSERT_EQ(driver.order.size(), crash);
    Started(Last());
    Exited(Last(), 1);
    // Not at once: refused, with when.
    failures.clear();
    Demand();
    ASSERT_EQ(failures.size(), 1u) << crash;
    EXPECT_THAT(failures[0].message(), HasSubstr("the next start is tried in"));
    int64_t wait_ns = 0;
    for (; driver.order.size() == crash; wait_ns += 50 * kNanosPerMilli) {
      ASSERT_LT(wait_ns, policy::kBackoffMaxNs);
      Advance(50 * kNanosPerMilli);
      Demand();
    }
    EXPECT_GT(wait_ns, last_wait_ns) << crash;
    last_wait_ns = wait_ns;
  }
}

TEST_F(Control, WhatIsNotReadyWithinItsStartTimeoutIsKilled) {
  Deploy(Spec());
  Demand();
  Started(Last());
  Advance(30 * kNanosPerSecond - 1);
  EXPECT_TRUE(driver.killed.empty());
  Advance(1);
  EXPECT_TRUE(driver.killed.contains(Last()));
  EXPECT_TRUE(failures.empty()) << "it is told when it is gone";
  Exited(Last(), 0);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_THAT(failures[0].message(), HasSubstr("not ready within 30000 ms (startTimeout)"));
}

TEST_F(Control, ADriverThatHangsKeepsNobodyWaiting) {
  Deploy(Spec());
  Demand();
  Advance(30 * kNanosPerSecond);
  Advance(ControlLoop::kExitGraceNs);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_TRUE(driver.removed.contains(Last()));
  EXPECT_TRUE(Rows().empty());
  // What it says late is passed over.
  const uint64_t late = Last();
  Started(late);
  Exited(late);
  EXPECT_EQ(failures.size(), 1u);
}

TEST_F(Control, WhatCannotBeStartedOrPlannedIsTold) {
  Deploy(Spec());
  Demand();
  Do([&] { driver.events->OnFailed(Last(), NotFound("./serve: No such file")); });
  Settle();
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_THAT(failures[0].message(), HasSubstr("could not be started: ./serve: No such file"));
  Advance(2 * policy::kBackoffMaxNs);
  planner.answer = FailedPrecondition("this host has no node");
  Demand();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_THAT(failures[1].message(), HasSubstr("this host has no node"));
  EXPECT_EQ(driver.order.size(), 1u);
}

TEST_F(Control, AnIdleInstanceIsDrainedAndStopped) {
  auto spec = Spec();
  spec.idle_timeout_ns = kNanosPerSecond;
  Deploy(spec);
  const uint64_t key = Up();
  Advance(kNanosPerSecond - 1);
  EXPECT_EQ(peers[key]->reason, "");
  Advance(1);
  EXPECT_EQ(peers[key]->reason, "it was idle");
  EXPECT_EQ(peers[key]->drain_timeout_ns, 10 * kNanosPerSecond);
  EXPECT_TRUE(Listed().empty()) << "out of every table first";
  Do([&] { control->AttachDrained(key, 0); });
  Settle();
  Exited(key);
  EXPECT_TRUE(Rows().empty());
  EXPECT_TRUE(driver.killed.empty());
  // No crash: the next call starts it at once.
  Demand();
  EXPECT_EQ(driver.order.size(), 2u);
  EXPECT_TRUE(failures.empty());
}

TEST_F(Control, AnOpenStreamOrARelayedCallKeepsItFromIdling) {
  auto spec = Spec();
  spec.idle_timeout_ns = kNanosPerSecond;
  Deploy(spec);
  const uint64_t key = Up();
  Load(key, 0, 1);
  for (int i = 0; i < 20; ++i) {
    Advance(kNanosPerSecond / 2);
    Load(key, 0, 1);
  }
  EXPECT_THAT(Listed(), ElementsAre(key));
  Load(key, 0, 0);
  directory.Find(Hello())->instances[0].load->relayed = 1;
  Advance(2 * kNanosPerSecond);
  EXPECT_THAT(Listed(), ElementsAre(key));
  directory.Find(Hello())->instances[0].load->relayed = 0;
  Load(key, 0, 0);
  Advance(kNanosPerSecond);
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(Control, TheMinimumIsKeptRunning) {
  auto spec = Spec();
  spec.instances_min = 1;
  spec.idle_timeout_ns = kNanosPerSecond;
  Deploy(spec);
  EXPECT_FALSE(deployed.has_value()) << "it serves once its first instance is ready";
  ASSERT_EQ(driver.order.size(), 1u);
  const uint64_t first = Last();
  Ready(first);
  ASSERT_TRUE(deployed.has_value() && deployed->ok());
  Live(20 * kNanosPerSecond, {first});
  EXPECT_THAT(Listed(), ElementsAre(first)) << "it is never idle";
  Exited(first, 1);
  EXPECT_EQ(driver.order.size(), 2u) << "it had run for a while: at once";
}

TEST_F(Control, ACrashTakesItOutOfTheTablesAndTheNextCallStartsAnother) {
  Deploy(Spec());
  const uint64_t key = Up();
  Advance(kNanosPerSecond);
  Exited(key, 1);
  EXPECT_TRUE(Listed().empty());
  Demand();
  ASSERT_EQ(driver.order.size(), 2u);
  EXPECT_TRUE(failures.empty());
}

TEST_F(Control, ASessionThatEndsLosesTheInstance) {
  Deploy(Spec());
  const uint64_t key = Up();
  Do([&] { control->AttachEnded(key, Unavailable("gone")); });
  Settle();
  EXPECT_TRUE(Listed().empty());
  EXPECT_TRUE(driver.killed.empty());
  Advance(ControlLoop::kExitGraceNs);
  EXPECT_TRUE(driver.killed.contains(key));
  Exited(key);
  EXPECT_TRUE(Rows().empty());
}

// ---- Versions ----

TEST_F(Control, ANewVersionTakesTheCallsOnceItIsReadyAndTheOldDrains) {
  Deploy(Spec(1));
  const uint64_t old = Up();
  Deploy(Spec(2));
  EXPECT_FALSE(deployed.has_value());
  ASSERT_EQ(driver.order.size(), 2u);
  const uint64_t next = Last();
  EXPECT_EQ(driver.started.at(next).version, 2u);
  EXPECT_THAT(Listed(), ElementsAre(old));
  EXPECT_EQ(directory.Find(Hello())->view->version, 1u);
  Ready(next);
  ASSERT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_THAT(Listed(), ElementsAre(next));
  EXPECT_EQ(directory.Find(Hello())->view->version, 2u);
  EXPECT_EQ(peers[old]->reason, "version 2 takes its place");
  Exited(old);
  EXPECT_EQ(Rows().size(), 1u);
  EXPECT_THAT(Listed(), ElementsAre(next));
}

TEST_F(Control, AVersionThatDoesNotStartLeavesTheOldOneServing) {
  Deploy(Spec(1));
  const uint64_t old = Up();
  Deploy(Spec(2));
  output.last_words = "SyntaxError";
  Started(Last());
  Exited(Last(), 1);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_EQ(deployed->code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(deployed->message(), HasSubstr("SyntaxError"));
  EXPECT_THAT(Listed(), ElementsAre(old));
  EXPECT_EQ(directory.Find(Hello())->view->version, 1u);
  EXPECT_EQ(peers[old]->reason, "");
  EXPECT_TRUE(failures.empty());
}

// Version 1 under a load that it has several instances for.
class Upgrade : public ControlTest {
 protected:
  static ServiceSpec Wide(uint64_t version) {
    auto spec = Spec(version);
    spec.instances_max = 10;
    spec.load_target = 10;
    return spec;
  }
  void Begin() {
    Deploy(Wide(1));
    const uint64_t first = Up();
    Load(first, 25, 0);
    old = driver.order;
    for (size_t i = 1; i < old.size(); ++i) Ready(old[i]);
    ASSERT_THAT(Listed(), ElementsAreArray(old));
    ASSERT_GE(old.size(), 3u);
    Deploy(Wide(2));
    next.assign(driver.order.begin() + static_cast<ptrdiff_t>(old.size()), driver.order.end());
  }
  std::vector<uint64_t> old, next;
};

TEST_F(Upgrade, TakesOverWhenAsManyAreReadyAsTheLoadNeeds) {
  Begin();
  ASSERT_EQ(next.size(), old.size());
  for (size_t i = 1; i < next.size(); ++i) Ready(next[i]);
  EXPECT_FALSE(deployed.has_value());
  EXPECT_EQ(Listed(), old);
  Ready(next[0]);
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_THAT(Listed(), UnorderedElementsAreArray(next));
  for (const uint64_t key : old) EXPECT_EQ(peers[key]->reason, "version 2 takes its place");
}

TEST_F(Upgrade, FailsWithAnyOfThem) {
  Begin();
  Ready(next[0]);
  Exited(next[0], 1);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_EQ(deployed->code(), LEVER_UNAVAILABLE);
  EXPECT_TRUE(driver.killed.contains(next[1]) && driver.killed.contains(next[2]));
  EXPECT_EQ(Listed(), old);
}

TEST_F(Upgrade, WaitsForNoMoreThanItMayHave) {
  Begin();
  for (const uint64_t key : next) Ready(key);
  for (const uint64_t key : old) Exited(key);
  Load(next[0], 25, 0);
  auto narrow = Wide(3);
  narrow.instances_max = 1;
  const size_t before = driver.order.size();
  Deploy(narrow);
  ASSERT_EQ(driver.order.size(), before + 1);
  Ready(Last());
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_EQ(Listed(), std::vector<uint64_t>{Last()});
}

TEST_F(Upgrade, WaitsForNobodyWhereTheOldVersionIsGone) {
  Begin();
  Ready(next[0]);
  for (const uint64_t key : old) Exited(key, 1);
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_EQ(Listed(), std::vector<uint64_t>{next[0]});
}

TEST_F(Control, OneDeployAtATime) {
  Deploy(Spec(1));
  Up();
  Deploy(Spec(2));
  std::optional<Status> third;
  Do([&] { control->Deploy(Spec(3), [&](Status status) { third = std::move(status); }); });
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->code(), LEVER_ABORTED);
  Ready(Last());
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
}

TEST_F(Control, ADeployThatIsToStartFirstServesWhenItsInstanceIsReadyAlsoWhereNoneRuns) {
  auto spec = Spec(1);
  spec.start_first = true;
  Deploy(spec);
  ASSERT_EQ(driver.started.size(), 1u);
  EXPECT_FALSE(deployed.has_value()) << "its instance is not ready yet";
  Ready(Last());
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_EQ(Listed().size(), 1u);
}

TEST_F(Control, ADeployOverASameServiceThatStartsWaitsForTheNewVersion) {
  Deploy(Spec(1));
  Demand();
  const uint64_t old = Last();
  Started(old);
  Deploy(Spec(2));
  Ready(Last());
  EXPECT_TRUE(deployed.has_value() && deployed->ok());
  EXPECT_TRUE(driver.killed.contains(old)) << "it was not ready, and is not needed any more";
  Exited(old);
  EXPECT_TRUE(failures.empty());
  EXPECT_EQ(Listed().size(), 1u);
}

TEST_F(Control, WhatDoesNotDrainInTimeIsKilled) {
  Deploy(Spec());
  const uint64_t key = Up();
  Do([&] { control->Remove(Hello(), [this](Status status) { deployed = std::move(status); }); });
  Settle();
  EXPECT_TRUE(deployed->ok());
  EXPECT_EQ(removals, 1);
  EXPECT_EQ(directory.Find(Hello()), nullptr);
  EXPECT_EQ(peers[key]->reason, "the service was removed");
  Advance(10 * kNanosPerSecond + ControlLoop::kDrainSlackNs - 1);
  EXPECT_TRUE(driver.killed.empty());
  Advance(1);
  EXPECT_TRUE(driver.killed.contains(key));
  Exited(key);
  EXPECT_TRUE(Rows().empty());
}

TEST_F(Control, ADrainedProcessThatDoesNotExitIsEnded) {
  Deploy(Spec());
  const uint64_t key = Up();
  Do([&] {
    control->AttachDraining(key);
    control->AttachDrained(key, 2);
  });
  Settle();
  EXPECT_TRUE(Listed().empty());
  Advance(ControlLoop::kExitGraceNs);
  EXPECT_TRUE(driver.killed.contains(key));
  EXPECT_THAT(output.notes, testing::Contains(HasSubstr("cut off 2 calls")));
}

TEST_F(Control, ShutdownDrainsAllAndStartsNothing) {
  Deploy(Spec());
  const uint64_t key = Up();
  bool done = false;
  Do([&] { control->Shutdown([&] { done = true; }); });
  Settle();
  EXPECT_FALSE(done);
  EXPECT_EQ(peers[key]->reason, "the host is shutting down");
  Demand();
  EXPECT_EQ(driver.order.size(), 1u);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_THAT(failures[0].message(), HasSubstr("shutting down"));
  Exited(key);
  EXPECT_TRUE(done);
}

// ---- Attached programs ----

class AttachedPrograms : public ControlTest {
 protected:
  static constexpr char kAddress[] = "tls:127.0.0.1:5000";

  StatusOr<fleet::AttachWelcome> Attach(std::shared_ptr<FakePeer> peer, const std::string& listen = "",
                                        bool is_private = false,
                                        std::optional<std::string> key_hash = std::nullopt) {
    fleet::AttachHello hello;
    hello.environment = "dev.lever";
    hello.service = "hello";
    hello.pid = 42;
    hello.listen = listen;
    hello.is_private = is_private;
    hello.listen_key_hash = key_hash.value_or(listen.starts_with("tls:") ? std::string(32, 'k') : "");
    std::optional<StatusOr<fleet::AttachWelcome>> welcome;
    Do([&] {
      control->Attach(std::move(hello), std::move(peer), loop.get(), [&](auto answer) { welcome = std::move(answer); });
    });
    Settle();
    return std::move(*welcome);
  }
};

TEST_F(AttachedPrograms, ServeWithoutADeployUntilTheyGo) {
  const auto peer = std::make_shared<FakePeer>();
  const auto welcome = Attach(peer, "127.0.0.1:5000");
  ASSERT_TRUE(welcome.ok());
  EXPECT_EQ(welcome->version, 0u);
  EXPECT_NE(welcome->nonce, "");
  EXPECT_TRUE(Listed().empty()) << "not before it says so";
  EXPECT_FALSE(peer->serving);
  Do([&] { control->AttachReady(welcome->instance_key); });
  Settle();
  EXPECT_THAT(Listed(), ElementsAre(welcome->instance_key));
  EXPECT_TRUE(peer->serving);
  EXPECT_FALSE(directory.Find(Hello())->view->startable);
  Do([&] { control->AttachEnded(welcome->instance_key, Unavailable("it went")); });
  Settle();
  EXPECT_EQ(directory.Find(Hello()), nullptr);
  EXPECT_EQ(output.open, 0);
}

TEST_F(AttachedPrograms, OfAPrivateDeployedServiceAreRefused) {
  auto spec = Spec();
  spec.is_private = true;
  Deploy(spec);
  EXPECT_EQ(Attach(std::make_shared<FakePeer>()).status().code(), LEVER_PERMISSION_DENIED);
  EXPECT_TRUE(Attach(std::make_shared<FakePeer>(), "", true).ok()) << "unless they are private, too";
}

TEST_F(AttachedPrograms, OfOneServiceArePrivateAllOrNone) {
  ASSERT_TRUE(Attach(std::make_shared<FakePeer>(), "", true).ok());
  EXPECT_EQ(Attach(std::make_shared<FakePeer>()).status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_TRUE(Attach(std::make_shared<FakePeer>(), kAddress, true).ok());
}

TEST_F(AttachedPrograms, OfAPublicServiceAreNotPrivate) {
  ASSERT_TRUE(Attach(std::make_shared<FakePeer>()).ok());
  EXPECT_EQ(Attach(std::make_shared<FakePeer>(), "", true).status().code(), LEVER_FAILED_PRECONDITION);
}

TEST_F(AttachedPrograms, AVersionThatIsNotAsPrivateAsTheyAreIsRefused) {
  for (const bool is_private : {true, false}) {
    const auto welcome = Attach(std::make_shared<FakePeer>(), "", is_private);
    ASSERT_TRUE(welcome.ok()) << welcome.status().ToString();
    auto spec = Spec();
    spec.is_private = !is_private;
    Deploy(spec);
    ASSERT_TRUE(deployed.has_value());
    EXPECT_EQ(deployed->code(), LEVER_FAILED_PRECONDITION);
    EXPECT_TRUE(driver.order.empty());
    Do([&] { control->AttachEnded(welcome->instance_key, Unavailable("it went")); });
    Settle();
  }
  auto spec = Spec();
  spec.is_private = true;
  Deploy(spec);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_TRUE(deployed->ok());
}

TEST_F(AttachedPrograms, WhoIsPrivateIsListedSo) {
  const auto welcome = Attach(std::make_shared<FakePeer>(), kAddress, true);
  Do([&] { control->AttachReady(welcome->instance_key); });
  Settle();
  EXPECT_TRUE(directory.Find(Hello())->is_private);
}

TEST_F(AttachedPrograms, AnAddressWithTlsComesWithTheHashOfItsKeyAndNoOther) {
  const auto peer = std::make_shared<FakePeer>();
  EXPECT_EQ(Attach(peer, kAddress, false, "").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Attach(peer, kAddress, false, "short").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Attach(peer, "127.0.0.1:5000", false, std::string(32, 'k')).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Attach(peer, "", false, std::string(32, 'k')).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Attach(peer, "nonsense").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Attach(peer, "127.0.0.1:5000", true).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(directory.Find(Hello()), nullptr);
}

TEST_F(AttachedPrograms, ServeBesideWhatIsDeployed) {
  Deploy(Spec());
  const uint64_t started = Up();
  const auto welcome = Attach(std::make_shared<FakePeer>(), "127.0.0.1:5000");
  Do([&] { control->AttachReady(welcome->instance_key); });
  Settle();
  EXPECT_THAT(Listed(), ElementsAre(started, welcome->instance_key));
  // They are told to drain with the service, and never signalled.
  Do([&] { control->Remove(Hello(), [](Status) {}); });
  Settle();
  EXPECT_TRUE(driver.killed.empty());
}

// ---- Introductions ----

TEST_F(Control, AConnectionToAnInstanceComesOverItsSocket) {
  Deploy(Spec());
  const uint64_t key = Up();
  std::optional<StatusOr<HostWay>> end;
  Do([&] { control->Connect(key, loop.get(), [&](auto answer) { end = std::move(answer); }); });
  Settle();
  ASSERT_TRUE(end.has_value() && end->ok()) << end->status().ToString();
  std::vector<uint8_t> buffer(4096);
  const auto packet = ReceiveWithFds(driver.started.at(key).introduction.get(), buffer, 1);
  ASSERT_TRUE(packet.ok()) << packet.status().ToString();
  EXPECT_EQ(packet->fds.size(), 1u);
  end.reset();
  Do([&] { control->Connect(99999, loop.get(), [&](auto answer) { end = std::move(answer); }); });
  Settle();
  EXPECT_EQ(end->status().code(), LEVER_UNAVAILABLE);
}

class Introducing : public AttachedPrograms {
 protected:
  // An attached program that is ready, and cannot be handed a socket.
  std::string Listening(bool is_private = false) {
    welcome = Attach(std::make_shared<FakePeer>(), kAddress, is_private).value();
    Do([&] { control->AttachReady(welcome.instance_key); });
    Settle();
    verifier.SetKeys(welcome.token_keys);
    return welcome.instance;
  }
  uint64_t Watcher(const std::string& environment) {
    fleet::Caller caller;
    caller.environment = environment;
    if (!environment.empty()) caller.identity = "lever://" + environment + "/shop";
    uint64_t key = 0;
    Do([&] { control->AddWatcher(caller, loop.get(), [&](const auto& ticket) { key = ticket.key; }); });
    Settle();
    return key;
  }
  StatusOr<route::AddressWay> Introduce(uint64_t watcher, const std::string& instance,
                                        route::IntroduceBy by = route::IntroduceBy::kAddress) {
    std::optional<StatusOr<route::AddressWay>> way;
    Do([&] { control->Introduce(watcher, 1, instance, by, loop.get(), [&](auto answer) { way = std::move(answer); }); });
    Settle();
    return std::move(*way);
  }
  route::TokenClaims Claims(const route::AddressWay& way) {
    const auto claims = verifier.Verify(way.token, welcome.instance, route::UnixNowSeconds());
    EXPECT_TRUE(claims.ok()) << claims.status().ToString();
    return claims.ok() ? *claims : route::TokenClaims();
  }

  fleet::AttachWelcome welcome;
  route::TokenVerifier verifier;
};

TEST_F(Introducing, ByAddressACallerGetsATokenForTheInstance) {
  const auto way = Introduce(Watcher("dev.lever"), Listening());
  ASSERT_TRUE(way.ok()) << way.status().ToString();
  EXPECT_EQ(way->address, kAddress);
  EXPECT_EQ(way->key_hash, std::string(32, 'k'));
  const route::TokenClaims claims = Claims(*way);
  EXPECT_EQ(claims.issuer, "h-1");
  EXPECT_EQ(claims.caller, "lever://dev.lever/shop");
  EXPECT_EQ(claims.expires_s - claims.issued_s, route::kTokenLifetimeSeconds);
  EXPECT_FALSE(claims.host);
  EXPECT_EQ(control->Counters().introductions, 1u);
}

TEST_F(Introducing, SomebodyFromOutsideGetsOneThatNamesNobody) {
  const auto way = Introduce(Watcher(""), Listening());
  ASSERT_TRUE(way.ok());
  EXPECT_EQ(Claims(*way).caller, "");
}

TEST_F(Introducing, AnInstanceThatCannotBeHandedASocketIsReachedAtItsAddress) {
  const auto way = Introduce(Watcher("dev.lever"), Listening(), route::IntroduceBy::kSocket);
  ASSERT_TRUE(way.ok());
  EXPECT_EQ(way->address, kAddress);
}

TEST_F(Introducing, OnesThatMayNotCallGetNone) {
  const std::string instance = Listening(true);
  EXPECT_TRUE(Introduce(Watcher("dev.lever"), instance).ok());
  for (const char* environment : {"", "staging"}) {
    EXPECT_EQ(Introduce(Watcher(environment), instance).status().code(), LEVER_PERMISSION_DENIED);
  }
}

TEST_F(Introducing, AnInstanceWithoutAnAddressHasNone) {
  Deploy(Spec());
  const uint64_t key = Up();
  const std::string id = directory.Find(Hello())->instances[0].id;
  EXPECT_EQ(Introduce(Watcher("dev.lever"), id).status().code(), LEVER_UNAVAILABLE);
  EXPECT_NE(key, 0u);
}

TEST_F(Introducing, TheHostsOwnTokenSaysSo) {
  Listening();
  std::optional<StatusOr<HostWay>> way;
  Do([&] { control->Connect(welcome.instance_key, loop.get(), [&](auto answer) { way = std::move(answer); }); });
  Settle();
  ASSERT_TRUE(way->ok()) << way->status().ToString();
  const auto* address = std::get_if<route::AddressWay>(&**way);
  ASSERT_NE(address, nullptr);
  EXPECT_TRUE(Claims(*address).host);
}

TEST_F(Control, AnInstanceWhoseIntroductionSocketEndsIsLost) {
  Deploy(Spec());
  const uint64_t key = Up();
  driver.started.at(key).introduction.reset();
  ASSERT_TRUE(Until([&] { return Listed().empty(); }));
  EXPECT_EQ(peers[key]->reason, "its introduction socket has ended");
  Demand();
  EXPECT_EQ(driver.order.size(), 2u) << "another one is started meanwhile";
}

}  // namespace
}  // namespace lever::scale
