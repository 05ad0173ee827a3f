// A shard that goes to another: what has not begun is refused, what runs ends or is cut, its resources are
// closed, what they carry is stored, and only then the host hears that it is released.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "liblever/policy/grant.h"
#include "tests/service/ownership_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class ReleaseTest : public OwnershipTest {
 protected:
  ReleaseTest() {
    AttachAndSync();
    Own(0, 1);
  }
  void ExpectReleased(uint32_t shard, uint64_t generation, bool clean) {
    const v1::ShardReleased said = TakeReleased();
    EXPECT_EQ(said.shard(), shard);
    EXPECT_EQ(said.generation(), generation);
    EXPECT_EQ(said.clean(), clean);
  }
};

TEST_F(ReleaseTest, KeepsItsOrder) {
  const uint64_t id = OpenNew("cart", 0, 1);
  FakeRequest& running = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(running));
  FakeRequest& offered_only = Ask("cart", 0, 1);
  FakeRequest& stream = Stream("cart", 0, 1);
  EXPECT_TRUE(Begin(stream));
  FakeRequest& opening = Ask("hat", 0, 1);
  Release(0, 1, "i-2", 7);
  // Told where it is now.
  const auto hint =
      UnorderedElementsAre(Pair("lever-owner", "i-2"), Pair("lever-gen", "0.7"));
  EXPECT_EQ(offered_only.phase, Phase::kMoved);
  EXPECT_THAT(offered_only.trailers, hint);
  EXPECT_EQ(opening.phase, Phase::kRefused);
  EXPECT_THAT(opening.trailers, hint);
  EXPECT_EQ(stream.phase, Phase::kMoved);
  EXPECT_EQ(running.phase, Phase::kBegun);
  EXPECT_TRUE(closings.empty());
  End(offered_only);
  End(stream);
  EXPECT_TRUE(closings.empty()) << "one still runs";
  EXPECT_TRUE(ownership->MayReply(running));
  End(running);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kMoved)));
  EXPECT_TRUE(released.empty());
  states.clear();
  Closed(id, "three hats");
  const v1::StateRequest carry = TakeState();
  EXPECT_EQ(carry.kind(), v1::StateRequest::CARRY);
  EXPECT_EQ(carry.resource(), "cart");
  EXPECT_EQ(carry.generation(), 1u);
  EXPECT_EQ(carry.payload(), "three hats");
  EXPECT_EQ(carry.payload_kind(), static_cast<uint32_t>(route::Kind::kRaw));
  EXPECT_TRUE(released.empty());
  EXPECT_FALSE(ownership->Empty());
  const int told_before = nothing_owned;
  Answer(carry);
  ExpectReleased(0, 1, true);
  EXPECT_TRUE(ownership->Empty());
  EXPECT_GT(nothing_owned, told_before);
}

TEST_F(ReleaseTest, CutsWhatRunsAtTheTimeoutAndClosesAllTheSame) {
  const uint64_t id = OpenNew("cart", 0, 1);
  FakeRequest& running = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(running));
  FakeRequest& other = Stream("cart", 0, 1);
  on_cut = [&](FakeRequest& request) {
    if (request.phase == Phase::kCut) EndNow(request);
  };
  Release(0, 1, "", 0, v1::UPGRADE);
  Advance(kReleaseNs - 1);
  EXPECT_EQ(running.phase, Phase::kBegun);
  EXPECT_TRUE(closings.empty());
  Advance(1);
  EXPECT_EQ(running.told.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(running.phase, Phase::kEnded);
  EXPECT_EQ(other.phase, Phase::kEnded);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kUpgrade)));
  Closed(id);
  ExpectReleased(0, 1, true);
}

