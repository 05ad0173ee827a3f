// Resources: opened before their first request, closed when idle and when their shard goes, and what they
// carry. Through Ownership, as that is how they are used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "liblever/policy/grant.h"
#include "tests/service/ownership_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class ResourcesTest : public OwnershipTest {
 protected:
  ResourcesTest() {
    AttachAndSync();
    Own(0, 1);
  }
  // Lets time pass with the grant renewed.
  void Pass(int64_t by_ns) {
    for (int64_t passed = 0; passed < by_ns; passed += policy::kGrantRenewNs) {
      Advance(std::min(policy::kGrantRenewNs, by_ns - passed));
      Renew();
    }
  }
};

// ---- Opening ----

TEST_F(ResourcesTest, WhatWasCarriedIsForgottenDurablyBeforeTheFirstRequest) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  EXPECT_EQ(openings[0].origin, Origin::kCarried);
  EXPECT_EQ(openings[0].state, "three hats");
  Opened(openings[0].id);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  const v1::StateRequest forget = TakeState();
  EXPECT_EQ(forget.kind(), v1::StateRequest::OPENED);
  EXPECT_EQ(forget.resource(), "cart");
  Answer(forget);
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
}

TEST_F(ResourcesTest, ForgettingIsAskedAgainWhileTheRegistryIsUnavailable) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Opened(openings[0].id);
  for (int i = 0; i < 10; ++i) {
    Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
    EXPECT_TRUE(states.empty()) << "not at once";
    Advance(kAskAgainNs);
  }
  const v1::StateRequest forget = TakeState();
  EXPECT_EQ(forget.kind(), v1::StateRequest::OPENED);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Answer(forget);
  EXPECT_EQ(request.phase, Phase::kOffered);
  EXPECT_TRUE(closings.empty());
  End(request);
}

TEST_F(ResourcesTest, ForgettingIsNotAskedForEver) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Opened(openings[0].id);
  int asked = 0;
  while (!states.empty()) {
    Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
    Advance(kAskAgainNs);
    ASSERT_LE(++asked, kAskMostNs / kAskAgainNs + 1);
  }
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_THAT(closings, ElementsAre(Pair(openings[0].id, CloseReason::kLost)));
}

TEST_F(ResourcesTest, WhatWouldBeForgottenEndsWithItsShard) {
  Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Opened(openings[0].id);
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
  Release(0, 1, "", 0, v1::LOST);
  Advance(kAskAgainNs);
  for (int i = 0; i < 100 && !states.empty(); ++i) {
    Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
    Advance(kAskAgainNs);
  }
  EXPECT_THAT(closings, ElementsAre(Pair(openings[0].id, CloseReason::kLost)));
  Closed(openings[0].id);
  EXPECT_EQ(ownership->open_resources(), 0u);
}

TEST_F(ResourcesTest, WhereForgettingFailsNothingRunsAndItIsClosedAsLost) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  const uint64_t id = openings[0].id;
  Opened(id);
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kLost)));
  FakeRequest& next = Ask("cart", 0, 1);
  EXPECT_TRUE(states.empty());
  Closed(id, "ignored");
  const v1::StateRequest again = TakeState();
  EXPECT_EQ(again.kind(), v1::StateRequest::OPEN);
  Answer(again, v1::StateAnswer::CARRIED, "three hats");
  Opened(openings.back().id);
  Answer(TakeState());
  EXPECT_EQ(next.phase, Phase::kOffered);
  End(next);
}

TEST_F(ResourcesTest, WhatMayHaveBeenForgottenWithoutAnAnswerIsLostAndNotNew) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Opened(openings[0].id);
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_INTERNAL);
  EXPECT_EQ(request.phase, Phase::kRefused);
  Closed(openings[0].id, "ignored");
  // The host has forgotten it, and does not know that nobody has it.
  FakeRequest& next = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::NEW);
  EXPECT_EQ(openings.back().origin, Origin::kLost);
  Opened(openings.back().id);
  Answer(TakeState());
  EXPECT_EQ(next.phase, Phase::kOffered);
  End(next);
}

