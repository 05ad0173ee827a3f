// Which instance gets a call, and what becomes of calls while there is none.
#include <gmock/gmock.h>

#include "tests/host/gateway/router_fixture.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

TEST_F(RouterTest, CallsAreHeldAndReleasedTogether) {
  Publish({});
  for (int i = 0; i < 300; ++i) Route();
  EXPECT_EQ(router->held(), 300u);
  // Asked for at once, then told how many they have become.
  EXPECT_EQ(control.demands, std::vector<std::string>{"lever://dev.lever/hello"});
  Advance(Router::kTellNs);
  EXPECT_EQ(control.demanded["lever://dev.lever/hello"], 300u);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  ASSERT_TRUE(Until([&] { return calls.back().routed == 1; }));
  for (const Waiting& call : calls) EXPECT_EQ(call.routed + call.refused, 1);
  EXPECT_EQ(router->held(), 0u);
  EXPECT_EQ(control.connects, 1) << "and one connection";
  Advance(Router::kTellNs);
  EXPECT_EQ(control.demanded["lever://dev.lever/hello"], 0u);
}

TEST_F(RouterTest, AFailedStartFailsAllWithItsWords) {
  Publish({});
  for (int i = 0; i < 10; ++i) Route();
  Do([&] { directory.StartFailed({"dev.lever", "other"}, Unavailable("not this one")); });
  EXPECT_EQ(router->held(), 10u);
  Do([&] { directory.StartFailed({"dev.lever", "hello"}, Unavailable("exit 1: no module x")); });
  for (const Waiting& call : calls) {
    EXPECT_EQ(call.refused, 1);
    EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
    EXPECT_EQ(call.status.message(), "exit 1: no module x");
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  }
  // The next one asks anew.
  Route();
  EXPECT_EQ(control.demands.size(), 2u);
}

