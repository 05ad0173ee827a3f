// Shards: named, granted, renewed, released, lost; and what becomes of requests meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "liblever/policy/grant.h"
#include "tests/service/ownership_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// ---- Who runs, who waits, who is refused ----

TEST_F(OwnershipTest, WhatIsNamedWaitsAndRunsInOrderOnceGrantedAndOpen) {
  AttachAndSync();
  Name(1, 5);
  FakeRequest& first = Ask("cart", 1, 5);
  FakeRequest& second = Ask("cart", 1, 5);
  EXPECT_EQ(first.phase, Phase::kWaiting);
  EXPECT_TRUE(states.empty()) << "nothing is opened before the grant";
  Grant(1, 5);
  const v1::StateRequest asked = TakeState();
  EXPECT_EQ(asked.kind(), v1::StateRequest::OPEN);
  EXPECT_EQ(asked.resource(), "cart");
  EXPECT_EQ(asked.shard(), 1u);
  EXPECT_EQ(asked.generation(), 5u);
  FakeRequest& third = Ask("cart", 1, 5);
  Answer(asked);
  EXPECT_EQ(first.phase, Phase::kWaiting);
  ASSERT_EQ(openings.size(), 1u);
  EXPECT_EQ(openings[0].name, "cart");
  EXPECT_EQ(openings[0].generation, 5u);
  EXPECT_EQ(openings[0].origin, Origin::kNew);
  Opened(openings[0].id);
  EXPECT_EQ(first.order, 1);
  EXPECT_EQ(second.order, 2);
  EXPECT_EQ(third.order, 3);
  EXPECT_TRUE(states.empty()) << "there is nothing to forget of a new one";
  for (FakeRequest* request : {&first, &second, &third}) {
    EXPECT_TRUE(Begin(*request));
    End(*request);
  }
}

TEST_F(OwnershipTest, AnOverdueGrantHoldsRequestsUntilItIsRenewed) {
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  Advance(policy::kGrantTermNs);
  FakeRequest& request = Ask("cart", 0, 1);
  FakeRequest& foreign = Ask("cart", 0, 0);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  EXPECT_EQ(foreign.phase, Phase::kRefused);
  Renew();
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
}

TEST_F(OwnershipTest, ARenewalCountsFromWhenItWasAskedForNotFromTheAnswer) {
  Attach();
  Sync();
  Own(0, 1);
  Advance(policy::kGrantRetryNs - 1);
  ASSERT_EQ(renewals.size(), 1u);
  Renew();
  OpenNew("cart", 0, 1);
  FakeRequest& request = Ask("cart", 0, 1);
  clock.Advance(policy::kGrantTermNs - policy::kGrantRetryNs);
  EXPECT_TRUE(ownership->MayBegin(request));
  EXPECT_TRUE(ownership->MayReply(request));
  clock.Advance(1);
  EXPECT_FALSE(ownership->MayBegin(request));
  EXPECT_FALSE(ownership->MayReply(request));
  End(request);
}

TEST_F(OwnershipTest, RenewalsAreAskedForAsLongAsNobodyAnswers) {
  AttachAndSync();
  Own(0, 1);
  AdvanceInSteps(100 * policy::kGrantRenewNs, policy::kGrantRenewNs);
  EXPECT_EQ(renewals.size(), 101u);
  Renew();
  FakeRequest& request = Ask("cart", 0, 1);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  EXPECT_EQ(states.size(), 1u) << "the grant is valid again";
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
}

