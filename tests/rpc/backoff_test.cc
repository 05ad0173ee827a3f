#include "liblever/rpc/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace lever::rpc {
namespace {

TEST(BackoffTest, WaitsDoubleUpToTheLimitEachAFifthMoreOrLess) {
  Backoff backoff(1);
  int64_t wanted_ns = kReconnectMinNs;
  for (int i = 0; i < 20; ++i) {
    const auto wait_ns = static_cast<double>(backoff.NextNs());
    EXPECT_GE(wait_ns, 0.8 * static_cast<double>(wanted_ns) - 1) << i;
    EXPECT_LE(wait_ns, 1.2 * static_cast<double>(wanted_ns) + 1) << i;
    wanted_ns = std::min(2 * wanted_ns, kReconnectMaxNs);
  }
  backoff.Reset();
  EXPECT_LE(backoff.NextNs(), kReconnectMinNs + kReconnectMinNs / 5);
}

TEST(BackoffTest, ThoseThatLostTheSamePeerDoNotComeBackTogether) {
  int64_t least_ns = kReconnectMaxNs, most_ns = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Backoff backoff(seed);
    const int64_t wait_ns = backoff.NextNs();
    least_ns = std::min(least_ns, wait_ns);
    most_ns = std::max(most_ns, wait_ns);
  }
  EXPECT_GT(most_ns - least_ns, kReconnectMinNs / 4);
}

}  // namespace
}  // namespace lever::rpc
