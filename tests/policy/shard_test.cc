// Shards and owners by tests/vectors/shards.json, and what moves when instances come and go.

#include "liblever/policy/shard.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/vectors/vectors.h"

namespace lever::policy {
namespace {

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = vectors::LoadVectors("shards.json");
  return vectors;
}

TEST(ShardVectors, NamesBelongToTheirShards) {
  ASSERT_GT(Vectors().at("shards").size(), 10u);
  for (const auto& entry : Vectors().at("shards")) {
    for (const auto& [shards, shard] : entry.at("shards").items()) {
      EXPECT_EQ(
          ShardOf(entry.at("environment").get<std::string>(),
                  entry.at("service").get<std::string>(), entry.at("resource").get<std::string>(),
                  static_cast<uint32_t>(std::stoul(shards))),
          shard.get<uint32_t>())
          << entry;
    }
  }
}

TEST(ShardVectors, ShardsPreferTheirOwners) {
  ASSERT_GT(Vectors().at("owners").size(), 10u);
  for (const auto& entry : Vectors().at("owners")) {
    const auto names = entry.at("instances").get<std::vector<std::string>>();
    const std::vector<std::string_view> instances(names.begin(), names.end());
    EXPECT_EQ(instances[OwnerOf(entry.at("shard").get<uint32_t>(), instances)], entry.at("owner"));
  }
}

TEST(ShardGenerations, AreReadAsTheyAreWritten) {
  for (const ShardGeneration value :
       {ShardGeneration{0, 0}, ShardGeneration{11, 7}, ShardGeneration{65'535, 1},
        ShardGeneration{UINT32_MAX, UINT64_MAX}}) {
    EXPECT_EQ(ParseShardGeneration(FormatShardGeneration(value)), value);
  }
  EXPECT_EQ(FormatShardGeneration({11, 7}), "11.7");
}

TEST(ShardGenerations, NothingElseIsRead) {
  for (const char* text :
       {"", ".", "1", "1.", ".1", "1.2.3", "1..2", "01.2", "1.02", "00.0", "+1.2", "1.+2", "-1.2",
        "1.-2", " 1.2", "1.2 ", "1 .2", "1. 2", "0x1.2", "a.b", "1.2a", "1,2", "4294967296.1",
        "1.18446744073709551616", "99999999999999999999999.1"}) {
    EXPECT_EQ(ParseShardGeneration(text), std::nullopt) << "\"" << text << "\"";
  }
  EXPECT_EQ(ParseShardGeneration(std::string_view("1.2\0", 4)), std::nullopt);
  EXPECT_EQ(ParseShardGeneration(std::string_view("1\0.2", 4)), std::nullopt);
}

TEST(ShardCount, IsAPowerOfTwo) {
  for (const uint64_t good : {1, 2, 256, 65'536}) EXPECT_TRUE(IsShardCount(good)) << good;
  for (const uint64_t bad : {0, 3, 255, 257, 131'072}) EXPECT_FALSE(IsShardCount(bad)) << bad;
  EXPECT_FALSE(IsShardCount(uint64_t{1} << 32));
}

TEST(ShardOf, DoublingTheShardsSplitsEach) {
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "room " + std::to_string(i);
    for (uint32_t shards = 1; shards < kShardsMax; shards *= 2) {
      EXPECT_EQ(ShardOf("e", "s", name, shards), ShardOf("e", "s", name, 2 * shards) / 2);
    }
  }
}

TEST(ShardOf, SpreadsNamesEvenly) {
  std::vector<int> names(16);
  for (int i = 0; i < 16'000; ++i) ++names[ShardOf("e", "s", std::to_string(i), 16)];
  for (const int count : names) EXPECT_NEAR(count, 1000, 150);
}

TEST(OwnerOf, OnlyAGoneInstancesShardsMove) {
  const std::vector<std::string_view> all = {"a", "b", "c", "d", "e"};
  const std::vector<std::string_view> without_c = {"a", "b", "d", "e"};
  int moved = 0;
  for (uint32_t shard = 0; shard < 4096; ++shard) {
    const std::string_view before = all[OwnerOf(shard, all)];
    const std::string_view after = without_c[OwnerOf(shard, without_c)];
    if (before == "c") {
      ++moved;
    } else {
      EXPECT_EQ(after, before) << shard;
    }
  }
  EXPECT_NEAR(moved, 4096 / 5, 120);
}

TEST(OwnerOf, DoesNotDependOnTheOrder) {
  const std::vector<std::string_view> one = {"a", "b", "c"};
  const std::vector<std::string_view> other = {"c", "a", "b"};
  for (uint32_t shard = 0; shard < 256; ++shard) {
    EXPECT_EQ(one[OwnerOf(shard, one)], other[OwnerOf(shard, other)]);
  }
}

}  // namespace
}  // namespace lever::policy