TEST_F(OwnershipTest, AHigherGenerationWaitsASecondToBeNamedAndIsRefusedWithWhatIsKnown) {
  AttachAndSync();
  Own(2, 3);
  FakeRequest& request = Ask("cart", 2, 4);
  FakeRequest& unheard = Ask("hat", 3, 9);
  Advance(policy::kAwaitNameNs - 1);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Advance(1);
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_EQ(request.told.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(request.trailers, ElementsAre(Pair("lever-gen", "2.3")));
  EXPECT_EQ(unheard.phase, Phase::kRefused);
  EXPECT_THAT(unheard.trailers, ElementsAre(Pair("lever-gen", "3.0")));
}

TEST_F(OwnershipTest, AHigherGenerationRunsIfItIsNamedAndGrantedInTime) {
  AttachAndSync();
  FakeRequest& request = Ask("cart", 2, 4);
  Advance(policy::kAwaitNameNs - 1);
  Name(2, 4);
  // From here on it has as long as any other.
  Advance(30 * kNanosPerSecond);
  Renew();
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Grant(2, 4);
  Answer(TakeState());
  Advance(5 * kNanosPerSecond);
  Renew();
  Opened(openings.back().id);
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
}

TEST_F(OwnershipTest, NamingAgainAndAgainDoesNotLengthenTheWait) {
  AttachAndSync();
  FakeRequest& request = Ask("cart", 2, 40);
  for (uint64_t generation = 1; generation < 10; ++generation) {
    Advance(policy::kAwaitNameNs / 10);
    Name(2, generation);
  }
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Advance(policy::kAwaitNameNs / 10);
  EXPECT_EQ(request.phase, Phase::kRefused);
}

TEST_F(OwnershipTest, LowerAndReleasedOnesAreRefusedWithTheOrdersHint) {
  AttachAndSync();
  Own(1, 5);
  FakeRequest& lower = Ask("cart", 1, 4);
  EXPECT_EQ(lower.phase, Phase::kRefused);
  EXPECT_THAT(lower.trailers, ElementsAre(Pair("lever-gen", "1.5")));
  Release(1, 5, "i-2", 6);
  FakeRequest& stale = Ask("cart", 1, 5);
  EXPECT_EQ(stale.phase, Phase::kRefused);
  EXPECT_EQ(stale.told.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(stale.trailers,
              UnorderedElementsAre(Pair("lever-owner", "i-2"), Pair("lever-gen", "1.6")));
  EXPECT_EQ(Ask("cart", 1, 0).phase, Phase::kRefused);
}

TEST_F(OwnershipTest, WhatCameBackAndIsGoneAgainIsNotSaidToBeItsOwn) {
  AttachAndSync();
  Own(1, 5);
  Release(1, 5, "i-1", 6);  // this one, as it waits for its own release
  EXPECT_EQ(TakeReleased().generation(), 5u);
  Own(1, 6);
  Sync();
  Do([&] { ownership->Detached(); });
  Attach();
  Sync();
  FakeRequest& stale = Ask("cart", 1, 6);
  EXPECT_EQ(stale.phase, Phase::kRefused);
  EXPECT_THAT(stale.trailers, ElementsAre(Pair("lever-gen", "1.6")));
}

TEST_F(OwnershipTest, WithoutAGenerationItRunsOnlyWhileGranted) {
  AttachAndSync();
  EXPECT_EQ(Ask("cart", 1, 0).phase, Phase::kRefused);
  Name(1, 5);
  EXPECT_EQ(Ask("cart", 1, 0).phase, Phase::kRefused);
  Grant(1, 5);
  FakeRequest& request = Ask("cart", 1, 0);
  Answer(TakeState());
  Opened(openings.back().id);
  EXPECT_EQ(request.phase, Phase::kOffered);
  EXPECT_EQ(request.generation, 5u) << "it runs under the owner's";
  End(request);
}

TEST_F(OwnershipTest, MayBeginAndMayReplyEndWithTheTermToTheNanosecond) {
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  FakeRequest& request = Ask("cart", 0, 1);
  clock.Advance(policy::kGrantTermNs - 1);
  EXPECT_TRUE(ownership->MayBegin(request));
  EXPECT_TRUE(ownership->MayReply(request));
  EXPECT_TRUE(ownership->view()->MayBegin(0, 1, clock.NowNs()));
  clock.Advance(1);
  EXPECT_FALSE(ownership->MayBegin(request));
  EXPECT_FALSE(ownership->MayReply(request));
  EXPECT_FALSE(ownership->view()->MayBegin(0, 1, clock.NowNs()));
  End(request);
}

TEST_F(OwnershipTest, WhatRunsMayReplyWhileItsShardIsReleasedAndNothingMayBegin) {
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  FakeRequest& request = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(request));
  Release(0, 1);
  EXPECT_FALSE(ownership->MayBegin(request));
  EXPECT_TRUE(ownership->MayReply(request));
  EXPECT_FALSE(ownership->view()->MayBegin(0, 1, clock.NowNs()));
  End(request);
}

// ---- The bounds of waiting ----

TEST_F(OwnershipTest, AThousandWaitForAShardAndTheNextIsRefused) {
  AttachAndSync();
  Name(1, 5);
  Name(2, 6);
  std::vector<FakeRequest*> waiting;
  for (uint32_t i = 0; i < kWaitingPerShardMax; ++i) waiting.push_back(&Ask("cart", 1, 5));
  FakeRequest& refused = Ask("cart", 1, 5);
  EXPECT_EQ(refused.phase, Phase::kRefused);
  EXPECT_EQ(refused.told.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(Ask("hat", 2, 6).phase, Phase::kWaiting) << "another shard has bounds of its own";
  // One that goes makes room for one.
  End(*waiting[500]);
  EXPECT_EQ(Ask("cart", 1, 5).phase, Phase::kWaiting);
  EXPECT_EQ(Ask("cart", 1, 5).phase, Phase::kRefused);
  Release(1, 5);
  EXPECT_EQ(waiting[0]->phase, Phase::kRefused);
  EXPECT_EQ(waiting[999]->phase, Phase::kRefused);
}

TEST_F(OwnershipTest, FourMebibytesWaitForAShardAndSixtyFourInAll) {
  Make({});
  Attach(64);
  Sync();
  Renew();
  for (uint32_t shard = 0; shard < 17; ++shard) Name(shard, 1);
  FakeRequest& most = Ask("cart", 0, 1, false, kWaitingBytesPerShardMax - 1);
  EXPECT_EQ(Ask("cart", 0, 1, false, 2).phase, Phase::kRefused);
  EXPECT_EQ(Ask("cart", 0, 1, false, 1).phase, Phase::kWaiting);
  EXPECT_EQ(Ask("cart", 0, 1, false, 1).told.code(), LEVER_RESOURCE_EXHAUSTED);
  for (uint32_t shard = 1; shard < 16; ++shard) {
    EXPECT_EQ(Ask("cart", shard, 1, false, kWaitingBytesPerShardMax).phase, Phase::kWaiting);
  }
  EXPECT_EQ(Ask("cart", 16, 1, false, 1).told.code(), LEVER_RESOURCE_EXHAUSTED);
  End(most);
  EXPECT_EQ(Ask("cart", 16, 1, false, 1).phase, Phase::kWaiting);
}

TEST_F(OwnershipTest, NobodyWaitsForMoreThanSixtySeconds) {
  AttachAndSync();
  Name(1, 5);
  Own(2, 1);
  FakeRequest& for_grant = Ask("cart", 1, 5);
  FakeRequest& for_opening = Ask("hat", 2, 1);
  AdvanceInSteps(kWaitingMaxNs - policy::kGrantRenewNs, policy::kGrantRenewNs);
  EXPECT_EQ(for_grant.phase, Phase::kWaiting);
  EXPECT_EQ(for_opening.phase, Phase::kWaiting);
  Advance(policy::kGrantRenewNs);
  EXPECT_EQ(for_grant.phase, Phase::kRefused);
  EXPECT_EQ(for_grant.told.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(for_opening.phase, Phase::kRefused);
  EXPECT_EQ(for_opening.told.code(), LEVER_RESOURCE_EXHAUSTED);
}

TEST_F(OwnershipTest, OnesThatEndWhileTheyWaitLeaveTheOthersInOrder) {
  AttachAndSync();
  Name(1, 5);
  std::vector<FakeRequest*> waiting;
  for (int i = 0; i < 6; ++i) waiting.push_back(&Ask("cart", 1, 5));
  FakeRequest& hurried = Ask("cart", 1, 6);
  End(*waiting[0]);
  End(*waiting[3]);
  End(hurried);
  Grant(1, 5);
  End(*waiting[5]);
  Answer(TakeState());
  End(*waiting[1]);
  Opened(openings.back().id);
  EXPECT_EQ(waiting[2]->order, 1);
  EXPECT_EQ(waiting[4]->order, 2);
  EXPECT_EQ(offered, 2);
  End(*waiting[2]);
  End(*waiting[4]);
}

// ---- Sessions ----

TEST_F(OwnershipTest, RefusesANumberOfShardsThatIsNoneOrAnotherThanBefore) {
  Do([&] {
    EXPECT_EQ(ownership->Attached(0).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(ownership->Attached(3).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(ownership->shards(), 0u);
    EXPECT_TRUE(ownership->Attached(4).ok());
    ownership->Detached();
    EXPECT_EQ(ownership->Attached(8).code(), LEVER_FAILED_PRECONDITION);
    EXPECT_TRUE(ownership->Attached(4).ok());
  });
}

TEST_F(OwnershipTest, ANewSessionLosesWhatItDoesNotMentionAndAsksAgainForWhatIsUnanswered) {
  AttachAndSync();
  Own(0, 1);
  Own(1, 2);
  Name(2, 3);
  const uint64_t lost = OpenNew("lost", 0, 1);
  OpenNew("kept", 1, 2);
  FakeRequest& running = Ask("lost", 0, 1);
  EXPECT_TRUE(Begin(running));
  FakeRequest& asking = Ask("asking", 1, 2);
  FakeRequest& named = Ask("named", 2, 3);
  const v1::StateRequest asked = TakeState();
  Do([&] { ownership->Detached(); });
  // The grant is valid to its end without a session.
  FakeRequest& between = Ask("kept", 1, 2);
  EXPECT_EQ(between.phase, Phase::kOffered);
  End(between);
  Attach();
  EXPECT_TRUE(states.empty()) << "the host does not know yet what is whose";
  FakeRequest& early = Ask("early", 1, 2);
  EXPECT_TRUE(states.empty());
  Own(1, 2);
  Sync();
  EXPECT_EQ(running.phase, Phase::kCut);
  EXPECT_FALSE(ownership->MayReply(running));
  EXPECT_EQ(named.phase, Phase::kRefused);
  EXPECT_THAT(closings, ElementsAre(Pair(lost, CloseReason::kLost)));
  ASSERT_EQ(states.size(), 2u);
  std::set<std::string> names;
  for (const v1::StateRequest& again : states) {
    names.insert(again.resource());
    if (again.resource() == "asking") {
      EXPECT_EQ(again.id(), asked.id());
    }
  }
  EXPECT_EQ(names, (std::set<std::string>{"asking", "early"}));
  while (!states.empty()) Answer(TakeState());
  for (const Opening& opening : openings) Opened(opening.id);
  EXPECT_EQ(asking.phase, Phase::kOffered);
  EXPECT_EQ(early.phase, Phase::kOffered);
  for (FakeRequest* request : {&asking, &early, &running}) End(*request);
  Closed(lost, "ignored");
  EXPECT_TRUE(states.empty()) << "nothing is carried by who has lost it";
  EXPECT_EQ(Ask("lost", 0, 1).phase, Phase::kRefused);
}

// The next controller goes on from what is durable, and that may be what the one before had given up.
TEST_F(OwnershipTest, WhatASessionHasTakenIsNotRunUnderTheSameGrantAndTheControllerHears) {
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  Name(1, 2);
  Do([&] { ownership->Detached(); });
  Attach();
  Sync();
  Renew();
  ASSERT_TRUE(released.empty());
  Own(0, 1);
  const v1::ShardReleased said = TakeReleased();
  EXPECT_EQ(said.shard(), 0u);
  EXPECT_EQ(said.generation(), 1u);
  EXPECT_FALSE(said.clean());
  EXPECT_EQ(Ask("cart", 0, 1).phase, Phase::kRefused);
  // It was only named for the other one.
  Own(1, 2);
  EXPECT_TRUE(released.empty());
  const uint64_t hat = OpenNew("hat", 1, 2);
  EXPECT_NE(hat, 0u);
  FakeRequest& request = Ask("hat", 1, 2);
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
}

TEST_F(OwnershipTest, AnAnswerOfAnOldSessionsRenewalRenewsNothing) {
  AttachAndSync();
  const uint64_t old = renewals.back();
  Do([&] { ownership->Detached(); });
  Advance(policy::kGrantTermNs);
  Attach();
  EXPECT_NE(renewals.back(), old);
  v1::ToInstance message;
  message.mutable_renewed()->set_id(old);
  Tell(message);
  Own(0, 1);
  Sync();
  EXPECT_EQ(Ask("cart", 0, 0).phase, Phase::kRefused);
  Renew();
  FakeRequest& request = Ask("cart", 0, 0);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  End(request);
}

TEST_F(OwnershipTest, NamedAnewWhileItHoldsTheOldOneLosesThatAndOpensAgain) {
  AttachAndSync();
  Own(0, 1);
  const uint64_t old = OpenNew("cart", 0, 1);
  FakeRequest& running = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(running));
  FakeRequest& offered_only = Ask("cart", 0, 1);
  Name(0, 4);
  EXPECT_EQ(running.phase, Phase::kCut);
  EXPECT_EQ(offered_only.phase, Phase::kCut);
  EXPECT_FALSE(ownership->MayReply(running));
  EXPECT_THAT(closings, ElementsAre(Pair(old, CloseReason::kLost)));
  EXPECT_TRUE(released.empty());
  FakeRequest& fresh = Ask("cart", 0, 4);
  Grant(0, 4);
  const v1::StateRequest asked = TakeState();
  EXPECT_EQ(asked.generation(), 4u);
  Answer(asked, v1::StateAnswer::ORIGIN_LOST);
  EXPECT_NE(openings.back().id, old);
  EXPECT_EQ(openings.back().origin, Origin::kLost);
  Opened(openings.back().id);
  Answer(TakeState());
  EXPECT_EQ(fresh.phase, Phase::kOffered);
  Closed(old, "late");
  EXPECT_TRUE(states.empty());
  for (FakeRequest* request : {&running, &offered_only, &fresh}) End(*request);
}

TEST_F(OwnershipTest, StaleAndSenselessOrdersChangeNothing) {
  AttachAndSync();
  Own(0, 5);
  OpenNew("cart", 0, 5);
  Name(0, 4);
  Grant(0, 4);
  Name(0, 5);
  Grant(1, 9);  // never named
  Own(kShards, 1);
  Own(0xffffffff, 1);
  Order(v1::ShardOrder::KIND_UNSPECIFIED, 0, 6);
  EXPECT_EQ(ownership->open_resources(), 1u);
  EXPECT_TRUE(closings.empty());
  FakeRequest& request = Ask("cart", 0, 5);
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
  EXPECT_EQ(Ask("hat", 1, 0).phase, Phase::kRefused);
}

}  // namespace
}  // namespace lever::service
