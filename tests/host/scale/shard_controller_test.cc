// The controller of a service's shards over a real registry: who may decide, what is told to whom and
// in which order, and what becomes of that when leases end, writes fail and instances go.
#include "liblever/host/scale/shard_controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "liblever/policy/grant.h"
#include "tests/host/scale/shard_controller_fixture.h"

namespace lever::scale {
namespace {

using fleet::StateOrigin;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Longer than any grant lasts.
constexpr int64_t kTerm = policy::kGrantTermNs + kSecond;

// ---- Leading ----

TEST_F(ShardControllerTest, TakesTheKeyUnderTheHostsLeaseAndLeads) {
  Start();
  EXPECT_TRUE(controller().leading());
  const auto entry = world.Read(key_);
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->value, "h-1");
  EXPECT_EQ(entry->lease, host().lease.id());
  EXPECT_EQ(OwnerNames(), std::vector<std::string>(kShards));
}

TEST_F(ShardControllerTest, DoesNotLeadWhileAnotherHostHasTheKey) {
  const registry::LeaseId other = world.TakeLease(3600 * kSecond);
  world.Commit(registry::Transaction().Then(registry::Operation::Put(key_, "h-2", other)));
  Start();
  Session("a");
  Eligible({"a"});
  Renew("a", 1);
  world.Live(30 * kSecond);
  EXPECT_FALSE(controller().leading());
  EXPECT_THAT(controller().Owners(), IsEmpty());
  EXPECT_THAT(shell().told, IsEmpty());
  EXPECT_THAT(shell().renewed, IsEmpty());
  EXPECT_TRUE(controller().Quiet());
  world.Revoke(other);
  world.Live(2 * ShardController::kRetryNs);
  EXPECT_TRUE(controller().leading());
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(kShards));
}

// The same name does not make it ours: that was another life of this host.
TEST_F(ShardControllerTest, AKeyOfItsOwnNameUnderAnotherLeaseIsNotItsOwn) {
  const registry::LeaseId former = world.TakeLease(3600 * kSecond);
  world.Commit(registry::Transaction().Then(registry::Operation::Put(key_, "h-1", former)));
  Start();
  world.Live(5 * kSecond);
  EXPECT_FALSE(controller().leading());
}

TEST_F(ShardControllerTest, AnAttemptOfWhichTheAnswerWasLostMayHaveTakenTheKey) {
  world.AddHost("h-1");
  world.SettleHeld();  // the lease may be there
  world.Settle();
  ASSERT_TRUE(controller().leading());
  // Whoever takes the key again after that finds his own.
  world.faulty->LoseAnswersOfNext(1);
  world.Revoke(host().lease.id());
  world.Live(10 * kSecond);
  world.Live(10 * kSecond);
  EXPECT_TRUE(controller().leading());
  EXPECT_EQ(world.Read(key_)->lease, host().lease.id());
}

TEST_F(ShardControllerTest, ALeaseThatEndsIsTakenAnewAndAllIsToldAgain) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(0);
  const registry::LeaseId first = host().lease.id();
  shell().Forget();
  world.Revoke(first);
  world.Live(10 * kSecond);
  EXPECT_TRUE(controller().leading());
  EXPECT_NE(host().lease.id(), first);
  ASSERT_THAT(shell().told["a"], SizeIs(1));
  const fleet::ShardOrdersData& again = shell().told["a"][0];
  EXPECT_TRUE(again.begins && again.synced);
  EXPECT_THAT(again.orders, SizeIs(2 * kShards));
  EXPECT_EQ(Generation(0), generation) << "nothing has moved";
}

TEST_F(ShardControllerTest, WhoLosesTheKeyResignsAtTheNextWrite) {
  Start();
  OwnsAll("a");
  const registry::LeaseId other = world.TakeLease(3600 * kSecond);
  world.Commit(registry::Transaction().Then(registry::Operation::Delete(key_)));
  world.Commit(registry::Transaction().Then(registry::Operation::Put(key_, "h-2", other)));
  const auto rows = world.Rows();
  shell().Forget();
  Session("b");
  Eligible({"b"});
  EXPECT_FALSE(controller().leading());
  EXPECT_EQ(world.Rows(), rows);
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kName), IsEmpty());
  Renew("a", 1);
  EXPECT_THAT(shell().renewed["a"], IsEmpty());
}

