#include "liblever/base/block_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace lever {
namespace {

// Bytes that tell which block they belong to.
void Fill(void* block, size_t size, uint8_t mark) { std::memset(block, mark, size); }

bool Holds(const void* block, size_t size, uint8_t mark) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != mark) return false;
  }
  return true;
}

TEST(BlockPoolTest, BlocksOfAnySizeKeepTheirBytesThroughReuseAndResizing) {
  struct Block {
    void* at;
    size_t size;
    uint8_t mark;
  };
  std::mt19937 random(1);
  BlockPool pool;
  std::vector<Block> blocks;
  for (int step = 0; step < 20'000; ++step) {
    const size_t size = random() % (random() % 8 == 0 ? 5000 : 600);
    const auto mark = static_cast<uint8_t>(step);
    const size_t chosen = blocks.empty() ? 0 : random() % blocks.size();
    switch (blocks.empty() ? 0 : random() % 4) {
      case 0:
      case 1:
        blocks.push_back({pool.Allocate(size), size, mark});
        ASSERT_NE(blocks.back().at, nullptr);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(blocks.back().at) % alignof(std::max_align_t), 0u);
        Fill(blocks.back().at, size, mark);
        break;
      case 2: {
        Block& block = blocks[chosen];
        block.at = pool.Resize(block.at, size);
        ASSERT_TRUE(Holds(block.at, std::min(size, block.size), block.mark));
        block.size = size;
        Fill(block.at, size, block.mark);
        break;
      }
      default:
        ASSERT_TRUE(Holds(blocks[chosen].at, blocks[chosen].size, blocks[chosen].mark));
        pool.Release(blocks[chosen].at);
        blocks[chosen] = blocks.back();
        blocks.pop_back();
        break;
    }
  }
  for (const Block& block : blocks) {
    ASSERT_TRUE(Holds(block.at, block.size, block.mark));
    pool.Release(block.at);
  }
}

TEST(BlockPoolTest, NothingIsAlsoSomethingToReleaseAndToResize) {
  BlockPool pool;
  pool.Release(nullptr);
  void* const block = pool.Resize(nullptr, 10);
  ASSERT_NE(block, nullptr);
  pool.Release(block);
  EXPECT_EQ(pool.Allocate(SIZE_MAX - 4), nullptr);
}

}  // namespace
}  // namespace lever