TEST_F(ReleaseTest, OneThatTheProgramNeverEndsIsNotWaitedForAfterTheCut) {
  const uint64_t id = OpenNew("cart", 0, 1);
  FakeRequest& running = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(running));
  Release(0, 1);
  Advance(kReleaseNs);
  EXPECT_EQ(running.phase, Phase::kCut);
  Closed(id);
  ExpectReleased(0, 1, true);
  EXPECT_FALSE(ownership->MayReply(running));
  End(running);
  EXPECT_TRUE(ownership->Empty());
}

TEST_F(ReleaseTest, WhatIsClosedTooLateTooLargeOrBadlyIsLostAndThatIsKnown) {
  const uint64_t late = OpenNew("late", 0, 1);
  const uint64_t large = OpenNew("large", 0, 1);
  const uint64_t badly = OpenNew("badly", 0, 1);
  const uint64_t most = OpenNew("most", 0, 1);
  Release(0, 1);
  Closed(large, std::string(kCarriedBytesMax + 1, 'x'));
  Closed(badly, "ignored", Internal("it threw"));
  Closed(most, std::string(kCarriedBytesMax, 'x'));
  Advance(kCloseTimeoutNs - 1);
  EXPECT_EQ(states.size(), 3u);
  Advance(1);
  Closed(late, "too late");
  ASSERT_EQ(states.size(), 4u);
  std::map<std::string, v1::StateRequest::Kind> said;
  while (!states.empty()) {
    EXPECT_TRUE(released.empty());
    const v1::StateRequest request = TakeState();
    said[request.resource()] = request.kind();
    if (request.kind() == v1::StateRequest::LOSE) {
      EXPECT_EQ(request.payload(), "");
    }
    Answer(request);
  }
  EXPECT_THAT(said, UnorderedElementsAre(Pair("late", v1::StateRequest::LOSE),
                                         Pair("large", v1::StateRequest::LOSE),
                                         Pair("badly", v1::StateRequest::LOSE),
                                         Pair("most", v1::StateRequest::CARRY)));
  ExpectReleased(0, 1, true);
}

TEST_F(ReleaseTest, IsUncleanWhereStoringFails) {
  const uint64_t first = OpenNew("first", 0, 1);
  const uint64_t second = OpenNew("second", 0, 1);
  Release(0, 1);
  Closed(first, "state");
  Closed(second, "state");
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_INTERNAL);
  Answer(TakeState());
  ExpectReleased(0, 1, false);
  // And says so again.
  Release(0, 1);
  ExpectReleased(0, 1, false);
}

TEST_F(ReleaseTest, WaitsWhileWhatIsCarriedCannotBeStored) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Release(0, 1);
  Closed(id, "three hats");
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_UNAVAILABLE);
  EXPECT_TRUE(released.empty());
  Advance(kAskAgainNs);
  const v1::StateRequest again = TakeState();
  EXPECT_EQ(again.kind(), v1::StateRequest::CARRY);
  EXPECT_EQ(again.payload(), "three hats");
  Answer(again);
  ExpectReleased(0, 1, true);
}

TEST_F(ReleaseTest, IsUncleanWhereForgettingFailedAlsoIfNothingIsOpenByThen) {
  Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Opened(openings.back().id);
  Answer(TakeState(), v1::StateAnswer::NEW, "", LEVER_INTERNAL);
  Closed(openings.back().id);
  EXPECT_EQ(ownership->open_resources(), 0u);
  Release(0, 1);
  ExpectReleased(0, 1, false);
  // Under another generation the host knows it.
  Own(0, 2);
  Release(0, 2);
  ExpectReleased(0, 2, true);
}

TEST_F(ReleaseTest, IsUncleanWhereTheHostSaysThatTheGrantHadEndedBefore) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Release(0, 1, "", 0, v1::LOST);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kLost)));
  Closed(id, "state");
  EXPECT_TRUE(states.empty());
  ExpectReleased(0, 1, false);
}