// ---- Renewals ----

TEST_F(ShardControllerTest, ARenewalIsAnsweredInASessionOnly) {
  Start();
  Renew("a", 1);
  EXPECT_THAT(shell().renewed["a"], IsEmpty());
  Session("a");
  Renew("a", 2);
  EXPECT_THAT(shell().renewed["a"], ElementsAre(2));
  SessionEnds("a");
  Renew("a", 3);
  EXPECT_THAT(shell().renewed["a"], ElementsAre(2));
  Session("a");
  Do([&] { controller().OnEnded("a"); });
  Renew("a", 4);
  EXPECT_THAT(shell().renewed["a"], ElementsAre(2));
}

TEST_F(ShardControllerTest, ARenewalIsNotAnsweredOnceTheLeaseMayHaveEnded) {
  Start();
  Session("a");
  world.faulty->HoldAll();
  // Read when the renewal has come: no timer of the host has run.
  host().clock.Advance(kHostLeaseTtlNs);
  world.On(host(), [&] { controller().OnRenew("a", 1); });
  EXPECT_THAT(shell().renewed["a"], IsEmpty());
  EXPECT_FALSE(host().lease.Valid());
  // A keep-alive that is answered late counts from when it was sent.
  world.SettleHeld();
  world.faulty->ReleaseHeld();
  world.Settle();
  Renew("a", 2);
  EXPECT_THAT(shell().renewed["a"], ElementsAre(2));
}

// As a host that was paused for so long, and whose instances came meanwhile from the one that decides now.
TEST_F(ShardControllerTest, NobodyIsToldAnythingOnceTheLeaseMayHaveEnded) {
  Start();
  OwnsAll("a");
  SessionEnds("a");
  shell().Forget();
  world.faulty->HoldAll();
  host().clock.Advance(kHostLeaseTtlNs);
  world.On(host(), [&] { controller().OnSession("a"); });
  EXPECT_THAT(shell().told["a"], IsEmpty());
  EXPECT_FALSE(controller().leading());
  // It is told when it is sure again.
  world.SettleHeld();
  world.faulty->ReleaseHeld();
  world.Live(10 * kSecond);
  EXPECT_TRUE(controller().leading());
  ASSERT_FALSE(shell().told["a"].empty());
  EXPECT_TRUE(shell().told["a"][0].begins && shell().told["a"].back().synced);
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(kShards));
}

// What is not told yet must not be made valid again: the resync comes first.
TEST_F(ShardControllerTest, ARenewalIsAnsweredBehindTheResync) {
  Start();
  OwnsAll("a");
  std::vector<std::string> order;
  shell().on_shards = [&](const std::string&, const fleet::ShardOrdersData& orders) {
    order.push_back(orders.synced ? "synced" : "orders");
  };
  shell().on_renewed = [&](const std::string&, uint64_t) { order.push_back("renewed"); };
  world.Revoke(host().lease.id());
  for (int i = 0; i < 80; ++i) {
    Renew("a", static_cast<uint64_t>(i));
    if (host().lease.id() == registry::kNoLease) {
      order.clear();
    }
    world.Advance(kSecond / 8);
  }
  ASSERT_GE(order.size(), 2u);
  EXPECT_EQ(order[0], "synced");
  EXPECT_EQ(order[1], "renewed");
}

// ---- Placing and moving ----

