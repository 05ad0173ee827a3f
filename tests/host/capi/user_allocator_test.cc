#include "liblever/host/capi/user_allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "liblever/host/fleet/driver.h"

namespace lever::host {
namespace {

TEST(UserAllocator, ParsesARange) {
  const auto range = ParseUserIdRange("61184-65519");
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->first, 61184u);
  EXPECT_EQ(range->last, 65519u);
}

TEST(UserAllocator, RefusesWhatIsNoRangeOfServiceUsers) {
  for (const char* text : {"", "5", "-", "5-", "-5", "9-5", "0-10", "a-b", "1-2-3", "1 -2", "+1-2",
                           "1-4294967295", "1-99999999999999999999"}) {
    const auto range = ParseUserIdRange(text);
    ASSERT_FALSE(range.ok()) << text;
    EXPECT_EQ(range.status().code(), LEVER_INVALID_ARGUMENT) << text;
  }
}

TEST(UserAllocator, GivesEachServiceItsOwnAndKeepsIt) {
  UserAllocator users(UserIdRange{200'000, 200'099});
  std::set<uint32_t> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string service = "s" + std::to_string(i);
    const auto uid = users.UserOf({"dev.lever", service});
    ASSERT_TRUE(uid.ok()) << i;
    EXPECT_GE(*uid, 200'000u);
    EXPECT_LE(*uid, 200'099u);
    EXPECT_TRUE(seen.insert(*uid).second) << i;
    EXPECT_EQ(*users.UserOf({"dev.lever", service}), *uid);
  }
  const auto none = users.UserOf({"dev.lever", "one-too-many"});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), LEVER_RESOURCE_EXHAUSTED);
}

TEST(UserAllocator, TellsEnvironmentsApart) {
  UserAllocator users(UserIdRange{200'000, 200'099});
  EXPECT_NE(*users.UserOf({"dev.lever", "hello"}), *users.UserOf({"prod.lever", "hello"}));
}

TEST(UserAllocator, LendsIdsThatAreNobodyElses) {
  UserAllocator users(UserIdRange{200'000, 200'002});
  const uint32_t first = *users.Take();
  const uint32_t second = *users.Take();
  const uint32_t service = *users.UserOf({"dev.lever", "hello"});
  EXPECT_EQ((std::set<uint32_t>{first, second, service}).size(), 3u);
  EXPECT_EQ(users.Take().status().code(), LEVER_RESOURCE_EXHAUSTED);
  users.Return(first);
  EXPECT_EQ(*users.Take(), first);
  EXPECT_EQ(UserAllocator(std::nullopt).Take().status().code(), LEVER_FAILED_PRECONDITION);
}

TEST(UserAllocator, PassesOverUsersOfTheMachine) {
  // Every Debian has man (6) and lp (7), and nobody between them.
  UserAllocator users(UserIdRange{6, 7});
  const auto uid = users.UserOf({"dev.lever", "hello"});
  ASSERT_FALSE(uid.ok());
  EXPECT_EQ(uid.status().code(), LEVER_RESOURCE_EXHAUSTED);
}

TEST(UserAllocator, WithoutARangeNobodyIsSwitched) {
  UserAllocator users(std::nullopt);
  EXPECT_EQ(*users.UserOf({"dev.lever", "hello"}), fleet::kSameUser);
}

}  // namespace
}  // namespace lever::host
