// policy.h decides as the library does.
#include "lever/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

lever_address EmptyAddress() {
  lever_address address{};
  address.size = sizeof(address);
  return address;
}

std::string Format(const lever_address& address) {
  char text[LEVER_ADDRESS_BYTES_MAX + 1];
  size_t size = 0;
  if (lever_address_format(&address, text, sizeof(text), &size, nullptr) != LEVER_OK) return "";
  EXPECT_EQ(std::strlen(text), size);
  return text;
}

TEST(PolicyAbiTest, AnAddressIsTakenApartAndPutTogether) {
  lever_address address = EmptyAddress();
  const char text[] = "lever://prod/shop/caf%C3%A9/watchChan";
  ASSERT_EQ(lever_address_parse(text, LEVER_NUL_TERMINATED, &address, nullptr), LEVER_OK);
  EXPECT_STREQ(address.environment, "prod");
  EXPECT_STREQ(address.service, "shop");
  EXPECT_STREQ(address.resource, "caf\xc3\xa9");
  EXPECT_STREQ(address.method, "watchChan");
  EXPECT_EQ(address.has_resource, 1);
  EXPECT_EQ(address.streaming, 1);
  EXPECT_EQ(Format(address), text);
  ASSERT_EQ(lever_address_parse("/shop/buy", 9, &address, nullptr), LEVER_OK);
  EXPECT_STREQ(address.environment, "");
  EXPECT_EQ(address.has_resource, 0);
  EXPECT_EQ(address.streaming, 0);
  EXPECT_EQ(Format(address), "/shop/buy");
}

TEST(PolicyAbiTest, TheLongestAddressFits) {
  lever_address address = EmptyAddress();
  std::memset(address.environment, 'e', LEVER_ENVIRONMENT_BYTES_MAX);
  std::memset(address.service, 's', LEVER_SERVICE_BYTES_MAX);
  std::memset(address.method, 'm', LEVER_METHOD_BYTES_MAX);
  std::memset(address.resource, ' ', LEVER_RESOURCE_BYTES_MAX);
  address.has_resource = 1;
  const std::string text = Format(address);
  EXPECT_EQ(text.size(), size_t{LEVER_ADDRESS_BYTES_MAX});
  lever_address back = EmptyAddress();
  ASSERT_EQ(lever_address_parse(text.data(), text.size(), &back, nullptr), LEVER_OK);
  EXPECT_STREQ(back.resource, address.resource);
  char buffer[LEVER_ADDRESS_BYTES_MAX];
  size_t size = 7;
  EXPECT_EQ(lever_address_format(&address, buffer, sizeof(buffer), &size, nullptr),
            LEVER_OUT_OF_RANGE);
  EXPECT_EQ(size, 7u);
}

