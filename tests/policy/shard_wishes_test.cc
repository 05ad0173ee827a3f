#include "liblever/policy/shard_wishes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lever::policy {
namespace {

using ::testing::ElementsAre;

class ShardWishesTest : public ::testing::Test {
 protected:
  std::vector<std::string> Applied(const std::vector<std::string>& eligible = {"a", "b"}) {
    std::vector<std::string> targets = {"a", "b", "a"};
    wishes_.Apply(eligible, &targets);
    return targets;
  }

  ShardWishes wishes_;
};

TEST_F(ShardWishesTest, WithoutAnyPlacementStands) {
  EXPECT_THAT(Applied(), ElementsAre("a", "b", "a"));
  EXPECT_FALSE(wishes_.Reopen([](uint32_t) { return true; }));
  EXPECT_FALSE(wishes_.Resume(0));
}

TEST_F(ShardWishesTest, AMovedOneStaysAsLongAsItsInstanceMayHaveIt) {
  wishes_.Move(0, "b");
  EXPECT_THAT(Applied(), ElementsAre("b", "b", "a"));
  EXPECT_THAT(Applied({"a"}), ElementsAre("a", "b", "a"));
  EXPECT_THAT(Applied(), ElementsAre("a", "b", "a")) << "it is forgotten";
}

TEST_F(ShardWishesTest, APausedOneIsNobodysUntilItIsResumed) {
  wishes_.Pause(1);
  EXPECT_TRUE(wishes_.paused(1));
  EXPECT_FALSE(wishes_.paused(0));
  EXPECT_THAT(Applied({}), ElementsAre("a", "", "a"));
  EXPECT_FALSE(wishes_.Reopen([](uint32_t) { return true; }));
  EXPECT_THAT(Applied(), ElementsAre("a", "", "a"));
  EXPECT_TRUE(wishes_.Resume(1));
  EXPECT_THAT(Applied(), ElementsAre("a", "b", "a"));
}

TEST_F(ShardWishesTest, AClosedOneIsNobodysUntilItsOwnerHasLetGo) {
  wishes_.Close(0);
  wishes_.Close(2);
  EXPECT_THAT(Applied(), ElementsAre("", "b", ""));
  EXPECT_FALSE(wishes_.Reopen([](uint32_t) { return false; }));
  EXPECT_TRUE(wishes_.Reopen([](uint32_t shard) { return shard == 2; }));
  EXPECT_THAT(Applied(), ElementsAre("", "b", "a"));
}

TEST_F(ShardWishesTest, TheLastWishCounts) {
  wishes_.Pause(0);
  wishes_.Move(0, "b");
  EXPECT_FALSE(wishes_.paused(0));
  EXPECT_THAT(Applied(), ElementsAre("b", "b", "a"));
}

}  // namespace
}  // namespace lever::policy
