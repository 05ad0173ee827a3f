// A service with resources whose host says over the attach stream what it owns, and its callers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "liblever/policy/grant.h"
#include "liblever/policy/shard.h"
#include "liblever/service/drain.h"
#include "tests/service/resource_service_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST_F(ResourceServiceTest, SaysWhatItsResourcesCanAndRunsACallOfOneWithItsFencingToken) {
  StartOwning(7);
  EXPECT_THAT(attach().received.at(0).hello().resource_methods(), ElementsAre("add", "watchChan"));
  OfResource of;
  program.on_call = [&](IncomingCall& call) {
    of = call.of();
    ASSERT_TRUE(call.Begin());
    EXPECT_TRUE(call.Reply(Kind::kValue, Bytes("\x05"), nullptr).ok());
  };
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  EXPECT_EQ(State()->resource(), "cart");
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_THAT(program.openings, ElementsAre(Pair(of.resource, "cart")));
  EXPECT_EQ(of.shard, shard);
  EXPECT_EQ(of.generation, 7u);
  // The next finds it open, and one that knows nothing of shards is served, too.
  TestCall& second = CallCart();
  ASSERT_TRUE(Until([&] { return second.ended(); }));
  EXPECT_TRUE(second.status.ok()) << second.Text();
  EXPECT_EQ(program.openings.size(), 1u);
  // A method of the service has none.
  TestCall& plain = Call(caller, {});
  ASSERT_TRUE(Until([&] { return plain.ended(); }));
  EXPECT_EQ(of.resource, 0u);
}

TEST_F(ResourceServiceTest, AStreamOfAResourceRunsAndEndsWhenTheResourceMoves) {
  StartOwning(7);
  IncomingStream* incoming = nullptr;
  program.on_stream = [&](IncomingStream& stream) {
    incoming = &stream;
    ASSERT_TRUE(stream.Begin());
    EXPECT_TRUE(stream.Write(Kind::kValue, Bytes("\x05")).ok());
  };
  TestCall& stream = StreamCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return !stream.messages.empty(); }));
  EXPECT_EQ(incoming->of().generation, 7u);
  Release(7, "i-2", 8);
  ASSERT_TRUE(Until([&] { return stream.ended(); }));
  EXPECT_EQ(stream.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(stream.status.executed(), LEVER_EXECUTED_UNKNOWN);
  ASSERT_TRUE(Until([&] { return !program.closings.empty(); }));
  EXPECT_EQ(program.closings[0].second, CloseReason::kStopping);
}

TEST_F(ResourceServiceTest, ReportsWhatItsShardsHaveInFlight) {
  StartOwning(7);
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    held = &call;
    ASSERT_TRUE(call.Begin());
  };
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  TestCall& stream = StreamCart(Gen(7));
  ASSERT_TRUE(Until([&] { return program.streams == 1; }));
  // A call of no resource is of no shard.
  TestCall& plain = Call(caller, {});
  const auto reports = [&] {
    std::vector<v1::ShardLoads> loads;
    for (const auto& message : attach().received) {
      if (message.has_shard_loads()) loads.push_back(message.shard_loads());
    }
    return loads;
  };
  AdvanceInSteps(3 * kNanosPerSecond, kNanosPerSecond / 4);
  ASSERT_GE(reports().size(), 2u);
  const v1::ShardLoads report = reports().back();
  ASSERT_EQ(report.loads_size(), 1);
  EXPECT_EQ(report.loads(0).shard(), shard);
  EXPECT_EQ(report.loads(0).streams(), 1u);
  EXPECT_NEAR(report.loads(0).calls_milli(), 1000, 1);
  EXPECT_NEAR(static_cast<double>(report.window_ns()), 1e9, 3e8);
  (void)call;
  (void)plain;
  (void)stream;
}