TEST_F(ReleaseTest, WhatIsOnlyNamedIsReleasedAtOnceAndItsRequestsAreRefused) {
  Name(2, 9);
  FakeRequest& request = Ask("cart", 2, 9);
  FakeRequest& ahead = Ask("cart", 2, 10);
  Release(2, 9, "i-3", 10);
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_THAT(request.trailers,
              UnorderedElementsAre(Pair("lever-owner", "i-3"), Pair("lever-gen", "2.10")));
  EXPECT_EQ(ahead.phase, Phase::kWaiting) << "it may be named yet";
  ExpectReleased(2, 9, true);
  Release(2, 9);
  ExpectReleased(2, 9, true);
  Advance(policy::kAwaitNameNs);
  EXPECT_EQ(ahead.phase, Phase::kRefused);
}

TEST_F(ReleaseTest, OfWhatItNeverHadItCanSayNothingGood) {
  Release(3, 4);
  ExpectReleased(3, 4, false);
  Release(0, 7);
  ExpectReleased(0, 7, false);
  FakeRequest& request = Ask("cart", 0, 1);
  EXPECT_EQ(request.phase, Phase::kWaiting) << "its own it still has";
  EXPECT_EQ(states.size(), 1u);
  End(request);
}

TEST_F(ReleaseTest, TwiceIsOnce) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Release(0, 1);
  Release(0, 1, "i-5", 8);
  EXPECT_EQ(closings.size(), 1u);
  EXPECT_TRUE(released.empty());
  EXPECT_THAT(Ask("cart", 0, 1).trailers,
              UnorderedElementsAre(Pair("lever-owner", "i-5"), Pair("lever-gen", "0.8")));
  Closed(id);
  ExpectReleased(0, 1, true);
  EXPECT_TRUE(released.empty());
}

TEST_F(ReleaseTest, AnIdleOneThatIsBeingClosedIsWaitedFor) {
  const uint64_t id = OpenNew("cart", 0, 1);
  for (int64_t passed = 0; passed < kResourceIdleNs; passed += policy::kGrantRenewNs) {
    Advance(policy::kGrantRenewNs);
    Renew();
  }
  ASSERT_THAT(closings, ElementsAre(Pair(id, CloseReason::kIdle)));
  FakeRequest& request = Ask("cart", 0, 1);
  Release(0, 1);
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_TRUE(released.empty());
  Closed(id, "dropped");
  EXPECT_EQ(closings.size(), 1u);
  ExpectReleased(0, 1, true);
}

TEST_F(ReleaseTest, OneThatIsBeingOpenedIsForgottenAndClosedWhenItIs) {
  Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Release(0, 1);
  EXPECT_TRUE(released.empty());
  const uint64_t id = openings[0].id;
  Opened(id);
  // Closed without state it is new at its next owner, not what it was before.
  const v1::StateRequest forget = TakeState();
  EXPECT_EQ(forget.kind(), v1::StateRequest::OPENED);
  EXPECT_TRUE(closings.empty());
  Answer(forget);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kMoved)));
  Closed(id);
  ExpectReleased(0, 1, true);
}

TEST_F(ReleaseTest, OneThatDoesNotOpenByTheCutIsClosedAsLostWhenItDoes) {
  FakeRequest& request = Ask("cart", 0, 1);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  Release(0, 1);
  EXPECT_EQ(request.phase, Phase::kRefused);
  Advance(kReleaseNs);
  ExpectReleased(0, 1, true);
  EXPECT_FALSE(ownership->Empty());
  Opened(openings[0].id);
  EXPECT_THAT(closings, ElementsAre(Pair(openings[0].id, CloseReason::kLost)));
  nothing_owned = 0;
  Closed(openings[0].id);
  EXPECT_TRUE(ownership->Empty());
  EXPECT_EQ(nothing_owned, 1);
}