TEST_F(RouterTest, ACallIsHeldUntilItsDeadlineAndNoLongerThanAMinute) {
  Publish({});
  Waiting& short_one = Route(clock.NowNs() + kNanosPerSecond);
  Waiting& long_one = Route();
  Advance(kNanosPerSecond);
  EXPECT_EQ(short_one.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(short_one.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(long_one.refused, 0);
  Advance(Router::kHoldMaxNs - kNanosPerSecond);
  EXPECT_EQ(long_one.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(router->held(), 0u);
}

TEST_F(RouterTest, ACancelledCallHearsNothing) {
  Publish({});
  Waiting& call = Route();
  Do([&] { router->Cancel(&call); });
  EXPECT_EQ(router->held(), 0u);
  Serve();
  Settle();
  EXPECT_EQ(call.routed + call.refused, 0);
  // Nor does one that waits for a connection.
  Waiting& connecting = calls.emplace_back();
  Do([&] {
    router->Route(&connecting, {"dev.lever", "hello"}, kNever);
    router->Cancel(&connecting);
  });
  Settle();
  EXPECT_EQ(connecting.routed + connecting.refused, 0);
}

TEST_F(RouterTest, ARemovedServiceRefusesWhatWasHeld) {
  Publish({});
  Waiting& call = Route();
  Do([&] { directory.Remove({"dev.lever", "hello"}, 100); });
  EXPECT_EQ(call.status.code(), LEVER_NOT_FOUND);
  EXPECT_EQ(Route().status.code(), LEVER_NOT_FOUND);
}

TEST_F(RouterTest, AnInstanceThatCannotBeReachedIsGivenUpAfterThree) {
  TestInstance& instance = NewInstance();
  control.instances_by_key.clear();
  Publish({&instance});
  Waiting& call = Route();
  ASSERT_TRUE(Until([&] { return call.refused == 1; }));
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(call.status.message(), HasSubstr("no such instance"));
  EXPECT_EQ(control.connects, static_cast<int>(Router::kConnectFailuresMax));
}

TEST_F(RouterTest, AnInstanceThatFailedIsPassedOverWhileThereIsAnother) {
  TestInstance& broken = NewInstance();
  TestInstance& good = NewInstance();
  control.instances_by_key.erase(broken.key());
  Publish({&broken, &good});
  for (int i = 0; i < 20; ++i) {
    Waiting& call = Route();
    ASSERT_TRUE(Until([&] { return call.routed + call.refused == 1; }));
    ASSERT_EQ(call.routed, 1) << call.status.ToString();
    EXPECT_EQ(call.backend->instance().key, good.key());
  }
  EXPECT_LE(control.connects, 4);
}

TEST_F(RouterTest, OfTwoInstancesTheOneWithLessInFlightIsTaken) {
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  Publish({&a, &b});
  std::map<uint64_t, int> taken;
  for (int i = 0; i < 100; ++i) {
    Waiting& call = Route();
    ASSERT_TRUE(Until([&] { return call.routed == 1; }));
    Do([&] { call.backend->Begin(); });
    ++taken[call.backend->instance().key];
  }
  EXPECT_EQ(taken[a.key()], 50);
  EXPECT_EQ(taken[b.key()], 50);
  for (Waiting& call : calls) Do([&] { call.backend->End(0); });
}

TEST_F(RouterTest, OfTwoInstancesTheOneThatReportsLessIsTaken) {
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  Publish({&a, &b});
  for (const size_t busy : {0, 1}) {
    Do([&] {
      const scale::ListedService* service = directory.Find({"dev.lever", "hello"});
      service->instances[busy].load->streams = 1;
      service->instances[1 - busy].load->streams = 0;
    });
    for (int i = 0; i < 10; ++i) {
      Waiting& call = Route();
      ASSERT_TRUE(Until([&] { return call.routed == 1; }));
      EXPECT_EQ(call.backend->instance().key, busy == 0 ? b.key() : a.key());
    }
  }
}

// ---- Canaries ----

class CanaryRouterTest : public RouterTest {
 protected:
  // The last `canaries` of these are of the canary.
  void PublishCanary(const std::vector<TestInstance*>& ready, uint32_t canaries, uint32_t share,
                     bool sticky = false) {
    std::shared_ptr<scale::ServiceView> view = MakeView(ready);
    view->canary_version = 2;
    view->canary_instances = canaries;
    view->canary_share = share;
    view->canary_sticky = sticky;
    Do([&] { directory.Apply(view); });
  }
  // Where it is routed to, at once; 0: it is held.
  uint64_t Taken(VersionWish wish = {}) {
    Waiting& call = calls.emplace_back();
    Do([&] { router->Route(&call, {"dev.lever", "hello"}, kNever, std::nullopt, wish); });
    EXPECT_TRUE(Until([&] { return call.routed == 1 || router->held() > 0; }));
    return call.routed == 1 ? call.backend->instance().key : 0;
  }
};

TEST_F(CanaryRouterTest, TheShareIsOneOfCallsWhateverTheNumbersOfInstances) {
  TestInstance& serving = NewInstance();
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  PublishCanary({&serving, &a, &b}, 2, 1000);
  std::map<uint64_t, int> taken;
  for (int i = 0; i < 2000; ++i) ++taken[Taken()];
  EXPECT_EQ(taken[0], 0);
  // Five deviations of a binomial count.
  EXPECT_NEAR(taken[a.key()] + taken[b.key()], 200, 67);
  EXPECT_GT(taken[a.key()], 0);
  EXPECT_GT(taken[b.key()], 0);
}

TEST_F(CanaryRouterTest, ACallersOwnChoiceHolds) {
  TestInstance& serving = NewInstance();
  TestInstance& canary = NewInstance();
  PublishCanary({&serving, &canary}, 1, 5000);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Taken({.canary = true}), canary.key());
    EXPECT_EQ(Taken({.canary = false}), serving.key());
  }
}

TEST_F(CanaryRouterTest, CallersStayWhereThatIsAskedFor) {
  TestInstance& serving = NewInstance();
  TestInstance& canary = NewInstance();
  PublishCanary({&serving, &canary}, 1, 5000, true);
  std::map<uint64_t, int> callers;
  for (uint64_t caller = 0; caller < 200; ++caller) {
    const uint64_t first = Taken({.canary = std::nullopt, .caller = caller});
    ++callers[first];
    for (int i = 0; i < 5; ++i) EXPECT_EQ(Taken({.canary = std::nullopt, .caller = caller}), first);
  }
  EXPECT_NEAR(callers[canary.key()], 100, 36);
}

TEST_F(CanaryRouterTest, WithoutAnInstanceTheCanaryLeavesItsShareAndTheOtherVersionDoesNot) {
  TestInstance& serving = NewInstance();
  TestInstance& canary = NewInstance();
  PublishCanary({&serving}, 0, 9999);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Taken(), serving.key());
  EXPECT_EQ(Taken({.canary = true}), serving.key());
  PublishCanary({&canary}, 1, 1);
  EXPECT_EQ(Taken({.canary = false}), 0u);
  EXPECT_EQ(router->held(), 1u);
  PublishCanary({&serving, &canary}, 1, 1);
  ASSERT_TRUE(Until([&] { return calls.back().routed == 1; }));
  EXPECT_EQ(calls.back().backend->instance().key, serving.key());
}

// ---- Resources ----

TEST_F(RouterTest, ACallOfAResourceGoesToItsOwner) {
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  PublishOwned({&a, &b}, scale::ShardOwners::Owner{1, 7});
  for (int i = 0; i < 20; ++i) {
    Waiting& call = RouteRoom();
    ASSERT_TRUE(Until([&] { return call.routed == 1; }));
    EXPECT_EQ(call.backend->instance().key, b.key());
    EXPECT_EQ(call.GenerationHeader(std::nullopt), Stamp(7));
  }
  Waiting& plain = Route();
  ASSERT_TRUE(Until([&] { return plain.routed == 1; }));
  EXPECT_EQ(plain.GenerationHeader(std::nullopt), "");
}