TEST_F(ResourcesTest, WhereOpeningFailsThoseWhoWaitAreToldAndTheNextTriesAgain) {
  FakeRequest& first = Ask("cart", 0, 1);
  FakeRequest& second = Ask("cart", 0, 1);
  Answer(TakeState());
  Opened(openings[0].id, NotFound("no such cart"));
  for (FakeRequest* request : {&first, &second}) {
    EXPECT_EQ(request->phase, Phase::kRefused);
    EXPECT_EQ(request->told.code(), LEVER_NOT_FOUND);
    EXPECT_EQ(request->told.message(), "no such cart");
  }
  EXPECT_TRUE(closings.empty());
  EXPECT_EQ(ownership->open_resources(), 0u);
  FakeRequest& third = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
  EXPECT_EQ(third.phase, Phase::kRefused);
  EXPECT_EQ(third.told.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(openings.size(), 1u);
}

TEST_F(ResourcesTest, AnswersThatNobodyAskedForAreIgnored) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Opened(id);
  Opened(id, Internal("too late"));
  Opened(99);
  Closed(id, "not asked");
  Closed(99);
  v1::StateRequest unknown;
  unknown.set_id(12345);
  Answer(unknown);
  EXPECT_EQ(ownership->open_resources(), 1u);
  EXPECT_TRUE(states.empty());
}

// ---- Turns ----

TEST_F(ResourcesTest, ASerialResourceHasOneCallAtATimeInOrderAndAnyNumberOfStreams) {
  Make({.concurrency_max = 1});
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  FakeRequest& stream = Stream("cart", 0, 1);
  FakeRequest& first = Ask("cart", 0, 1);
  FakeRequest& second = Ask("cart", 0, 1);
  FakeRequest& third = Ask("cart", 0, 1);
  FakeRequest& behind = Stream("cart", 0, 1);
  EXPECT_EQ(stream.phase, Phase::kOffered);
  EXPECT_EQ(first.phase, Phase::kOffered);
  EXPECT_EQ(second.phase, Phase::kWaiting);
  EXPECT_EQ(behind.phase, Phase::kWaiting) << "the order is kept";
  End(second);
  End(first);
  EXPECT_EQ(third.phase, Phase::kOffered);
  EXPECT_EQ(behind.phase, Phase::kOffered);
  for (FakeRequest* request : {&stream, &third, &behind}) End(*request);
}

TEST_F(ResourcesTest, SomeCallsAtATimeAreOfferedUpToTheMaximum) {
  Make({.concurrency_max = 3});
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  std::vector<FakeRequest*> calls;
  const int before = offered;
  for (int i = 0; i < 10; ++i) calls.push_back(&Ask("cart", 0, 1));
  EXPECT_EQ(offered - before, 3);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(calls[i]->phase, Phase::kOffered);
    End(*calls[i]);
    EXPECT_EQ(offered - before, std::min(i + 4, 10));
  }
}

TEST_F(ResourcesTest, AThousandThatEndFromInsideAreNoThousandCallsDeep) {
  Make({.concurrency_max = 1});
  AttachAndSync();
  Own(0, 1);
  int depth = 0;
  int deepest = 0;
  on_offer = [&](FakeRequest& request) {
    deepest = std::max(deepest, ++depth);
    EndNow(request);
    --depth;
  };
  on_open = [&](const Opening& opening) { ownership->Opened(opening.id, Status::Ok()); };
  for (uint32_t i = 0; i < kWaitingPerShardMax; ++i) Ask("cart", 0, 1);
  Answer(TakeState());
  EXPECT_EQ(offered, static_cast<int>(kWaitingPerShardMax));
  EXPECT_EQ(deepest, 1);
}

