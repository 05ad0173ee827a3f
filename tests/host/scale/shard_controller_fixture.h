// One host's controller of the shards of a service, with instances whose words are given by hand.
#ifndef TESTS_HOST_SCALE_SHARD_CONTROLLER_FIXTURE_H_
#define TESTS_HOST_SCALE_SHARD_CONTROLLER_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/host/scale/shard_controller.h"
#include "liblever/policy/shard.h"
#include "tests/host/scale/shard_fixture.h"

namespace lever::scale {

using fleet::ShardOrderData;
using fleet::ShardOrderKind;
using fleet::StateRequestKind;

inline constexpr uint32_t kShards = 4;
class ShardControllerTest : public ::testing::Test {
 protected:
  explicit ShardControllerTest(uint64_t carried_bytes_max = policy::kServiceCarriedBytesMax)
      : world(kShards, {}, carried_bytes_max) {}
  ShardController& controller() { return *host().controller; }
  FakeShell& shell() { return host().shell; }
  ShardHost& host() { return *world.hosts.at(0); }

  void Start() {
    world.AddHost("h-1");
    world.Settle();
  }
  template <typename Function>
  void Do(Function function) {
    world.On(host(), function);
    world.Settle();
  }
  void Session(const std::string& instance) {
    Do([&] { controller().OnSession(instance); });
  }
  void SessionEnds(const std::string& instance) {
    Do([&] { controller().OnSessionEnd(instance); });
  }
  void Eligible(std::vector<std::string> instances) {
    std::vector<ShardTaker> takers;
    for (std::string& id : instances) takers.push_back({std::move(id)});
    Do([&] { controller().SetEligible(std::move(takers)); });
  }
  void Renew(const std::string& instance, uint64_t id) {
    Do([&] { controller().OnRenew(instance, id); });
  }
  void Release(const std::string& instance, const ShardOrderData& order, bool clean = true) {
    Do([&] { controller().OnReleased(instance, {order.shard, order.generation, clean}); });
  }
  // A session of `instance`, which then owns all shards.
  void OwnsAll(const std::string& instance) {
    Session(instance);
    Eligible({instance});
    ASSERT_THAT(shell().Orders(instance, ShardOrderKind::kGrant), ::testing::SizeIs(kShards));
  }
  // `other` comes beside `instance`, which owns all; the shard that is asked for.
  ShardOrderData BeginsMove(const std::string& instance, const std::string& other) {
    OwnsAll(instance);
    Session(other);
    shell().Forget();
    Eligible({instance, other});
    const auto asked = shell().Orders(instance, ShardOrderKind::kRelease);
    EXPECT_THAT(asked, ::testing::SizeIs(kShards / 2));
    return asked.empty() ? ShardOrderData() : asked[0];
  }
  fleet::StateAnswerData Ask(const std::string& instance, StateRequestKind kind, uint32_t shard,
                             uint64_t generation, const std::string& payload = "",
                             std::optional<std::string> resource = std::nullopt) {
    fleet::StateRequestData request;
    request.id = ++last_request_;
    request.kind = kind;
    request.shard = shard;
    request.generation = generation;
    request.resource = resource.value_or(NameIn(shard));
    request.payload_kind = 2;
    request.payload = payload;
    Do([&] { controller().OnState(instance, request); });
    const auto& answers = shell().states[instance];
    if (answers.empty() || answers.back().id != last_request_) {
      ADD_FAILURE() << "no answer";
      return {};
    }
    return answers.back();
  }
  // A resource of the shard.
  static std::string NameIn(uint32_t shard) {
    for (int i = 0; shard < kShards; ++i) {
      std::string name = "n" + std::to_string(i);
      if (policy::ShardOf(ShardWorld::kEnvironment, ShardWorld::kService, name, kShards) == shard) {
        return name;
      }
    }
    return "none";
  }
  uint64_t Generation(uint32_t shard) { return controller().Owners().at(shard).generation; }
  std::vector<std::string> OwnerNames() {
    std::vector<std::string> names;
    for (const ShardOwner& owner : controller().Owners()) names.push_back(owner.instance);
    return names;
  }

  const std::string key_ = registry::ControllerKey(ShardWorld::kEnvironment, ShardWorld::kService);
  uint64_t last_request_ = 0;
  ShardWorld world;
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_SHARD_CONTROLLER_FIXTURE_H_
