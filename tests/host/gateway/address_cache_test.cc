// That a cached address is the one that parsing gives, and that the cache stays small.
#include "liblever/host/gateway/address_cache.h"

#include <gtest/gtest.h>

#include <string>

namespace lever::gateway {
namespace {

TEST(AddressCache, GivesWhatParsingGives) {
  AddressCache cache;
  for (int round = 0; round < 2; ++round) {
    const auto plain = cache.Parse("/shop/price", std::nullopt);
    ASSERT_TRUE(plain.ok());
    EXPECT_EQ(**plain, *policy::ParseAddressHeaders("/shop/price", std::nullopt));
    const auto named = cache.Parse("lever://prod/shop/price", std::nullopt);
    ASSERT_TRUE(named.ok());
    EXPECT_EQ((*named)->environment, "prod");
    const auto resource = cache.Parse("/shop/price", "a%2Fb");
    ASSERT_TRUE(resource.ok());
    EXPECT_TRUE((*resource)->has_resource);
    EXPECT_EQ((*resource)->resource, "a/b");
  }
}

TEST(AddressCache, ParsesAnAddressOnce) {
  AddressCache cache;
  const auto first = cache.Parse("/shop/price", std::nullopt);
  const auto second = cache.Parse("/shop/price", std::nullopt);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->get(), second->get());
  // Resources are without number.
  const auto a = cache.Parse("/shop/price", "a");
  const auto b = cache.Parse("/shop/price", "a");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->get(), b->get());
}

TEST(AddressCache, RefusesEachTime) {
  AddressCache cache;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(cache.Parse("/shop.v1/price", std::nullopt).status().code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(cache.Parse("/shop/a/price", std::nullopt).status().code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(cache.Parse("/shop/price", "%").status().code(), LEVER_INVALID_ARGUMENT);
  }
}

TEST(AddressCache, ForgetsAllAtItsLimit) {
  AddressCache cache;
  const auto first = cache.Parse("/shop/price", std::nullopt);
  for (size_t i = 0; i < AddressCache::kAddressesMax; ++i) {
    ASSERT_TRUE(cache.Parse("/shop/m" + std::to_string(i), std::nullopt).ok());
  }
  const auto again = cache.Parse("/shop/price", std::nullopt);
  ASSERT_TRUE(again.ok());
  EXPECT_NE(first->get(), again->get());
  EXPECT_EQ(**first, **again) << "and what was given lives on";
}

}  // namespace
}  // namespace lever::gateway