TEST_F(ResourcesTest, WhoseTurnComesWhileTheGrantIsOverdueWaitsForItsRenewal) {
  Make({.concurrency_max = 1});
  AttachAndSync();
  Own(0, 1);
  OpenNew("cart", 0, 1);
  FakeRequest& first = Ask("cart", 0, 1);
  FakeRequest& second = Ask("cart", 0, 1);
  FakeRequest& opened_late = Ask("hat", 0, 1);
  Answer(TakeState());
  Advance(policy::kGrantTermNs);
  End(first);
  Opened(openings.back().id);
  EXPECT_EQ(second.phase, Phase::kWaiting);
  EXPECT_EQ(opened_late.phase, Phase::kWaiting);
  Renew();
  EXPECT_EQ(second.phase, Phase::kOffered);
  EXPECT_EQ(opened_late.phase, Phase::kOffered);
  End(second);
  End(opened_late);
}

// ---- Idle ----

TEST_F(ResourcesTest, IsClosedWhenItHasBeenIdleAndWhatItReturnsIsDropped) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Pass(kResourceIdleNs - 1);
  EXPECT_TRUE(closings.empty());
  End(Ask("cart", 0, 1));  // starts anew
  Pass(kResourceIdleNs - 1);
  EXPECT_TRUE(closings.empty());
  Advance(1);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kIdle)));
  Closed(id, "dropped");
  EXPECT_EQ(ownership->open_resources(), 0u);
  EXPECT_TRUE(states.empty());
}

TEST_F(ResourcesTest, ACallThatComesWhileItClosesHasItOpenedAgain) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Pass(kResourceIdleNs);
  ASSERT_EQ(closings.size(), 1u);
  FakeRequest& request = Ask("cart", 0, 1);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Closed(id);
  EXPECT_EQ(request.phase, Phase::kWaiting);
  Answer(TakeState());
  EXPECT_NE(openings.back().id, id);
  Opened(openings.back().id);
  EXPECT_EQ(request.phase, Phase::kOffered);
  End(request);
}

TEST_F(ResourcesTest, AnIdleOneThatDoesNotCloseIsGivenUpAndOpenedAgain) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Pass(kResourceIdleNs);
  FakeRequest& request = Ask("cart", 0, 1);
  Pass(kCloseTimeoutNs);
  EXPECT_EQ(states.size(), 1u);
  Answer(TakeState());
  Opened(openings.back().id);
  EXPECT_EQ(request.phase, Phase::kOffered);
  Closed(id, "late");
  End(request);
  EXPECT_EQ(ownership->open_resources(), 1u);
}

TEST_F(ResourcesTest, AtMostSixtyFourCloseAtATimeUntilWhatTheyCarryIsStored) {
  std::vector<uint64_t> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(OpenNew("cart" + std::to_string(i), 0, 1));
  Release(0, 1);
  EXPECT_EQ(closings.size(), kClosingMax);
  Closed(closings.front().first, "state");
  EXPECT_EQ(closings.size(), kClosingMax) << "it is in memory until it is stored";
  Answer(TakeState());
  EXPECT_EQ(closings.size(), kClosingMax + 1);
  for (size_t i = 1; i < closings.size(); ++i) Closed(closings[i].first);
  EXPECT_EQ(closings.size(), 200u);
  EXPECT_EQ(released.size(), 1u);
  EXPECT_TRUE(TakeReleased().clean());
}

TEST_F(ResourcesTest, ThousandsThatCloseFromInsideAreNoThousandsOfCallsDeep) {
  constexpr int kMany = 3000;
  for (int i = 0; i < kMany; ++i) OpenNew("cart" + std::to_string(i), 0, 1);
  int depth = 0;
  int deepest = 0;
  on_close = [&](uint64_t id, CloseReason) {
    deepest = std::max(deepest, ++depth);
    ownership->Closed(id, Status::Ok(), route::Kind::kNone, nullptr);
    --depth;
  };
  Release(0, 1);
  EXPECT_EQ(closings.size(), static_cast<size_t>(kMany));
  EXPECT_EQ(deepest, 1);
  EXPECT_TRUE(TakeReleased().clean());
  EXPECT_TRUE(ownership->Empty());
}

}  // namespace
}  // namespace lever::service