TEST_F(ResourceServiceTest, RefusesWhatItsHeadersCannotMean) {
  StartOwning(7);
  const std::string other = policy::FormatShardGeneration({(shard + 1) % kShards, 7});
  for (const std::string& wrong : {other, std::string("cart"), std::string("7"), Gen(7) + "x"}) {
    ExpectUnrun(CallCart(wrong), LEVER_INVALID_ARGUMENT, "is not of the resource's shard");
  }
  ExpectUnrun(Call(caller, {.headers = {{"lever-url", "/hello/add"}, {"lever-resource", "%zz"}}}),
              LEVER_INVALID_ARGUMENT, "");
  ExpectUnrun(Call(caller, {.headers = OfCart("echo")}), LEVER_NOT_FOUND,
              "no method 'echo' of the resources");
  ExpectUnrun(Call(caller, {.headers = {{"lever-url", "/hello/add"}}}), LEVER_NOT_FOUND,
              "no method 'add'");
  ExpectUnrun(Call(caller, {.headers = OfCart("watchChan")}), LEVER_UNIMPLEMENTED,
              "called by Stream");
  ExpectUnrun(Call(caller, {.path = route::kStreamPath, .headers = OfCart("add")}),
              LEVER_UNIMPLEMENTED, "called by Invoke");
  EXPECT_EQ(program.calls, 0);
  EXPECT_TRUE(program.openings.empty());
}

TEST_F(ResourceServiceTest, WithoutAResourceTypeThereIsNothingToFind) {
  with_resources = false;
  Start();
  caller = Introduced();
  ExpectUnrun(CallCart(), LEVER_NOT_FOUND, "service hello has no resources");
  EXPECT_TRUE(attach().received.at(0).hello().resource_methods().empty());
}

TEST_F(ResourceServiceTest, AStaleCallerIsToldTheNewOwnerInTheTrailers) {
  StartOwning(7);
  Release(7, "i-2", 8);
  ASSERT_TRUE(Until([&] { return Released().size() == 1; }));
  TestCall& call = CallCart(Gen(7));
  ExpectUnrun(call, LEVER_UNAVAILABLE, "does not own");
  EXPECT_EQ(call.trailers.Find("lever-owner"), "i-2");
  EXPECT_EQ(call.trailers.Find("lever-gen"), Gen(8));
  TestCall& stream = StreamCart(Gen(7));
  ExpectUnrun(stream, LEVER_UNAVAILABLE, "does not own");
  EXPECT_EQ(stream.trailers.Find("lever-owner"), "i-2");
}

TEST_F(ResourceServiceTest, ACallThatIsOfferedAndNotBegunIsSentToTheNextOwner) {
  StartOwning(7);
  IncomingCall* offered = nullptr;
  program.on_call = [&](IncomingCall& call) { offered = &call; };
  program.on_cancelled = [&](IncomingCall& call) { call.Fail(Cancelled("given up")); };
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return offered != nullptr; }));
  Release(7, "i-2", 8);
  ExpectUnrun(call, LEVER_UNAVAILABLE, "does not own");
  EXPECT_EQ(call.trailers.Find("lever-owner"), "i-2");
  ASSERT_TRUE(Until([&] { return program.closings.size() == 1; }));
}

TEST_F(ResourceServiceTest, OutsideItsGrantNothingBeginsAndASuccessIsOfUnknownOutcome) {
  StartOwning(7);
  std::vector<IncomingCall*> calls;
  program.on_call = [&](IncomingCall& call) { calls.push_back(&call); };
  TestCall& begun = CallCart(Gen(7));
  AnswerState();
  TestCall& offered = CallCart(Gen(7));
  ASSERT_TRUE(Until([&] { return calls.size() == 2; }));
  Do([&] { ASSERT_TRUE(calls[0]->Begin()); });
  clock.Advance(policy::kGrantTermNs);
  Do([&] {
    EXPECT_FALSE(calls[1]->Begin());
    EXPECT_TRUE(calls[0]->Reply(Kind::kValue, Bytes("\x05"), nullptr).ok());
  });
  ExpectUnrun(offered, LEVER_UNAVAILABLE, "does not own");
  EXPECT_EQ(offered.trailers.Find("lever-gen"), Gen(7));
  ASSERT_TRUE(Until([&] { return begun.ended(); }));
  EXPECT_EQ(begun.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(begun.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_TRUE(begun.messages.empty());
}

TEST_F(ResourceServiceTest, CallersThatGiveUpWhileTheyWaitAreForgotten) {
  StartOwning(7);
  program.answers_openings = false;
  TestCall& first = CallCart(Gen(7));
  TestCall& second = StreamCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return program.openings.size() == 1; }));
  for (TestCall* call : {&first, &second}) {
    Do([&] { call->call->Cancel(Cancelled("the caller has better to do")); });
  }
  Settle();
  Do([&] { service->ResourceOpened(program.openings[0].first, Status::Ok()); });
  Settle();
  EXPECT_EQ(program.calls, 0);
  EXPECT_EQ(program.streams, 0);
}

