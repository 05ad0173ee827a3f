// A service with resources whose host says over the attach stream what it owns, and its callers.
#ifndef TESTS_SERVICE_RESOURCE_SERVICE_FIXTURE_H_
#define TESTS_SERVICE_RESOURCE_SERVICE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/policy/shard.h"
#include "tests/service/service_fixture.h"

namespace lever::service {

class ResourceServiceTest : public ServiceTest {
 protected:
  static constexpr uint32_t kShards = 4;

  ResourceServiceTest() {
    with_resources = true;
    host->welcome.set_shards(kShards);
    shard = policy::ShardOf("dev.lever", "hello", "cart", kShards);
  }
  void StartOwning(uint64_t generation, ServiceOptions options = {}) {
    Start(std::move(options));
    caller = Introduced();
    Tell([&](v1::ToInstance& message) {
      auto* orders = message.mutable_shards();
      for (const auto kind : {v1::ShardOrder::NAME, v1::ShardOrder::GRANT}) {
        auto* order = orders->add_orders();
        order->set_kind(kind);
        order->set_shard(shard);
        order->set_generation(generation);
      }
      orders->set_synced(true);
    });
    RenewGrant();
  }
  void Tell(const std::function<void(v1::ToInstance&)>& fill) {
    v1::ToInstance message;
    fill(message);
    Do([&] { attach().Send(message); });
    Settle();
  }
  void Release(uint64_t generation, const std::string& next, uint64_t next_generation) {
    Tell([&](v1::ToInstance& message) {
      auto* order = message.mutable_shards()->add_orders();
      order->set_kind(v1::ShardOrder::RELEASE);
      order->set_shard(shard);
      order->set_generation(generation);
      order->set_next(next);
      order->set_next_generation(next_generation);
      order->set_reason(v1::STOPPING);
    });
  }
  void RenewGrant() {
    uint64_t id = 0;
    for (const auto& message : attach().received) {
      if (message.has_renew()) id = message.renew().id();
    }
    ASSERT_NE(id, 0u);
    Tell([&](v1::ToInstance& message) { message.mutable_renewed()->set_id(id); });
  }
  // The newest state request of the instance.
  std::optional<v1::StateRequest> State() {
    std::optional<v1::StateRequest> state;
    for (const auto& message : attach().received) {
      if (message.has_state()) state = message.state();
    }
    return state;
  }
  void AnswerState() {
    ASSERT_TRUE(Until([&] { return State().has_value() && State()->id() > answered; }));
    answered = State()->id();
    Tell([&](v1::ToInstance& message) { message.mutable_state()->set_id(answered); });
  }
  std::vector<v1::ShardReleased> Released() {
    std::vector<v1::ShardReleased> released;
    for (const auto& message : attach().received) {
      if (message.has_released()) released.push_back(message.released());
    }
    return released;
  }
  using Headers = std::vector<std::pair<std::string, std::string>>;
  Headers OfCart(const std::string& method, const std::string& generation = "") {
    Headers headers = {{"lever-url", "/hello/" + method}, {"lever-resource", "cart"}};
    if (!generation.empty()) headers.emplace_back("lever-gen", generation);
    return headers;
  }
  std::string Gen(uint64_t generation) const {
    return policy::FormatShardGeneration({shard, generation});
  }
  TestCall& CallCart(const std::string& generation = "") {
    return Call(caller, {.headers = OfCart("add", generation)});
  }
  TestCall& StreamCart(const std::string& generation = "") {
    return Call(caller, {.path = route::kStreamPath, .headers = OfCart("watchChan", generation)},
                {ValueMessage("\x90")}, false);
  }
  void ExpectUnrun(TestCall& call, lever_status code, const std::string& says) {
    ASSERT_TRUE(Until([&] { return call.ended(); }));
    EXPECT_EQ(call.status.code(), code) << call.Text();
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
    EXPECT_THAT(call.status.message(), ::testing::HasSubstr(says));
  }

  uint32_t shard = 0;
  uint64_t answered = 0;
  rpc::Channel* caller = nullptr;
};

}  // namespace lever::service

#endif  // TESTS_SERVICE_RESOURCE_SERVICE_FIXTURE_H_