TEST_F(ShardControllerTest, WhoIsEligibleIsNamedAndGrantedWhatIsDurable) {
  Start();
  Session("a");
  ASSERT_THAT(shell().told["a"], SizeIs(1));
  EXPECT_TRUE(shell().told["a"][0].begins && shell().told["a"][0].synced);
  EXPECT_THAT(shell().told["a"][0].orders, IsEmpty());
  world.faulty->HoldAll();
  world.On(host(), [&] { controller().SetEligible({{.instance = "a"}}); });
  world.SettleHeld();
  EXPECT_THAT(shell().told["a"], SizeIs(1)) << "nobody hears of what may not be durable";
  EXPECT_FALSE(controller().Quiet());
  world.faulty->ReleaseHeld();
  world.Settle();
  EXPECT_TRUE(controller().Quiet());
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kName), SizeIs(kShards));
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(kShards));
  const auto rows = world.Rows();
  for (const ShardOrderData& order : shell().Orders("a", ShardOrderKind::kGrant)) {
    EXPECT_EQ(rows[order.shard].owner, "a");
    EXPECT_EQ(rows[order.shard].generation, order.generation);
    EXPECT_FALSE(rows[order.shard].unclean);
    EXPECT_TRUE(controller().Owners()[order.shard].settled);
  }
}

TEST_F(ShardControllerTest, OneMoveFromNameToReleaseToGrant) {
  Start();
  shell().reason = fleet::ShardCloseReason::kUpgrade;
  const ShardOrderData asked = BeginsMove("a", "b");
  EXPECT_EQ(asked.next, "b");
  EXPECT_EQ(asked.reason, fleet::ShardCloseReason::kUpgrade);
  EXPECT_GT(asked.next_generation, asked.generation);
  // Named, so that calls wait there; not more while "a" has it.
  const auto named = shell().Orders("b", ShardOrderKind::kName);
  EXPECT_THAT(named, SizeIs(kShards / 2));
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), IsEmpty());
  EXPECT_EQ(world.Rows()[asked.shard],
            (policy::ShardRow{"b", asked.next_generation, "a", asked.generation, false}));
  EXPECT_FALSE(controller().Owners()[asked.shard].settled);
  EXPECT_FALSE(controller().Quiet());
  world.Live(60 * kSecond);
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), IsEmpty()) << "who is there releases";

  Release("a", asked);
  const auto granted = shell().Orders("b", ShardOrderKind::kGrant);
  ASSERT_THAT(granted, SizeIs(1));
  EXPECT_EQ(granted[0].shard, asked.shard);
  EXPECT_EQ(granted[0].generation, asked.next_generation);
  EXPECT_EQ(world.Rows()[asked.shard],
            (policy::ShardRow{"b", asked.next_generation, "", 0, false}));
  EXPECT_TRUE(controller().Owners()[asked.shard].settled);
}

TEST_F(ShardControllerTest, AReleaseOfAnotherGenerationOrOfNobodysShardChangesNothing) {
  Start();
  const ShardOrderData asked = BeginsMove("a", "b");
  ShardOrderData wrong = asked;
  ++wrong.generation;
  Release("a", wrong);
  wrong = asked;
  wrong.shard = kShards;
  Release("a", wrong);
  wrong.shard = UINT32_MAX;
  Release("a", wrong);
  Release("b", asked);
  Release("nobody", asked);
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), IsEmpty());
}

TEST_F(ShardControllerTest, AnOwnerWhoseProcessHasEndedIsNotWaitedFor) {
  Start();
  OwnsAll("a");
  Session("b");
  Renew("a", 1);
  Eligible({"b"});
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), IsEmpty());
  Do([&] { controller().OnEnded("a"); });
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), SizeIs(kShards));
  EXPECT_TRUE(world.Rows()[0].unclean);
}

TEST_F(ShardControllerTest, AnOwnerWhoseSessionHasEndedKeepsItsShardsForATerm) {
  Start();
  OwnsAll("a");
  Session("b");
  world.Live(20 * kSecond);  // what others may have granted is over
  Renew("a", 1);
  SessionEnds("a");
  Eligible({"b"});
  world.Live(policy::kGrantTermNs);
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), IsEmpty());
  EXPECT_TRUE(controller().Quiet()) << "there is nobody who would hand over";
  world.Live(kSecond);
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), SizeIs(kShards));
  EXPECT_TRUE(world.Rows()[0].unclean);
}

