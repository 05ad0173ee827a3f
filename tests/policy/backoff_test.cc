#include "liblever/policy/backoff.h"

#include <gtest/gtest.h>

#include <limits>

namespace lever::policy {
namespace {

TEST(Backoff, DoublesUpToItsBound) {
  EXPECT_EQ(BackoffNs(5, 0, 100), 5);
  EXPECT_EQ(BackoffNs(5, 1, 100), 10);
  EXPECT_EQ(BackoffNs(5, 4, 100), 80);
  EXPECT_EQ(BackoffNs(5, 5, 100), 100);
  EXPECT_EQ(BackoffNs(7, 3, 55), 55);
  EXPECT_EQ(BackoffNs(7, 3, 56), 56);
  EXPECT_EQ(BackoffNs(200, 0, 100), 100);
}

TEST(Backoff, ManyWaitsDoNotRunOver) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const uint32_t before : {61u, 62u, 63u, 64u, 1000u, std::numeric_limits<uint32_t>::max()}) {
    EXPECT_EQ(BackoffNs(100, before, 30'000), 30'000) << before;
    EXPECT_EQ(BackoffNs(3, before, kMost), before == 61 ? 3 * (int64_t{1} << 61) : kMost) << before;
  }
}

}  // namespace
}  // namespace lever::policy