TEST_F(ReleaseTest, AProgramMayDoAllOfItFromInside) {
  on_open = [&](const Opening& opening) { ownership->Opened(opening.id, Status::Ok()); };
  on_close = [&](uint64_t id, CloseReason) {
    const SliceList state{Slice::Copy("state")};
    ownership->Closed(id, Status::Ok(), route::Kind::kRaw, &state);
  };
  FakeRequest& first = Ask("cart", 0, 1);
  Answer(TakeState());
  FakeRequest& second = Ask("cart", 0, 1);
  FakeRequest& third = Stream("cart", 0, 1);
  EXPECT_EQ(offered, 3);
  // What hears of the move first ends all the others.
  bool told = false;
  on_moved = [&](FakeRequest& moved) {
    if (std::exchange(told, true)) return;
    for (FakeRequest* request : {&first, &second, &third}) {
      if (request != &moved) EndNow(*request);
    }
    EndNow(moved);
  };
  Release(0, 1);
  EXPECT_EQ(closings.size(), 1u);
  Answer(TakeState());
  ExpectReleased(0, 1, true);
  EXPECT_TRUE(ownership->Empty());
}

TEST_F(ReleaseTest, WithoutAHostAllIsLetGoOfAndNothingIsCarried) {
  const uint64_t id = OpenNew("cart", 0, 1);
  Name(1, 2);
  FakeRequest& named = Ask("hat", 1, 2);
  FakeRequest& running = Ask("cart", 0, 1);
  EXPECT_TRUE(Begin(running));
  FakeRequest& asking = Ask("asking", 0, 1);
  Do([&] {
    ownership->Detached();
    ownership->LetGoOfAll();
  });
  EXPECT_EQ(named.phase, Phase::kRefused);
  EXPECT_EQ(asking.phase, Phase::kRefused);
  EXPECT_EQ(running.phase, Phase::kBegun);
  EXPECT_FALSE(ownership->Empty());
  nothing_owned = 0;
  End(running);
  EXPECT_THAT(closings, ElementsAre(Pair(id, CloseReason::kStopping)));
  states.clear();
  Closed(id, "dropped");
  EXPECT_TRUE(states.empty());
  EXPECT_TRUE(ownership->Empty());
  EXPECT_GT(nothing_owned, 0);
}

TEST_F(ReleaseTest, WhatWaitsForAHostThatIsGoneIsLetGoOf) {
  const uint64_t storing = OpenNew("storing", 0, 1);
  Own(1, 2);
  FakeRequest& request = Ask("forgetting", 1, 2);
  Answer(TakeState(), v1::StateAnswer::CARRIED, "three hats");
  const uint64_t forgetting = openings.back().id;
  Opened(forgetting);
  Release(0, 1);
  Closed(storing, "state");
  EXPECT_EQ(states.size(), 2u);
  Do([&] {
    ownership->Detached();
    ownership->LetGoOfAll();
  });
  EXPECT_EQ(request.phase, Phase::kRefused);
  EXPECT_EQ(closings.back(), std::pair(forgetting, CloseReason::kLost));
  Closed(forgetting);
  EXPECT_TRUE(ownership->Empty());
}

TEST_F(ReleaseTest, AloneItOwnsAllForEver) {
  Make({.idle_timeout_ns = kNanosPerSecond});
  Do([&] { ownership->OwnAll(); });
  on_open = [&](const Opening& opening) { ownership->Opened(opening.id, Status::Ok()); };
  Advance(1000 * policy::kGrantTermNs);
  FakeRequest& request = Ask("cart", 0, 0);
  EXPECT_EQ(request.phase, Phase::kOffered);
  EXPECT_TRUE(Begin(request));
  EXPECT_TRUE(ownership->MayReply(request));
  End(request);
  EXPECT_FALSE(ownership->Empty());
  Do([&] { ownership->LetGoOfAll(); });
  EXPECT_THAT(closings, ElementsAre(Pair(openings[0].id, CloseReason::kStopping)));
  Closed(openings[0].id, "dropped");
  EXPECT_TRUE(ownership->Empty());
}

}  // namespace
}  // namespace lever::service
