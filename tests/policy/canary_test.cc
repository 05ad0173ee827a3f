// Which version a call goes to while one is a canary.
#include "liblever/policy/canary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "liblever/base/random.h"

namespace lever::policy {
namespace {

TEST(CanaryTest, RandomDrawsHoldTheShare) {
  constexpr double kDraws = 100'000;
  Random random(7);
  for (const uint32_t share : {1u, 50u, 1000u, 5000u, 9999u}) {
    uint32_t canary = 0;
    for (int i = 0; i < static_cast<int>(kDraws); ++i) {
      if (IsCanaryDraw(share, random.Next())) ++canary;
    }
    const double p = static_cast<double>(share) / kShareParts;
    // Five deviations of a binomial count.
    EXPECT_NEAR(canary, kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)) + 1) << share;
  }
}

TEST(CanaryTest, NoneAndAllAreExact) {
  for (const uint64_t draw : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX}) {
    EXPECT_FALSE(IsCanaryDraw(0, draw));
    EXPECT_TRUE(IsCanaryDraw(kShareParts, draw));
  }
}

TEST(CanaryTest, WhoIsACanaryStaysOneAsTheShareGrows) {
  Random random(8);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t draw = random.Next();
    if (IsCanaryDraw(1000, draw)) {
      EXPECT_TRUE(IsCanaryDraw(5000, draw));
    }
  }
}

TEST(CanaryTest, CallersThatStayHoldTheShareAndEachServiceHasOthers) {
  constexpr int kCallers = 20'000;
  int one = 0;
  int both = 0;
  for (int i = 0; i < kCallers; ++i) {
    const uint64_t caller = CallerNumber("lever://dev.lever/caller" + std::to_string(i));
    const bool a = IsCanaryDraw(1000, DrawOfCaller(caller, "dev.lever", "a"));
    EXPECT_EQ(a, IsCanaryDraw(1000, DrawOfCaller(caller, "dev.lever", "a")));
    if (a) ++one;
    if (a && IsCanaryDraw(1000, DrawOfCaller(caller, "dev.lever", "b"))) ++both;
  }
  EXPECT_NEAR(one, kCallers * 0.1, 5 * std::sqrt(kCallers * 0.1 * 0.9));
  EXPECT_NEAR(both, kCallers * 0.01, 5 * std::sqrt(kCallers * 0.01 * 0.99));
}

TEST(CanaryTest, SharesAreReadAndShown) {
  EXPECT_EQ(ParseShare("10%").value(), 1000u);
  EXPECT_EQ(ParseShare("10").value(), 1000u);
  EXPECT_EQ(ParseShare("0.5 %").value(), 50u);
  EXPECT_EQ(ParseShare("0.01%").value(), 1u);
  EXPECT_EQ(ParseShare("99.99%").value(), 9999u);
  for (const char* wrong : {"", "%", "0", "0%", "100%", "-5%", "101", "0.001%", "ten", "10%%", "1e1",
                            "nan", "inf", "5 % of all"}) {
    EXPECT_FALSE(ParseShare(wrong).ok()) << wrong;
  }
  EXPECT_EQ(FormatShare(1000), "10 %");
  EXPECT_EQ(FormatShare(50), "0.5 %");
  EXPECT_EQ(FormatShare(1), "0.01 %");
  EXPECT_EQ(FormatShare(9999), "99.99 %");
}

TEST(CanaryTest, InstancesOfAVersionWeighItsShareBetweenThem) {
  const ShardWeights weights = WeighVersions(1000, 3, 2);
  EXPECT_DOUBLE_EQ(weights.canary * 2 / (weights.canary * 2 + weights.serving * 3), 0.1);
  EXPECT_EQ(WeighVersions(1000, 0, 2).canary, 1);
  EXPECT_EQ(WeighVersions(1000, 3, 0).serving, 1);
}

}  // namespace
}  // namespace lever::policy