TEST_F(ShardControllerTest, ANewControllerTakesEveryOwnerForGrantedForATerm) {
  Start();
  OwnsAll("a");
  // Another host takes over; "a" is unknown to it, and "b" has come.
  host().paused = true;
  world.AdvanceRegistry(2 * kHostLeaseTtlNs);  // before the other has a lease, which would end too
  ShardHost& second = world.AddHost("h-2");
  world.Settle();
  world.On(second, [&] {
    second.controller->OnSession("b");
    second.controller->SetEligible({{.instance = "b"}});
  });
  world.Live(3 * kSecond);
  ASSERT_TRUE(second.controller->leading());
  world.Live(policy::kGrantTermNs - 4 * kSecond);
  EXPECT_THAT(second.shell.Orders("b", ShardOrderKind::kGrant), IsEmpty());
  world.Live(6 * kSecond);
  EXPECT_THAT(second.shell.Orders("b", ShardOrderKind::kGrant), SizeIs(kShards));
  // The first one comes back and finds that it is out.
  host().paused = false;
  host().clock.Advance(30 * kSecond);
  Renew("a", 9);
  EXPECT_THAT(shell().renewed["a"], IsEmpty());
  world.Live(5 * kSecond);
  EXPECT_FALSE(controller().leading());
  EXPECT_TRUE(second.controller->leading());
}

TEST_F(ShardControllerTest, WithNobodyEligibleTheOwnerIsAskedToLetGoForNobody) {
  Start();
  OwnsAll("a");
  Eligible({});
  const auto asked = shell().Orders("a", ShardOrderKind::kRelease);
  ASSERT_THAT(asked, SizeIs(kShards));
  EXPECT_EQ(asked[0].next, "");
  EXPECT_EQ(asked[0].next_generation, 0u);
  for (const ShardOrderData& order : asked) Release("a", order);
  EXPECT_EQ(OwnerNames(), std::vector<std::string>(kShards));
  EXPECT_TRUE(controller().Quiet());
  const uint64_t before = asked[0].generation;
  shell().Forget();
  Eligible({"a"});
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(kShards));
  EXPECT_GT(Generation(asked[0].shard), before);
}

TEST_F(ShardControllerTest, WithoutAShellItGoesOn) {
  Start();
  OwnsAll("a");
  controller().set_shell(nullptr);
  Session("b");
  Eligible({"a", "b"});
  Renew("a", 1);
  Do([&] { controller().OnEnded("a"); });
  Eligible({"b"});
  EXPECT_EQ(OwnerNames(), std::vector<std::string>(kShards, "b"));
}

// ---- Writes that fail ----

TEST_F(ShardControllerTest, ARefusedWriteIsTriedAgain) {
  Start();
  Session("a");
  world.faulty->RefuseNext(1);
  Eligible({"a"});
  EXPECT_TRUE(controller().leading());
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(::testing::Lt(kShards)));
  world.Live(3 * policy::kLedgerRetryNs);
  EXPECT_THAT(shell().Orders("a", ShardOrderKind::kGrant), SizeIs(kShards));
}

TEST_F(ShardControllerTest, AfterAWriteOfUnknownOutcomeItBeginsFromWhatIsDurable) {
  Start();
  OwnsAll("a");
  Session("b");
  shell().Forget();
  world.faulty->LoseAnswersOfNext(1);
  Eligible({"a", "b"});
  world.Live(5 * kSecond);
  EXPECT_TRUE(controller().leading());
  ASSERT_FALSE(shell().told["a"].empty());
  EXPECT_TRUE(shell().told["a"][0].synced);
  // What was written counts: it is told, and not written under another generation.
  for (uint32_t i = 0; i < kShards; ++i) {
    const policy::ShardRow row = world.Rows()[i];
    EXPECT_EQ(controller().Owners()[i].instance, row.owner);
    EXPECT_EQ(Generation(i), row.generation);
  }
  for (const ShardOrderData& order : shell().Orders("a", ShardOrderKind::kRelease)) {
    Release("a", order);
  }
  EXPECT_THAT(shell().Orders("b", ShardOrderKind::kGrant), SizeIs(kShards / 2));
}

