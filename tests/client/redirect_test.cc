// Calls of a resource: straight to the owner that the table names, and on to whom a refusal names.
#include <gmock/gmock.h>

#include "liblever/client/attempts.h"
#include "liblever/policy/retry.h"
#include "tests/client/redirect_fixture.h"

namespace lever::client {
namespace {

using ::testing::SizeIs;

TEST_F(Redirect, ACallOfAResourceGoesToItsOwnerUnderItsGeneration) {
  SendTable(2, 7);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_THAT(CallsOf(0), SizeIs(0));
  ASSERT_THAT(CallsOf(1), SizeIs(10));
  EXPECT_EQ(Generation(CallsOf(1)[0]), Stamp(7));
  EXPECT_EQ(CallsOf(1)[0].headers.Find("lever-resource"), "room");
  EXPECT_EQ(ThroughHost(), 0u);
  // Of the service itself none is stamped.
  Result& plain = Call();
  ASSERT_TRUE(Ended(plain));
  EXPECT_EQ(Generation(CallsOf(0).empty() ? CallsOf(1).back() : CallsOf(0).back()), std::nullopt);
}

TEST_F(Redirect, WithoutAnOwnerItGoesThroughTheHost) {
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(ThroughHost(), 1u) << "no table of shards";
  EXPECT_EQ(Generation(*HostCalls().back()), std::nullopt);
  SendTable(0, 7);
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(ThroughHost(), 2u) << "nobody's";
  EXPECT_EQ(Generation(*HostCalls().back()), Stamp(7));
  SendTable(9, 7);
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(ThroughHost(), 3u) << "one beyond the table";
  EXPECT_THAT(CallsOf(0), SizeIs(0));
  EXPECT_THAT(CallsOf(1), SizeIs(0));
}

TEST_F(Redirect, ARefusalThatNamesTheOwnerIsFollowedStraight) {
  SendTable(1, 7);
  instances[0]->on_call = Refuse(8, "b");
  Result& result = CallRoom();
  Settle();
  ASSERT_TRUE(result.ended()) << "no time has passed";
  EXPECT_TRUE(result.status.ok());
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  EXPECT_EQ(Generation(CallsOf(1)[0]), Stamp(8));
  EXPECT_EQ(CallsOf(1)[0].headers.Find("lever-attempt"), "2");
  EXPECT_EQ(ThroughHost(), 0u);
  // It is remembered, until a table says otherwise.
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_THAT(CallsOf(0), SizeIs(1));
  EXPECT_THAT(CallsOf(1), SizeIs(2));
  SendTable(2, 9);
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(Generation(CallsOf(1).back()), Stamp(9));
}

// A call that comes too late at each owner, because its resource is moved again and again.
TEST_F(Redirect, AResourceThatMovesOnAndOnIsFollowed) {
  SendTable(1, 7);
  constexpr uint64_t kMoves = 20;
  uint64_t generation = 7;
  for (size_t i = 0; i < 2; ++i) {
    instances[i]->on_call = [&, i](TestCall& handler, rpc::Call& call) {
      if (generation == 7 + kMoves) return Succeed(handler, call);
      Refuse(++generation, i == 0 ? "b" : "a")(handler, call);
    };
  }
  Result& result = CallRoom();
  const int64_t began_ns = clock.NowNs();
  ASSERT_TRUE(Ended(result));
  EXPECT_TRUE(result.status.ok()) << result.status.ToString();
  EXPECT_GT(clock.NowNs() - began_ns, 5 * kNanosPerSecond) << "with growing patience";
  EXPECT_LT(clock.NowNs() - began_ns, 20 * kNanosPerSecond);
  EXPECT_EQ(CallsOf(0).size() + CallsOf(1).size(), kMoves + 1);
  EXPECT_EQ(CallsOf(0).back().headers.Find("lever-attempt"), std::to_string(kMoves + 1));
  EXPECT_EQ(ThroughHost(), 0u);
}

TEST_F(Redirect, OneThatIsNamedAnewForEverIsGivenUp) {
  SendTable(1, 7);
  uint64_t generation = 7;
  for (size_t i = 0; i < 2; ++i) {
    instances[i]->on_call = [&, i](TestCall& handler, rpc::Call& call) {
      Refuse(++generation, i == 0 ? "b" : "a")(handler, call);
    };
  }
  Result& result = CallRoom();
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_NO);
  const size_t attempts = CallsOf(0).size() + CallsOf(1).size() + ThroughHost();
  EXPECT_GE(attempts, kMovesFollowedMax);
  EXPECT_LE(attempts, kMovesFollowedMax + 1 + policy::kRedirectsMax + policy::kRetriesMax);
}

TEST_F(Redirect, ARefusalThatNamesNobodyIsFollowedThroughTheHost) {
  SendTable(1, 7);
  instances[0]->on_call = Refuse(8);
  Result& result = CallRoom();
  Settle();
  ASSERT_TRUE(result.ended());
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(ThroughHost(), 1u);
  EXPECT_EQ(Generation(*HostCalls().back()), Stamp(8));
  // An owner that is in no table either.
  SendTable(1, 9);
  instances[0]->on_call = Refuse(10, "c");
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(ThroughHost(), 2u);
  EXPECT_THAT(CallsOf(1), SizeIs(0));
}

TEST_F(Redirect, AnInstanceThatKnowsNothingOfTheShardTellsNoGeneration) {
  SendTable(1, 7);
  instances[0]->on_call = Refuse(0);
  ASSERT_TRUE(Ended(CallRoom()));
  EXPECT_EQ(ThroughHost(), 1u);
  EXPECT_EQ(Generation(*HostCalls().back()), Stamp(7)) << "the table's";
}

TEST_F(Redirect, AnOlderOwnerIsNotBelieved) {
  SendTable(1, 7);
  instances[0]->on_call = Refuse(6, "b");
  Result& result = CallRoom();
  Settle();
  ASSERT_TRUE(result.ended());
  EXPECT_TRUE(result.status.ok()) << "the host knows more";
  EXPECT_THAT(CallsOf(1), SizeIs(0)) << "it had the shard before";
  EXPECT_THAT(CallsOf(0), SizeIs(2));
  EXPECT_EQ(Generation(*HostCalls().back()), Stamp(7));
}

TEST_F(Redirect, ThreeAreFollowedAtOnce) {
  SendTable(1, 7);
  uint64_t generation = 7;
  const auto refuse = [&](const std::string& other) {
    return [&, other](TestCall& test, rpc::Call& call) { Refuse(++generation, other)(test, call); };
  };
  instances[0]->on_call = refuse("b");
  instances[1]->on_call = refuse("a");
  Result& result = CallRoom();
  Settle();
  EXPECT_FALSE(result.ended()) << "then it waits, as after any failure";
  EXPECT_EQ(CallsOf(0).size() + CallsOf(1).size(), 4u);
  EXPECT_EQ(ThroughHost(), 0u);
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_NO);
}

