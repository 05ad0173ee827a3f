#include "liblever/policy/balancer.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "liblever/base/random.h"

namespace lever::policy {
namespace {

TEST(PickPeer, OfNoneOrOnlyExcludedOnesPicksNone) {
  EXPECT_EQ(PickPeer({}, 1), kNoPeer);
  const std::array<PeerLoad, 2> peers = {PeerLoad{.excluded = true}, PeerLoad{.excluded = true}};
  EXPECT_EQ(PickPeer(peers, 1), kNoPeer);
}

TEST(PickPeer, NeverPicksAnExcludedOne) {
  std::array<PeerLoad, 5> peers;
  peers[1].excluded = peers[4].excluded = true;
  Random random(1);
  for (int i = 0; i < 10'000; ++i) {
    const size_t picked = PickPeer(peers, random.Next());
    ASSERT_TRUE(picked == 0 || picked == 2 || picked == 3) << picked;
  }
}

TEST(PickPeer, SpreadsEquallyOverEqualOnes) {
  const std::vector<PeerLoad> peers(8);
  std::array<int, 8> counts{};
  Random random(2);
  for (int i = 0; i < 80'000; ++i) ++counts[PickPeer(peers, random.Next())];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 600);
}

TEST(PickPeer, OfTwoAlwaysTakesTheBetterOne) {
  std::array<PeerLoad, 2> peers;
  peers[0].in_flight = 3;
  peers[1].in_flight = 2;
  Random random(3);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(PickPeer(peers, random.Next()), 1u);
}

TEST(PickPeer, TakesTheOnlyColdOneAmongManyHotOnes) {
  std::vector<PeerLoad> peers(100, PeerLoad{.in_flight = 5, .load_max = 5});
  peers[71] = {.in_flight = 4, .latency_ns = 1'000'000'000, .load_max = 5};
  Random random(4);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(PickPeer(peers, random.Next()), 71u);
}

TEST(PickPeer, OfOneTakesItHoweverHot) {
  const PeerLoad full{.in_flight = 9, .load_max = 1, .concurrency_max = 1};
  EXPECT_EQ(PickPeer(std::span(&full, 1), ~uint64_t{0}), 0u);
}

TEST(PickPeer, SpreadsEquallyOverThoseLeftAfterExclusion) {
  std::vector<PeerLoad> peers(8);
  peers[0].excluded = peers[3].excluded = true;
  std::array<int, 8> counts{};
  Random random(5);
  for (int i = 0; i < 60'000; ++i) ++counts[PickPeer(peers, random.Next())];
  for (const size_t i : {1, 2, 4, 5, 6, 7}) EXPECT_NEAR(counts[i], 10'000, 600);
}

TEST(Better, AColdOneBeatsAHotOneWhateverItsLatency) {
  const PeerLoad cold{.in_flight = 1, .latency_ns = 1'000'000'000};
  const PeerLoad hot{.in_flight = kHotInFlight, .latency_ns = 1000};
  EXPECT_TRUE(Better(cold, hot));
  EXPECT_FALSE(Better(hot, cold));
}

TEST(Better, OfTwoColdOnesTheFasterWins) {
  const PeerLoad fast{.in_flight = 5, .latency_ns = 1'000'000};
  const PeerLoad slow{.in_flight = 1, .latency_ns = 2'000'000};
  EXPECT_TRUE(Better(fast, slow));
  EXPECT_FALSE(Better(slow, fast));
}

TEST(Better, OfTwoHotOnesTheOneWithFewerInFlightWins) {
  const PeerLoad fewer{.in_flight = 20, .latency_ns = 9'000'000};
  const PeerLoad more{.in_flight = 30, .latency_ns = 1'000'000};
  EXPECT_TRUE(Better(fewer, more));
}

TEST(Better, WhatTheInstanceReportsCounts) {
  const PeerLoad busy{.in_flight = 0, .reported_in_flight = 50};
  EXPECT_TRUE(Better(PeerLoad{.in_flight = 1}, busy));
}

TEST(Better, AFullOneIsTheLastChoice) {
  const PeerLoad full{.in_flight = 1, .latency_ns = 1, .concurrency_max = 1};
  const PeerLoad hot{.in_flight = 1000, .latency_ns = 1'000'000'000};
  EXPECT_TRUE(Better(hot, full));
}

}  // namespace
}  // namespace lever::policy
