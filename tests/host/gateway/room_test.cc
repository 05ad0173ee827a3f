// Calls that wait because every instance runs as many as it may.
#include <gmock/gmock.h>

#include <optional>

#include "tests/host/gateway/http_client.h"
#include "tests/host/gateway/router_fixture.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

class RoomTest : public RouterTest {
 protected:
  void Cap(uint32_t concurrency, uint32_t queue = scale::kQueueMaxDefault) {
    concurrency_max = concurrency;
    queue_max = queue;
    begins = true;
  }
  bool Begun(Waiting& call) {
    return Until([&] { return call.routed == 1; });
  }
  void End(Waiting& call) {
    Do([&] { call.backend->End(0); });
    Settle();
  }
};

TEST_F(RoomTest, WhatIsAboveTheCapWaitsAndGoesOnInOrder) {
  Cap(2);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Begun(Route()));
  for (int i = 0; i < 3; ++i) Route();
  EXPECT_EQ(router->held(), 3u);
  Advance(Router::kTellNs);
  EXPECT_EQ(control.demanded["lever://dev.lever/hello"], 3u) << "the scaler is told";
  for (size_t ended = 0; ended < 3; ++ended) {
    End(calls[ended]);
    ASSERT_TRUE(Begun(calls[2 + ended]));
    for (size_t later = 3 + ended; later < 5; ++later) EXPECT_EQ(calls[later].routed, 0);
  }
  EXPECT_EQ(held->calls, 0u);
  EXPECT_EQ(held->loops_for_room, 0u);
  End(calls[3]);
  End(calls[4]);
}

TEST_F(RoomTest, OneThatComesWhileOthersWaitWaitsBehindThem) {
  Cap(1);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  ASSERT_TRUE(Begun(Route()));
  Waiting& waits = Route();
  Waiting* late = nullptr;
  Do([&] {
    calls[0].backend->End(0);
    // There is room, and the one that waits has not been given it yet.
    late = &calls.emplace_back();
    late->begins = true;
    router->Route(late, {"dev.lever", "hello"}, kNever);
    EXPECT_EQ(late->routed, 0);
  });
  Settle();
  ASSERT_TRUE(Begun(waits));
  EXPECT_EQ(late->routed, 0);
  End(waits);
  ASSERT_TRUE(Begun(*late));
  End(*late);
}

TEST_F(RoomTest, AnotherInstanceIsTakenWhileOneHasRoom) {
  Cap(3);
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  Publish({&a, &b});
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(Begun(Route()));
  Route();
  EXPECT_EQ(router->held(), 1u);
  TestInstance& c = NewInstance();
  Publish({&a, &b, &c});
  ASSERT_TRUE(Begun(calls.back()));
  EXPECT_EQ(calls.back().backend->instance().key, c.key());
  for (Waiting& call : calls) End(call);
}

TEST_F(RoomTest, BeyondItsQueueAServiceIsRefusedAtOnceAndOthersAreNot) {
  Cap(1, 5);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  ASSERT_TRUE(Begun(Route()));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Route().refused, 0);
  Waiting& refused = Route();
  EXPECT_EQ(refused.status.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_THAT(refused.status.message(), HasSubstr("maxQueue is 5"));
  EXPECT_EQ(router->held(), 5u);
  auto other = std::make_shared<scale::ServiceView>();
  other->environment = "dev.lever";
  other->service = "other";
  other->revision = 1;
  Waiting& elsewhere = calls.emplace_back();
  Do([&] {
    directory.Apply(other);
    router->Route(&elsewhere, {"dev.lever", "other"}, kNever);
  });
  EXPECT_EQ(elsewhere.refused, 0);
  EXPECT_EQ(router->held(), 6u);
  End(calls.front());
}