TEST_F(ShardControllerTest, RowsThatCannotBeReadAreNotDecidedAbout) {
  const std::string page = registry::OwnerKey(ShardWorld::kEnvironment, ShardWorld::kService, 0);
  world.Commit(registry::Transaction().Then(registry::Operation::Put(page, "rubbish")));
  Start();
  Session("a");
  Eligible({"a"});
  world.Live(5 * kSecond);
  EXPECT_FALSE(controller().leading());
  EXPECT_THAT(shell().told, IsEmpty());
  EXPECT_EQ(world.Read(page)->value, "rubbish");
}

// ---- What resources carry ----

TEST_F(ShardControllerTest, WhatIsCarriedIsThereUntilItWasOpened) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(1);
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, generation).origin, StateOrigin::kNew);
  EXPECT_TRUE(Ask("a", StateRequestKind::kCarry, 1, generation, "blob").status.ok());
  for (int i = 0; i < 2; ++i) {
    const auto opened = Ask("a", StateRequestKind::kOpen, 1, generation);
    EXPECT_EQ(opened.origin, StateOrigin::kCarried);
    EXPECT_EQ(opened.payload, "blob");
    EXPECT_EQ(opened.payload_kind, 2u);
  }
  EXPECT_TRUE(Ask("a", StateRequestKind::kOpened, 1, generation).status.ok());
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, generation).origin, StateOrigin::kNew);
  EXPECT_TRUE(Ask("a", StateRequestKind::kLose, 1, generation).status.ok());
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, generation).origin, StateOrigin::kLost);
  EXPECT_EQ(Ask("a", StateRequestKind::kUnknown, 1, generation).status.code(),
            LEVER_UNIMPLEMENTED);
}

TEST_F(ShardControllerTest, OnlyWhoHasTheShardIsAnsweredAboutItsResources) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(1);
  for (const StateRequestKind kind : {StateRequestKind::kOpen, StateRequestKind::kOpened,
                                      StateRequestKind::kCarry, StateRequestKind::kLose}) {
    for (const auto& answer : {Ask("b", kind, 1, generation), Ask("a", kind, 1, generation + 100),
                               Ask("a", kind, 1, 0)}) {
      EXPECT_EQ(answer.status.code(), LEVER_FAILED_PRECONDITION);
      EXPECT_EQ(answer.status.executed(), LEVER_EXECUTED_NO);
    }
  }
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, generation).origin, StateOrigin::kNew);
}

TEST_F(ShardControllerTest, OnlyOfAResourceOfThatShard) {
  Start();
  OwnsAll("a");
  EXPECT_TRUE(Ask("a", StateRequestKind::kCarry, 1, Generation(1), "blob").status.ok());
  for (const std::string& resource : {NameIn(1), std::string()}) {
    const auto answer = Ask("a", StateRequestKind::kOpened, 2, Generation(2), "", resource);
    EXPECT_EQ(answer.status.code(), LEVER_INVALID_ARGUMENT);
  }
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, Generation(1)).origin, StateOrigin::kCarried);
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, kShards, 1).status.code(),
            LEVER_FAILED_PRECONDITION);
}

TEST_F(ShardControllerTest, WhileItMovesTheShardIsThatOfTheOldOwner) {
  Start();
  const ShardOrderData asked = BeginsMove("a", "b");
  const uint32_t shard = asked.shard;
  EXPECT_FALSE(Ask("b", StateRequestKind::kOpen, shard, asked.next_generation).status.ok());
  EXPECT_TRUE(Ask("a", StateRequestKind::kCarry, shard, asked.generation, "blob").status.ok());
  Release("a", asked);
  EXPECT_FALSE(Ask("a", StateRequestKind::kCarry, shard, asked.generation, "late").status.ok());
  const auto opened = Ask("b", StateRequestKind::kOpen, shard, asked.next_generation);
  EXPECT_EQ(opened.origin, StateOrigin::kCarried);
  EXPECT_EQ(opened.payload, "blob");
}