TEST(PolicyAbiTest, WhatIsNoAddressIsRefusedWithItsReason) {
  lever_address address = EmptyAddress();
  lever_error* error = nullptr;
  EXPECT_EQ(lever_address_parse("shop/buy", 8, &address, &error), LEVER_INVALID_ARGUMENT);
  EXPECT_STRNE(lever_error_message(error), "");
  lever_error_destroy(error);
  std::memset(address.service, 's', sizeof(address.service));  // no NUL
  std::strcpy(address.method, "buy");
  EXPECT_EQ(Format(address), "");
  std::strcpy(address.service, "Not-lower");
  EXPECT_EQ(Format(address), "");
  address.size = 0;
  EXPECT_EQ(lever_address_parse("/shop/buy", 9, &address, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_address_parse("/shop/buy", 9, nullptr, nullptr), LEVER_INVALID_ARGUMENT);
}

TEST(PolicyAbiTest, ShardsAndTheirOwners) {
  uint32_t shard = 0;
  ASSERT_EQ(lever_shard_of("prod", 4, "shop", 4, "ann", 3, 256, &shard), LEVER_OK);
  uint32_t half = 0;
  ASSERT_EQ(lever_shard_of("prod", 4, "shop", 4, "ann", 3, 128, &half), LEVER_OK);
  EXPECT_EQ(half, shard / 2) << "the top bits";
  EXPECT_EQ(lever_shard_of("prod", 4, "shop", 4, "ann", 3, 100, &shard), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_shard_of("prod", 4, "shop", 4, "ann", 3, 0, &shard), LEVER_INVALID_ARGUMENT);

  const char* instances[] = {"i-1", "i-2", "i-3"};
  std::vector<int> owned(3);
  for (uint32_t s = 0; s < 256; ++s) {
    size_t owner = 9;
    ASSERT_EQ(lever_shard_owner(s, instances, 3, &owner), LEVER_OK);
    ASSERT_LT(owner, 3u);
    ++owned[owner];
    // Without another instance than the owner the owner stays.
    if (owner != 2) {
      size_t again = 9;
      ASSERT_EQ(lever_shard_owner(s, instances, 2, &again), LEVER_OK);
      EXPECT_EQ(again, owner);
    }
  }
  for (const int count : owned) EXPECT_GT(count, 50);
  size_t owner = 0;
  EXPECT_EQ(lever_shard_owner(1, instances, 0, &owner), LEVER_INVALID_ARGUMENT);
}

TEST(PolicyAbiTest, ShardsAreSpreadAndStayWhereTheyAre) {
  const char* instances[] = {"i-1", "i-2", "i-3"};
  std::vector<uint32_t> owners(256, LEVER_NO_INSTANCE);
  ASSERT_EQ(lever_shards_place(instances, nullptr, 2, nullptr, owners.data(), 256), LEVER_OK);
  EXPECT_LE(std::count(owners.begin(), owners.end(), 0u), 144);
  EXPECT_LE(std::count(owners.begin(), owners.end(), 1u), 144);
  std::vector<uint32_t> again = owners;
  ASSERT_EQ(lever_shards_place(instances, nullptr, 2, nullptr, again.data(), 256), LEVER_OK);
  EXPECT_EQ(again, owners);
  const int32_t eligible[] = {1, 0, 1};
  ASSERT_EQ(lever_shards_place(instances, eligible, 3, nullptr, again.data(), 256), LEVER_OK);
  EXPECT_EQ(std::count(again.begin(), again.end(), 1u), 0);
  EXPECT_GT(std::count(again.begin(), again.end(), 2u), 100);
  EXPECT_EQ(lever_shards_place(instances, nullptr, 3, nullptr, again.data(), 100),
            LEVER_INVALID_ARGUMENT);
}

TEST(PolicyAbiTest, ThePeerWithLessToDoIsPicked) {
  lever_peer_load peers[3] = {};
  for (lever_peer_load& peer : peers) peer.size = sizeof(peer);
  peers[0].in_flight = 20;
  peers[1].in_flight = 1;
  peers[2].excluded = 1;
  for (uint64_t random = 0; random < 100; ++random) {
    size_t picked = 9;
    ASSERT_EQ(lever_pick_peer(peers, sizeof(peers[0]), 3, random * 0x9e3779b97f4a7c15, &picked),
              LEVER_OK);
    EXPECT_EQ(picked, 1u);
  }
  peers[0].excluded = peers[1].excluded = 1;
  size_t picked = 9;
  EXPECT_EQ(lever_pick_peer(peers, sizeof(peers[0]), 3, 1, &picked), LEVER_NOT_FOUND);
  EXPECT_EQ(lever_pick_peer(nullptr, sizeof(peers[0]), 0, 1, &picked), LEVER_NOT_FOUND);
  EXPECT_EQ(lever_pick_peer(peers, 0, 3, 1, &picked), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(picked, 9u);
}

TEST(PolicyAbiTest, RetriesAreForWhatSurelyDidNotRunWithinTheBudget) {
  lever_attempt_failure failure{};
  failure.size = sizeof(failure);
  failure.status = LEVER_UNAVAILABLE;
  failure.executed = LEVER_EXECUTED_NO;
  lever_retry_state state{};
  state.size = sizeof(state);
  lever_retry_budget budget{sizeof(budget), LEVER_RETRY_TOKENS_MAX};
  lever_retry_decision decision{};
  decision.size = sizeof(decision);
  const auto decide = [&] {
    EXPECT_EQ(lever_retry_decide(&failure, 1, INT64_MAX, 0.5, &state, &budget, &decision),
              LEVER_OK);
    return decision.action;
  };
  EXPECT_EQ(decide(), LEVER_RETRY_AGAIN);
  EXPECT_EQ(decision.delay_ns, 5'000'000);
  EXPECT_EQ(state.retries, 1u);
  EXPECT_EQ(budget.tokens, LEVER_RETRY_TOKENS_MAX - 1);
  failure.never_written = 1;
  EXPECT_EQ(decide(), LEVER_RETRY_REDIRECT);
  EXPECT_EQ(state.redirects, 1u);
  failure.never_written = 0;
  failure.executed = LEVER_EXECUTED_UNKNOWN;
  EXPECT_EQ(decide(), LEVER_RETRY_GIVE_UP);
  failure.idempotent = 1;
  EXPECT_EQ(decide(), LEVER_RETRY_AGAIN);
  budget.tokens = LEVER_RETRY_TOKENS_MAX / 2;
  EXPECT_EQ(decide(), LEVER_RETRY_GIVE_UP);
  const double before = budget.tokens;
  EXPECT_EQ(lever_retry_success(&budget), LEVER_OK);
  EXPECT_EQ(budget.tokens, before + LEVER_RETRY_TOKENS_PER_SUCCESS);
  EXPECT_EQ(lever_retry_decide(&failure, 1, INT64_MAX, 1.0, &state, &budget, &decision),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_retry_decide(&failure, -1, INT64_MAX, 0.5, &state, &budget, &decision),
            LEVER_INVALID_ARGUMENT);
}

// A service of 5 instances at most, each meant for 10 calls, and what was decided for it last.
class PolicyAbiScaleTest : public testing::Test {
 protected:
  PolicyAbiScaleTest() {
    limits.size = sizeof(limits);
    limits.instances_max = 5;
    limits.load_max = 10;
    limits.idle_timeout_ns = 1000;
    load.size = sizeof(load);
    memory.size = sizeof(memory);
    decision.size = sizeof(decision);
  }
  void Decide(int64_t now_ns) {
    EXPECT_EQ(lever_scale_decide(&limits, &load, now_ns, &memory, &decision), LEVER_OK);
  }

  lever_scale_limits limits{};
  lever_scale_load load{};
  lever_scale_memory memory{};
  lever_scale_decision decision{};
};

TEST_F(PolicyAbiScaleTest, AnInstanceIsStartedForCallsThatWaitAndStoppedWhenIdle) {
  Decide(1);
  EXPECT_EQ(decision.start, 0u);
  load.held_calls = 1;
  Decide(2);
  EXPECT_EQ(decision.start, 1u);
  EXPECT_EQ(decision.wanted, 1u);
  load.backoff_until_ns = 50;
  Decide(3);
  EXPECT_EQ(decision.refuse_held, 1);
  EXPECT_EQ(decision.start, 0u);
  load.held_calls = 0;
  load.instances_ready = 1;
  load.last_active_ns = 100;
  Decide(500);
  EXPECT_EQ(decision.stop, 0u);
  EXPECT_EQ(decision.wake_at_ns, 1100);
  // The memory is a value: a copy goes on from where it was taken.
  lever_scale_memory copy = memory;
  Decide(1100);
  EXPECT_EQ(decision.stop, 1u);
  EXPECT_EQ(lever_scale_decide(&limits, &load, 1100, &copy, &decision), LEVER_OK);
  EXPECT_EQ(decision.stop, 1u);
}

TEST_F(PolicyAbiScaleTest, AStandbyIsPromotedForCallsThatWaitAndReplaced) {
  limits.standby = 1;
  Decide(1);
  EXPECT_EQ(decision.start, 1u);
  EXPECT_EQ(decision.wanted, 0u);
  load.instances_standby = 1;
  load.held_calls = 1;
  Decide(2);
  EXPECT_EQ(decision.promote, 1u);
  EXPECT_EQ(decision.start, 1u);
  load.held_calls = 0;
  Decide(2000);
  load.instances_standby = 3;
  Decide(3000);
  EXPECT_EQ(decision.promote, 0u);
  EXPECT_EQ(decision.stop_standby, 2u);
}

TEST(PolicyAbiTest, ScalingRefusesWhatIsOutOfRangeAndChangesNothing) {
  lever_scale_limits limits{};
  limits.size = sizeof(limits);
  limits.instances_max = 1;
  limits.load_max = 1;
  lever_scale_load load{};
  load.size = sizeof(load);
  load.held_calls = 1;
  lever_scale_memory memory{};
  memory.size = sizeof(memory);
  lever_scale_decision decision{};
  decision.size = sizeof(decision);
  const auto refused = [&](int64_t now_ns = 1) {
    decision.start = 77;
    const lever_status status = lever_scale_decide(&limits, &load, now_ns, &memory, &decision);
    EXPECT_EQ(decision.start, 77u);
    return status == LEVER_INVALID_ARGUMENT;
  };
  EXPECT_TRUE(refused(-1));
  for (const double load_max : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    limits.load_max = load_max;
    EXPECT_TRUE(refused()) << load_max;
  }
  limits.load_max = 1;
  limits.instances_min = 2;
  EXPECT_TRUE(refused());
  limits.instances_min = 0;
  limits.standby = 2;
  EXPECT_TRUE(refused());
  limits.standby = 0;
  load.start_ns = -1;
  EXPECT_TRUE(refused());
  load.start_ns = 0;
  memory.words[0] = 5;  // nobody's
  EXPECT_TRUE(refused());
  memory.words[0] = 0;
  memory.size = 16;
  EXPECT_TRUE(refused());
  memory.size = sizeof(memory);
  load.size = 1;
  EXPECT_TRUE(refused());
  load.size = sizeof(load);
  EXPECT_EQ(lever_scale_decide(&limits, &load, 1, &memory, &decision), LEVER_OK);
  EXPECT_EQ(decision.start, 1u);
}

}  // namespace
