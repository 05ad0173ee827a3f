// Calls of resources go to the instance that owns them, and wait for it, or for room in it.
#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/host/gateway/router_fixture.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kNobody = scale::ShardOwners::kNobody;

class OwnerTest : public RouterTest {
 protected:
  // From the next Publish() on the shards, here two, belong to these of its instances.
  void Own(uint32_t of_first, uint32_t of_second, uint64_t generation = 1) {
    auto owners = std::make_shared<scale::ShardOwners>();
    owners->owners = {{of_first, of_first == kNobody ? 0 : generation},
                      {of_second, of_second == kNobody ? 0 : generation}};
    shards = std::move(owners);
  }
  // Two instances that run one call at a time, and own a shard each.
  std::pair<TestInstance&, TestInstance&> TwoOfOneCallEach() {
    begins = true;
    concurrency_max = 1;
    TestInstance& a = NewInstance();
    TestInstance& b = NewInstance();
    Own(0, 1);
    Publish({&a, &b});
    return {a, b};
  }
  void Publish(const std::vector<TestInstance*>& ready) {
    std::shared_ptr<scale::ServiceView> view = MakeView(ready);
    view->has_resources = shards != nullptr;
    view->shards = shards;
    Do([&] { directory.Apply(view); });
  }
  static uint64_t HashIn(uint32_t shard) {
    for (uint64_t hash = 1;; hash += UINT64_MAX / 64) {
      if (policy::ShardOfHash(hash, 2) == shard) return hash;
    }
  }
  Waiting& RouteIn(uint32_t shard, int64_t deadline_ns = kNever) {
    return Route(deadline_ns, HashIn(shard));
  }
  bool Begun(Waiting& call) {
    return Until([&] { return call.routed == 1; });
  }
  void End(Waiting& call) {
    Do([&] { call.backend->End(0); });
    Settle();
  }
  uint32_t Demanded() {
    Advance(Router::kTellNs);
    return control.demanded["lever://dev.lever/hello"];
  }

  std::shared_ptr<const scale::ShardOwners> shards;
};

TEST_F(OwnerTest, CallsWaitForAnOwnerWithoutAskingForInstancesAndOthersDoNot) {
  begins = true;
  TestInstance& a = NewInstance();
  TestInstance& b = NewInstance();
  Own(0, kNobody);
  Publish({&a, &b});
  Waiting& known = RouteIn(0);
  ASSERT_TRUE(Begun(known));
  EXPECT_EQ(known.backend->instance().key, a.key());
  EXPECT_EQ(known.GenerationHeader(std::nullopt), "0.1");
  Waiting& first = RouteIn(1);
  Waiting& second = RouteIn(1);
  Waiting& plain = Route();
  ASSERT_TRUE(Begun(plain));
  EXPECT_EQ(router->held(), 2u);
  EXPECT_EQ(Demanded(), 0u);
  Own(0, 1, 2);
  Publish({&a, &b});
  ASSERT_TRUE(Begun(first) && Begun(second));
  EXPECT_EQ(first.backend->instance().key, b.key());
  EXPECT_EQ(first.GenerationHeader(std::nullopt), "1.2");
  EXPECT_EQ(held->calls, 0u);
  for (Waiting& call : calls) End(call);
}

TEST_F(OwnerTest, CallsWaitForRoomInTheOwnerThoughAnotherHasIt) {
  const auto [a, b] = TwoOfOneCallEach();
  ASSERT_TRUE(Begun(RouteIn(0)));
  Waiting& second = RouteIn(0);
  Waiting& third = RouteIn(0);
  EXPECT_EQ(router->held(), 2u);
  EXPECT_EQ(Demanded(), 0u) << "more instances would not help";
  // They are in nobody else's way.
  Waiting& plain = Route();
  ASSERT_TRUE(Begun(plain));
  EXPECT_EQ(plain.backend->instance().key, b.key());
  Waiting& other = RouteIn(1);
  EXPECT_EQ(Demanded(), 1u) << "now all are full";
  End(plain);
  ASSERT_TRUE(Begun(other));
  EXPECT_EQ(second.routed, 0);
  End(calls.front());
  ASSERT_TRUE(Begun(second));
  EXPECT_EQ(second.backend->instance().key, a.key());
  EXPECT_EQ(third.routed, 0) << "in order";
  End(second);
  ASSERT_TRUE(Begun(third));
  EXPECT_EQ(third.GenerationHeader(std::nullopt), "0.1");
  EXPECT_EQ(held->calls, 0u);
  EXPECT_EQ(held->loops_for_room, 0u);
  End(third);
  End(other);
}