TEST_F(ResourceServiceTest, AResourceThatCannotBeOpenedIsSaidUnexecuted) {
  StartOwning(7);
  program.answers_openings = false;
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return program.openings.size() == 1; }));
  Do([&] { service->ResourceOpened(program.openings[0].first, NotFound("no such cart")); });
  ExpectUnrun(call, LEVER_NOT_FOUND, "no such cart");
}

// ---- Drain ----

TEST_F(ResourceServiceTest, ADrainWaitsForItsShardsToBeReleased) {
  StartOwning(7);
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  Do([&] { service->Drain(); });
  AdvanceInSteps(kQuietMaxNs, kQuietNs);
  Settle();
  EXPECT_EQ(service->state(), State::kDraining);
  Release(7, "i-2", 8);
  ASSERT_TRUE(Until([&] { return program.closings.size() == 1; }));
  EXPECT_EQ(service->state(), State::kDraining);
  const SliceList state = Bytes("three hats");
  Do([&] {
    EXPECT_TRUE(service->ResourceClosed(program.closings[0].first, Status::Ok(), Kind::kRaw, &state)
                    .ok());
  });
  AnswerState();
  EXPECT_EQ(State()->kind(), v1::StateRequest::CARRY);
  ASSERT_TRUE(Until([&] { return service->state() == State::kDrained; }));
  ASSERT_EQ(Released().size(), 1u);
  EXPECT_TRUE(Released()[0].clean());
  EXPECT_TRUE(attach().received.back().has_drained()) << "the last word";
}

TEST_F(ResourceServiceTest, WhatIsCutOffByADrainHasItsResourcesClosedAfterThat) {
  ServiceOptions options;
  options.drain_timeout_ns = 3 * kNanosPerSecond;
  StartOwning(7, std::move(options));
  program.on_call = [&](IncomingCall& call) { ASSERT_TRUE(call.Begin()); };  // and never answers
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return program.calls == 1; }));
  Do([&] { service->Drain(); });
  AdvanceInSteps(2 * kNanosPerSecond, kQuietNs);
  Release(7, "i-2", 8);
  EXPECT_TRUE(program.closings.empty());
  AdvanceInSteps(kNanosPerSecond, kQuietNs);
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  ASSERT_TRUE(Until([&] { return program.closings.size() == 1; }))
      << "what was cut is not waited for";
  AdvanceInSteps(kCloseTimeoutNs - kNanosPerSecond, kQuietNs);
  EXPECT_EQ(service->state(), State::kDraining) << "it may still be closed";
  Do([&] {
    EXPECT_TRUE(service->ResourceClosed(program.closings[0].first, Status::Ok(), Kind::kNone, nullptr)
                    .ok());
  });
  ASSERT_TRUE(Until([&] { return Released().size() == 1; }));
  EXPECT_TRUE(Released()[0].clean());
}

TEST_F(ResourceServiceTest, AHostThatSaysAnotherNumberOfShardsIsNotAttachedTo) {
  StartOwning(7);
  host->welcome.set_shards(0);
  program.states.clear();
  Do([&] { attach().call->Finish(Unavailable("the host restarts")); });
  AdvanceInSteps(5 * kNanosPerSecond, 100 * kNanosPerMilli);
  EXPECT_GT(host->attaches.size(), 1u);
  EXPECT_NE(service->state(), State::kAttached);
}

TEST_F(ResourceServiceTest, AClosedServiceIsSilentAboutItsResources) {
  StartOwning(7);
  TestCall& call = CallCart(Gen(7));
  AnswerState();
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  Close();
  AdvanceInSteps(2 * kResourceIdleNs, kResourceIdleNs);
  EXPECT_TRUE(program.closings.empty());
}

TEST_F(ResourceServiceTest, IsSetUpInItsOrder) {
  with_resources = false;
  Start();
  Do([&] {
    EXPECT_EQ(service->SetResource({}).code(), LEVER_FAILED_PRECONDITION);
    EXPECT_EQ(service->AddResourceMethod("add", nullptr).code(), LEVER_FAILED_PRECONDITION);
  });
}

}  // namespace
}  // namespace lever::service