TEST_F(Redirect, WhatMayHaveRunIsNotSentToTheOwnerAgain) {
  SendTable(1, 7);
  instances[0]->on_call = [this](TestCall&, rpc::Call& call) {
    rpc::HeaderList trailers;
    trailers.Add("lever-gen", Stamp(8));
    trailers.Add("lever-owner", "b");
    call.Finish(Unavailable("its grant has ended"), &trailers);
  };
  Result& result = CallRoom();
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(CallsOf(1), SizeIs(0));
  EXPECT_EQ(ThroughHost(), 0u);
}

TEST_F(Redirect, AMalformedTrailerIsNoHint) {
  SendTable(1, 7);
  for (const char* text : {"", "x", "1.", "99.8", "01.8"}) {
    instances[0]->on_call = [text](TestCall&, rpc::Call& call) {
      rpc::HeaderList trailers;
      trailers.Add("lever-gen", text);
      trailers.Add("lever-owner", "b");
      call.Finish(SurelyNotRun(), &trailers);
    };
    Result& result = CallRoom();
    ASSERT_TRUE(Ended(result)) << text;
    EXPECT_TRUE(result.status.ok()) << text << ": the host knows more";
    EXPECT_THAT(CallsOf(1), SizeIs(0)) << text;
    // What that took of the budget comes back.
    instances[0]->on_call = Succeed;
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(Ended(CallRoom()));
  }
}

}  // namespace
}  // namespace lever::client