TEST_F(RoomTest, TheQueueIsOfAllLoopsTogether) {
  Cap(0, 5);
  Publish({});
  auto second = std::make_unique<Router>(loop.get(), &directory, &control, 2);
  std::deque<Waiting> seconds;
  const auto route_second = [&]() -> Waiting& {
    Waiting& call = seconds.emplace_back();
    Do([&] { second->Route(&call, {"dev.lever", "hello"}, kNever); });
    return call;
  };
  for (int i = 0; i < 3; ++i) Route();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(route_second().refused, 0);
  EXPECT_EQ(Route().status.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(route_second().status.code(), LEVER_RESOURCE_EXHAUSTED);
  // What leaves one of them makes room in the other.
  Do([&] { router->Cancel(&calls[0]); });
  EXPECT_EQ(route_second().refused, 0);
  Do([&] {
    seconds.clear();
    second.reset();
  });
  EXPECT_EQ(held->calls, 2u);
}

TEST_F(RoomTest, RequestsThatAreTooLargeTogetherAreRefused) {
  Publish({});
  constexpr size_t kPart = Router::kHeldBytesPerServiceMax / 4;
  for (int i = 0; i < 4; ++i) {
    Waiting& call = Route();
    Do([&] { call.SetHeldBytes(kPart); });
  }
  EXPECT_EQ(held->bytes, Router::kHeldBytesPerServiceMax);
  Waiting& grows = Route();
  Do([&] {
    grows.SetHeldBytes(1);
    EXPECT_EQ(grows.refused, 0) << "not from inside";
  });
  Settle();
  EXPECT_EQ(grows.status.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_THAT(grows.status.message(), HasSubstr("too large together"));
  EXPECT_EQ(held->bytes, Router::kHeldBytesPerServiceMax);
  Do([&] { router->Cancel(&calls[0]); });
  EXPECT_EQ(held->bytes, 3 * kPart);
}

TEST_F(RoomTest, ACallWaitsForRoomUntilItsDeadline) {
  Cap(1);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  ASSERT_TRUE(Begun(Route()));
  Waiting& call = Route(clock.NowNs() + kNanosPerSecond);
  Advance(kNanosPerSecond);
  EXPECT_EQ(call.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_THAT(call.status.message(), HasSubstr("was full until the deadline"));
  EXPECT_EQ(held->loops_for_room, 0u);
  End(calls.front());
}

TEST_F(RoomTest, OneThatAnInstanceRefusedWaitsBeforeTheOthersAndTriesAgain) {
  Cap(1);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  Waiting& refused = Route();
  ASSERT_TRUE(Begun(refused));
  Waiting& other = Route();
  Do([&] {
    // Somebody else calls the instance directly.
    refused.backend->OnFull();
    refused.backend->End(0);
    router->RouteAgain(&refused);
  });
  Settle();
  EXPECT_EQ(refused.routed, 1) << "not at once";
  Advance(Backend::kOthersHalveNs);
  ASSERT_TRUE(Until([&] { return refused.routed == 2; }));
  EXPECT_EQ(other.routed, 0);
  End(refused);
  ASSERT_TRUE(Begun(other));
  End(other);
}

TEST_F(RoomTest, NoLoopStarvesAnother) {
  Cap(1);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  auto second = std::make_unique<Router>(loop.get(), &directory, &control, 2);
  std::deque<Waiting> seconds;
  for (int i = 0; i < 60; ++i) {
    Route();
    Waiting& call = seconds.emplace_back();
    call.begins = true;
    Do([&] { second->Route(&call, {"dev.lever", "hello"}, kNever); });
  }
  // Calls that take no time: whoever is at it could go on for ever.
  std::set<Waiting*> done;
  size_t of_first = 0;
  size_t of_second = 0;
  for (int i = 0; i < 2000 && of_first + of_second < 60; ++i) {
    for (auto* queue : {&calls, &seconds}) {
      for (Waiting& call : *queue) {
        if (call.routed == 0 || !done.insert(&call).second) continue;
        ++(queue == &calls ? of_first : of_second);
        Do([&] { call.backend->End(0); });
      }
    }
    Advance(kNanosPerMilli / 10);
  }
  EXPECT_GE(of_first, 15u);
  EXPECT_GE(of_second, 15u);
  Do([&] {
    seconds.clear();
    second.reset();
  });
}

// ---- With real calls ----

class FullInstance : public HttpTest {
 protected:
  ~FullInstance() override {
    for (TestCall& call : grpc_calls) {
      if (!call.ended()) Do([&] { call.call->Cancel(Cancelled("the test is over")); });
    }
    Settle();
  }
  // An instance that runs one call, of which the host believes that it runs more.
  TestInstance& ServeOne() {
    service::ServiceOptions options;
    options.concurrency_max = 1;
    TestInstance& instance = NewInstance(std::move(options));
    concurrency_max = 8;
    Publish({&instance});
    return instance;
  }
  TestCall& Call(std::string_view url, std::string_view attempt = "") {
    GrpcAsk ask{.headers = {{"lever-url", std::string(url)}}};
    if (!attempt.empty()) ask.headers.emplace_back("lever-attempt", attempt);
    return Begin(Client(), grpc_calls.emplace_back(), ask, {ValueMessage("\x91\x05")});
  }
  std::deque<TestCall> grpc_calls;
};

TEST_F(FullInstance, WhatItRefusesWaitsAtTheHostAndRunsOnce) {
  TestInstance& instance = ServeOne();
  Call("/hello/hang");
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  // One whose caller retries by itself, one whose caller does not, and one by HTTP.
  TestCall& own = Call("/hello/echo", "3");
  TestCall& plain = Call("/hello/echo");
  RawClient http_client(Connect());
  http_client.Send(Http1Request("POST", "/hello/echo", {}, "[5]"));
  ASSERT_TRUE(Until([&] { return router->held() == 3; }));
  for (int i = 0; i < 20; ++i) Advance(Backend::kOthersHalveNs);
  ASSERT_TRUE(Until([&] { return router->held() == 3; }));
  EXPECT_EQ(instance.calls, 1);
  EXPECT_FALSE(own.ended() || plain.ended());
  Do([&] { (void)instance.hanging[0]->Reply(Kind::kValue, Json("[1]"), nullptr); });
  Settle();
  ASSERT_TRUE(Until([&] {
    Advance(Backend::kOthersHalveNs);
    return own.ended() && plain.ended();
  }));
  EXPECT_TRUE(own.status.ok()) << own.Text();
  EXPECT_TRUE(plain.status.ok()) << plain.Text();
  ASSERT_TRUE(Until([&] {
    Advance(Backend::kOthersHalveNs);
    return instance.calls == 4;
  }));
  const Response response = Answer(http_client);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "[5]");
}

TEST_F(FullInstance, ACallForWhichThereIsNoRoomToWaitIsRefusedWithATimeToComeAgain) {
  queue_max = 1;
  TestInstance& instance = ServeOne();
  concurrency_max = 1;
  Publish({&instance});
  Call("/hello/hang");
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Call("/hello/echo");
  ASSERT_TRUE(Until([&] { return router->held() == 1; }));
  TestCall& refused = Call("/hello/echo");
  ASSERT_TRUE(Until([&] { return refused.ended(); }));
  EXPECT_EQ(refused.status.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.status.executed(), LEVER_EXECUTED_NO);
  RawClient http_client(Connect());
  http_client.Send(Http1Request("POST", "/hello/echo", {}, "[5]"));
  const Response response = Answer(http_client);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.fields.at("retry-after"), "1");
  EXPECT_THAT(response.body, HasSubstr("\"code\":\"RESOURCE_EXHAUSTED\""));
  EXPECT_THAT(response.body, HasSubstr("\"executed\":\"no\""));
  EXPECT_EQ(instance.calls, 1);
}

}  // namespace
}  // namespace lever::gateway