TEST_F(OwnerTest, WhatTheOwnerRefusedAsFullWaitsForItBeforeTheOthers) {
  const auto [a, b] = TwoOfOneCallEach();
  Waiting& refused = RouteIn(0);
  ASSERT_TRUE(Begun(refused));
  Waiting& later = RouteIn(0);
  Do([&] {
    // Somebody else calls it directly.
    refused.backend->OnFull();
    refused.backend->End(0);
    router->RouteAgain(&refused);
  });
  Settle();
  EXPECT_EQ(refused.routed, 1) << "neither at once nor elsewhere";
  Advance(Backend::kOthersHalveNs);
  ASSERT_TRUE(Until([&] { return refused.routed == 2; }));
  EXPECT_EQ(refused.backend->instance().key, a.key());
  EXPECT_EQ(later.routed, 0);
  End(refused);
  ASSERT_TRUE(Begun(later));
  End(later);
}

TEST_F(OwnerTest, WhoWaitsForRoomFollowsTheResourceToItsNextOwner) {
  const auto [a, b] = TwoOfOneCallEach();
  ASSERT_TRUE(Begun(RouteIn(0)));
  Waiting& first = RouteIn(0);
  Waiting& second = RouteIn(0);
  Own(kNobody, 1);
  Publish({&a, &b});
  End(calls.front());
  EXPECT_EQ(first.routed + second.routed, 0) << "it owns nothing any more";
  Own(1, 1, 3);
  Publish({&a, &b});
  ASSERT_TRUE(Begun(first));
  EXPECT_EQ(first.backend->instance().key, b.key());
  EXPECT_EQ(first.GenerationHeader(std::nullopt), "0.3");
  EXPECT_EQ(second.routed, 0);
  End(first);
  ASSERT_TRUE(Begun(second));
  End(second);
}

TEST_F(OwnerTest, WithoutInstancesAllAskForOne) {
  begins = true;
  concurrency_max = 1;
  TestInstance& a = NewInstance();
  Own(0, kNobody);
  Publish({&a});
  ASSERT_TRUE(Begun(RouteIn(0)));
  Waiting& full = RouteIn(0);
  Waiting& ownerless = RouteIn(1);
  EXPECT_EQ(Demanded(), 1u);
  shards.reset();
  Publish({});
  EXPECT_EQ(Demanded(), 2u);
  EXPECT_EQ(held->loops_for_room, 0u);
  Waiting& plain = Route();
  TestInstance& b = NewInstance();
  Own(0, 0, 2);
  concurrency_max = 3;
  Publish({&b});
  for (Waiting* call : {&full, &ownerless, &plain}) {
    ASSERT_TRUE(Begun(*call));
    EXPECT_EQ(call->backend->instance().key, b.key());
  }
  EXPECT_EQ(Demanded(), 0u);
  EXPECT_EQ(router->held(), 0u);
  for (Waiting& call : calls) End(call);
}

TEST_F(OwnerTest, CallsThatWaitForAnOwnerEndAtTheirDeadlineAndByRemoval) {
  begins = true;
  concurrency_max = 1;
  TestInstance& a = NewInstance();
  Own(0, kNobody);
  Publish({&a});
  ASSERT_TRUE(Begun(RouteIn(0)));
  const int64_t deadline_ns = clock.NowNs() + kNanosPerSecond;
  Waiting& full = RouteIn(0, deadline_ns);
  Waiting& ownerless = RouteIn(1, deadline_ns);
  Advance(kNanosPerSecond);
  EXPECT_EQ(full.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_THAT(full.status.message(), HasSubstr("owns the resource was full until the deadline"));
  EXPECT_EQ(ownerless.status.code(), LEVER_DEADLINE_EXCEEDED);
  Waiting& later = RouteIn(0);
  Waiting& latest = RouteIn(1);
  Do([&] { directory.Remove({"dev.lever", "hello"}, 100); });
  for (Waiting* call : {&later, &latest}) {
    EXPECT_EQ(call->status.code(), LEVER_NOT_FOUND);
    EXPECT_EQ(call->status.executed(), LEVER_EXECUTED_NO);
  }
  EXPECT_EQ(held->calls, 0u);
  EXPECT_EQ(router->held(), 0u);
  End(calls.front());
}

}  // namespace
}  // namespace lever::gateway