TEST_F(RouterTest, TheNewerGenerationIsPassedOn) {
  TestInstance& a = NewInstance();
  PublishOwned({&a}, scale::ShardOwners::Owner{0, 7});
  Waiting& call = RouteRoom();
  ASSERT_TRUE(Until([&] { return call.routed == 1; }));
  EXPECT_EQ(call.GenerationHeader(Stamp(6)), Stamp(7));
  EXPECT_EQ(call.GenerationHeader(Stamp(0)), Stamp(7));
  EXPECT_EQ(call.GenerationHeader(Stamp(7)), Stamp(7));
  EXPECT_EQ(call.GenerationHeader(Stamp(8)), Stamp(8));
  // For the instance to refuse.
  for (const char* text : {"", "x", "99.3", "99.8", "1", "01.1"}) {
    EXPECT_EQ(call.GenerationHeader(text), text);
  }
}

TEST_F(RouterTest, AServiceWithoutResourcesRefusesThemItself) {
  TestInstance& a = Serve();
  Waiting& call = RouteRoom();
  ASSERT_TRUE(Until([&] { return call.routed == 1; }));
  EXPECT_EQ(call.backend->instance().key, a.key());
  EXPECT_EQ(call.GenerationHeader(std::nullopt), "");
  EXPECT_EQ(call.GenerationHeader("1.2"), "1.2");
}

TEST_F(RouterTest, WithoutAnOwnerCallsAreHeldAndNoInstanceIsAskedFor) {
  TestInstance& a = NewInstance();
  PublishOwned({&a}, std::nullopt);
  for (int i = 0; i < 10; ++i) RouteRoom();
  PublishOwned({&a}, scale::ShardOwners::Owner{scale::ShardOwners::kNobody, 7});
  for (int i = 0; i < 10; ++i) RouteRoom();
  EXPECT_EQ(router->held(), 20u);
  Advance(Router::kTellNs);
  EXPECT_TRUE(control.demands.empty());
  PublishOwned({&a}, scale::ShardOwners::Owner{0, 8});
  ASSERT_TRUE(Until([&] { return calls.back().routed == 1; }));
  for (const Waiting& call : calls) {
    EXPECT_EQ(call.routed, 1);
    EXPECT_EQ(call.GenerationHeader(std::nullopt), Stamp(8));
  }
  EXPECT_EQ(router->held(), 0u);
  Advance(Router::kTellNs);
  EXPECT_TRUE(control.demands.empty());
}

TEST_F(RouterTest, WhoWaitsForAnOwnerWaitsForAnInstanceWhenThereIsNone) {
  TestInstance& a = NewInstance();
  PublishOwned({&a}, std::nullopt);
  for (int i = 0; i < 5; ++i) RouteRoom();
  Do([&] { router->Cancel(&calls.front()); });
  Publish({});
  Advance(Router::kTellNs);
  EXPECT_EQ(control.demanded["lever://dev.lever/hello"], 4u);
  TestInstance& b = NewInstance();
  PublishOwned({&b}, std::nullopt);
  Advance(Router::kTellNs);
  EXPECT_EQ(control.demanded["lever://dev.lever/hello"], 0u) << "more would not help";
  EXPECT_EQ(router->held(), 4u);
  PublishOwned({&b}, scale::ShardOwners::Owner{0, 1});
  ASSERT_TRUE(Until([&] { return calls.back().routed == 1; }));
}

TEST_F(RouterTest, ACallWithoutAnOwnerIsHeldUntilItsDeadlineAndNoLongerThanAMinute) {
  TestInstance& a = NewInstance();
  PublishOwned({&a}, std::nullopt);
  Waiting& short_one = RouteRoom(clock.NowNs() + kNanosPerSecond);
  Waiting& long_one = RouteRoom();
  Advance(kNanosPerSecond);
  EXPECT_EQ(short_one.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(short_one.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(long_one.refused, 0);
  Advance(Router::kHoldMaxNs - kNanosPerSecond);
  EXPECT_EQ(long_one.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(router->held(), 0u);
  // A removed service refuses them at once.
  RouteRoom();
  Do([&] { directory.Remove({"dev.lever", "hello"}, 100); });
  EXPECT_EQ(calls.back().status.code(), LEVER_NOT_FOUND);
}

TEST_F(RouterTest, NamesAndPermissionsAreChecked) {
  TestInstance& instance = NewInstance();
  Publish({&instance}, Private::kYes);
  const fleet::Caller outside;
  const fleet::Caller inside{"lever://dev.lever/shop", "dev.lever", "shop", 77};
  const fleet::Caller elsewhere{"lever://staging/shop", "staging", "shop", 78};
  Do([&] {
    EXPECT_EQ(router->Check({"dev.lever", "hello"}, outside).code(), LEVER_PERMISSION_DENIED);
    EXPECT_EQ(router->Check({"dev.lever", "hello"}, elsewhere).code(), LEVER_PERMISSION_DENIED);
    EXPECT_TRUE(router->Check({"dev.lever", "hello"}, inside).ok());
    EXPECT_EQ(router->Check({"dev.lever", "nobody"}, inside).code(), LEVER_NOT_FOUND);
    EXPECT_THAT(router->Check({"nowhere", "hello"}, inside).message(), HasSubstr("environment"));
    EXPECT_EQ(router->Check({"dev.lever", "nobody"}, inside).executed(), LEVER_EXECUTED_NO);
  });
}

}  // namespace
}  // namespace lever::gateway
