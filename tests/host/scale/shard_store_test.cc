// Rows of shards in a real registry: what is written is read again, all or nothing, by the holder of the
// lease alone.
#include "liblever/host/scale/shard_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <optional>
#include <random>

#include "liblever/base/loop.h"
#include "liblever/host/registry/faulty_registry.h"
#include "liblever/host/registry/loop_executor.h"
#include "liblever/host/registry/schema.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "tests/host/deploy/temporary_directory.h"

namespace lever::scale {
namespace {

using policy::ShardRow;
using ::testing::HasSubstr;

class ShardStoreTest : public ::testing::Test {
 protected:
  ShardStoreTest() {
    LoopOptions loop_options;
    loop_options.posters_drive = false;
    loop_ = std::move(Loop::Open(loop_options)).value();
    executor_ = std::make_unique<registry::LoopExecutor>(loop_.get());
    registry::SqliteRegistryOptions options;
    options.directory = directory_ / "registry";
    options.executor = executor_.get();
    registry_ = std::move(registry::SqliteRegistry::Open(options)).value();
    faulty_ = std::make_unique<registry::FaultyRegistry>(registry_.get(), executor_.get(),
                                                         registry::FaultyRegistryOptions{});
    TakeLease();
  }
  ~ShardStoreTest() override {
    bool closed = false;
    faulty_->Close([&] { closed = true; });
    Until([&] { return closed; });
  }

  template <typename Condition>
  void Until(Condition condition) {
    const int64_t end_ns = Clock::System().NowNs() + 30 * kNanosPerSecond;
    while (!condition() && Clock::System().NowNs() < end_ns) {
      ASSERT_TRUE(loop_->Turn(kNanosPerMilli).ok());
    }
    ASSERT_TRUE(condition());
  }
  // A controller that comes anew.
  void TakeLease() {
    std::optional<registry::Revision> revision;
    registry::Transaction take;
    take.Then(registry::Operation::Delete(key_));
    registry_->Commit(std::move(take), [&](const auto&) {
      registry::Transaction put;
      put.Then(registry::Operation::Put(key_, "host"));
      registry_->Commit(std::move(put), [&](const auto& result) { revision = result->revision; });
    });
    Until([&] { return revision.has_value(); });
    holder_ = registry::Compare::CreateRevision(key_, *revision);
  }
  ShardStore& Open(uint32_t shards) {
    stores_.push_back(
        std::make_unique<ShardStore>(faulty_.get(), "dev.lever", "notes", shards, holder_));
    return *stores_.back();
  }
  StatusOr<ShardStore::Loaded> Load(ShardStore& store) {
    std::optional<StatusOr<ShardStore::Loaded>> loaded;
    store.Load([&](auto result) { loaded = std::move(result); });
    Until([&] { return loaded.has_value(); });
    return std::move(*loaded);
  }
  ShardStore::Result Write(ShardStore& store, uint32_t shard, ShardRow row, uint64_t last) {
    std::optional<ShardStore::Result> result;
    store.Write(shard, std::move(row), last, [&](auto answer) { result = answer; });
    Until([&] { return result.has_value(); });
    return *result;
  }

  deploy::TemporaryDirectory directory_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<registry::LoopExecutor> executor_;
  std::unique_ptr<registry::SqliteRegistry> registry_;
  std::unique_ptr<registry::FaultyRegistry> faulty_;
  const std::string key_ = registry::ControllerKey("dev.lever", "notes");
  registry::Compare holder_;
  std::deque<std::unique_ptr<ShardStore>> stores_;
};

TEST_F(ShardStoreTest, AServiceWithoutOwnersHasRowsWithoutThem) {
  const auto loaded = Load(Open(1024));
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->rows, std::vector<ShardRow>(1024));
  EXPECT_EQ(loaded->last_generation, 0u);
}

TEST_F(ShardStoreTest, WhatIsWrittenIsReadAgain) {
  ShardStore& store = Open(512);
  ASSERT_TRUE(Load(store).ok());
  std::vector<ShardRow> wanted(512);
  wanted[3] = {"i-1", 1, "", 0, false};
  wanted[300] = {"i-2", 3, "i-1", 2, true};
  EXPECT_EQ(Write(store, 3, wanted[3], 1), ShardStore::Result::kDurable);
  EXPECT_EQ(Write(store, 300, wanted[300], 3), ShardStore::Result::kDurable);
  const auto loaded = Load(Open(512));
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->rows, wanted);
  EXPECT_EQ(loaded->last_generation, 3u);
}

