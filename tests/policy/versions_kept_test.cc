#include "liblever/policy/versions_kept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lever::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::vector<VersionSize> Numbered(uint64_t count, uint64_t bytes) {
  std::vector<VersionSize> versions;
  for (uint64_t i = 1; i <= count; ++i) versions.push_back({i, std::to_string(i), bytes});
  return versions;
}

TEST(VersionsKeptTest, AFewAreAllKept) {
  EXPECT_THAT(VersionsToDrop({}, 1), IsEmpty());
  EXPECT_THAT(VersionsToDrop(Numbered(kOldVersionsMax + 1, 1), kOldVersionsMax + 1), IsEmpty());
}

TEST(VersionsKeptTest, TheOldestGoAboveTheNumber) {
  EXPECT_THAT(VersionsToDrop(Numbered(kOldVersionsMax + 3, 1), kOldVersionsMax + 3),
              UnorderedElementsAre(1, 2));
}

TEST(VersionsKeptTest, TheOneThatServesStaysHoweverOldAndLarge) {
  std::vector<VersionSize> versions = Numbered(kOldVersionsMax + 3, 1);
  versions[0].bytes = 2 * kOldBundleBytesMax;
  EXPECT_THAT(VersionsToDrop(versions, 1), UnorderedElementsAre(2, 3));
}

TEST(VersionsKeptTest, TheOldestGoAboveTheSize) {
  EXPECT_THAT(VersionsToDrop(Numbered(5, kOldBundleBytesMax / 2), 5), UnorderedElementsAre(1, 2));
}

TEST(VersionsKeptTest, WhatIsKeptHasNoHoles) {
  EXPECT_THAT(
      VersionsToDrop({{1, "a", 1}, {2, "b", kOldBundleBytesMax + 1}, {3, "c", 1}, {4, "d", 1}}, 4),
      UnorderedElementsAre(1, 2));
}

TEST(VersionsKeptTest, ABundleCountsOnce) {
  EXPECT_THAT(VersionsToDrop({{1, "a", kOldBundleBytesMax},
                              {2, "a", kOldBundleBytesMax},
                              {3, "b", kOldBundleBytesMax},
                              {4, "b", kOldBundleBytesMax}},
                             4),
              IsEmpty());
}

TEST(VersionsKeptTest, ASizeThatIsNotKnownToBeSmallDoesNotOverflow) {
  EXPECT_THAT(VersionsToDrop({{1, "a", UINT64_MAX}, {2, "b", 1}, {3, "c", 1}}, 3), ElementsAre(1));
}

}  // namespace
}  // namespace lever::policy