TEST_F(ShardControllerTest, InAShardThatWasNotReleasedCleanlyWhatIsNotCarriedMayBeLost) {
  Start();
  const ShardOrderData asked = BeginsMove("a", "b");
  Release("a", asked, false);
  EXPECT_EQ(Ask("b", StateRequestKind::kOpen, asked.shard, asked.next_generation).origin,
            StateOrigin::kLost);
  EXPECT_TRUE(
      Ask("b", StateRequestKind::kCarry, asked.shard, asked.next_generation, "x").status.ok());
  EXPECT_EQ(Ask("b", StateRequestKind::kOpen, asked.shard, asked.next_generation).origin,
            StateOrigin::kCarried);
}

class ShardControllerWithLittleRoom : public ShardControllerTest {
 protected:
  ShardControllerWithLittleRoom() : ShardControllerTest(6400) {}
};

TEST_F(ShardControllerWithLittleRoom, WhatFindsNoneIsLostToItsNextOwner) {
  Start();
  const ShardOrderData asked = BeginsMove("a", "b");
  const auto carry = [&](const std::string& payload) {
    return Ask("a", StateRequestKind::kCarry, asked.shard, asked.generation, payload).status;
  };
  EXPECT_TRUE(carry(std::string(6000, 'x')).ok());
  EXPECT_TRUE(carry(std::string(6400, 'x')).ok());
  Release("a", asked);
  EXPECT_EQ(Ask("b", StateRequestKind::kOpen, asked.shard, asked.next_generation).origin,
            StateOrigin::kLost);
}

// The controller begins anew while it is about to be stored: the instance asks again, and what it asked
// before must not be written after that.
TEST_F(ShardControllerTest, WhatWaitedToBeStoredIsNotStoredInTheNextTerm) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(1);
  world.faulty->HoldAll();
  fleet::StateRequestData request;
  request.id = 1000;
  request.kind = StateRequestKind::kCarry;
  request.shard = 1;
  request.generation = generation;
  request.resource = NameIn(1);
  request.payload_kind = 2;
  request.payload = "stale";
  world.On(host(), [&] { controller().OnState("a", request); });
  world.SettleHeld();
  // The outcome of a row is not known: it begins anew, under the same key.
  world.On(host(), [&] {
    world.faulty->LoseAnswersOfNext(1);
    controller().OnReleased("a", {2, Generation(2), true});
  });
  world.SettleHeld();
  world.faulty->ReleaseHeld();
  world.Advance(ShardController::kRetryNs);
  ASSERT_TRUE(controller().leading());
  EXPECT_FALSE(world.Read(registry::StateKey(ShardWorld::kEnvironment, ShardWorld::kService,
                                             NameIn(1)))
                   .has_value());
}

TEST_F(ShardControllerTest, OfAServiceThatWasRemovedNothingIsKept) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(1);
  controller().set_discards(true);
  EXPECT_TRUE(Ask("a", StateRequestKind::kCarry, 1, generation, "blob").status.ok());
  EXPECT_TRUE(Ask("a", StateRequestKind::kLose, 1, generation).status.ok());
  controller().set_discards(false);
  EXPECT_EQ(Ask("a", StateRequestKind::kOpen, 1, generation).origin, StateOrigin::kNew);
}

TEST_F(ShardControllerTest, AHostThatHasLostTheKeyStoresNothing) {
  Start();
  OwnsAll("a");
  const uint64_t generation = Generation(1);
  world.Commit(registry::Transaction().Then(registry::Operation::Delete(key_)));
  const auto answer = Ask("a", StateRequestKind::kCarry, 1, generation, "blob");
  EXPECT_EQ(answer.status.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(answer.status.message(), HasSubstr("another host controls the service"));
  EXPECT_FALSE(world.Read(registry::StateKey(ShardWorld::kEnvironment, ShardWorld::kService,
                                             NameIn(1)))
                   .has_value());
}

}  // namespace
}  // namespace lever::scale