TEST_F(ShardStoreTest, AllShardsOfTheLargestServiceAreWrittenInBatches) {
  ShardStore& store = Open(65'536);
  ASSERT_TRUE(Load(store).ok());
  uint32_t durable = 0;
  for (uint32_t shard = 0; shard < 65'536; ++shard) {
    store.Write(shard, {"i-" + std::to_string(shard % 7), shard + 1u, "", 0, false}, shard + 1u,
                [&](auto result) { durable += result == ShardStore::Result::kDurable ? 1 : 0; });
  }
  Until([&] { return durable == 65'536; });
  const auto loaded = Load(Open(65'536));
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->rows[65'535].generation, 65'536u);
  EXPECT_EQ(loaded->last_generation, 65'536u);
}

TEST_F(ShardStoreTest, AnotherNumberOfShardsIsRefused) {
  ShardStore& store = Open(256);
  ASSERT_TRUE(Load(store).ok());
  EXPECT_EQ(Write(store, 0, {"i-1", 1, "", 0, false}, 1), ShardStore::Result::kDurable);
  const auto loaded = Load(Open(512));
  EXPECT_EQ(loaded.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(loaded.status().message(), HasSubstr("256 shards, not 512"));
}

TEST_F(ShardStoreTest, WhoHasLostTheLeaseWritesNothing) {
  ShardStore& old = Open(4);
  ASSERT_TRUE(Load(old).ok());
  TakeLease();
  EXPECT_EQ(Write(old, 0, {"i-1", 1, "", 0, false}, 1), ShardStore::Result::kNotHolder);
  EXPECT_EQ(Write(old, 1, {"i-1", 2, "", 0, false}, 2), ShardStore::Result::kNotHolder);
  const auto loaded = Load(Open(4));
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->rows, std::vector<ShardRow>(4));
}

TEST_F(ShardStoreTest, ARefusedWriteMayBeTriedAgain) {
  ShardStore& store = Open(4);
  ASSERT_TRUE(Load(store).ok());
  faulty_->RefuseNext(1);
  EXPECT_EQ(Write(store, 0, {"i-1", 1, "", 0, false}, 1), ShardStore::Result::kNotDone);
  EXPECT_EQ(Write(store, 0, {"i-1", 2, "", 0, false}, 2), ShardStore::Result::kDurable);
}

TEST_F(ShardStoreTest, WhatCannotBeReadIsDataLoss) {
  for (const char* text :
       {"", "{}", "[]", R"({"ids":[],"rows":[]})", R"({"ids":["a"],"rows":[[1,1,-1,0,0]]})",
        R"({"ids":["a"],"rows":[[0,1,-1,0]]})", R"({"ids":["a"],"rows":[[0,1,-2,0,0]]})",
        R"({"ids":[1],"rows":[[0,1,-1,0,0]]})", R"({"ids":["a"],"rows":[["0",1,-1,0,0]]})"}) {
    EXPECT_EQ(ParseShardPage(text, 1).status().code(), LEVER_DATA_LOSS) << text;
  }
}

TEST_F(ShardStoreTest, PagesOfRandomRowsAreReadAsTheyWereWritten) {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    std::vector<ShardRow> rows(1 + random() % 256);
    for (ShardRow& row : rows) {
      if (random() % 4 != 0) row.owner = "i-" + std::to_string(random() % 9);
      if (random() % 4 == 0) row.from = "i-\"" + std::to_string(random() % 9);
      row.generation = (uint64_t{random()} << 32) | random();
      row.from_generation = random();
      row.unclean = random() % 2 == 0;
    }
    const auto parsed = ParseShardPage(EncodeShardPage(rows), rows.size());
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, rows);
  }
}

}  // namespace
}  // namespace lever::scale
