#include "liblever/base/slice.h"

#include <gtest/gtest.h>

#include <thread>

namespace lever {
namespace {

constexpr size_t kBlockBytes = 64 * 1024;

Slice Filled(size_t size, uint8_t byte) {
  Buffer* buffer = Buffer::New(size);
  std::memset(buffer->data(), byte, size);
  return Slice(buffer->data(), size, buffer);
}

TEST(Slice, CopySharesTheBytesAndTheLastOneFreesThem) {
  Slice one = Slice::Copy("hello");
  EXPECT_TRUE(one.owner()->Unique());
  {
    const Slice two = one;
    EXPECT_EQ(two.data(), one.data());
    EXPECT_FALSE(one.owner()->Unique());
  }
  EXPECT_TRUE(one.owner()->Unique());
  EXPECT_EQ(one.view(), "hello");
}

TEST(Slice, MovingLeavesAnEmptySlice) {
  Slice one = Slice::Copy("hello");
  const Slice two = std::move(one);
  EXPECT_TRUE(one.empty());  // NOLINT: what moving leaves is part of the contract
  EXPECT_EQ(one.owner(), nullptr);
  EXPECT_EQ(two.view(), "hello");
}

TEST(Slice, AssigningToItselfKeepsIt) {
  Slice one = Slice::Copy("hello");
  const Slice& same = one;
  one = same;
  EXPECT_EQ(one.view(), "hello");
  EXPECT_TRUE(one.owner()->Unique());
}

TEST(Slice, SubIsARangeOfTheSameBuffer) {
  const Slice all = Slice::Copy("hello world");
  Slice part = all.Sub(6, 5);
  EXPECT_EQ(part.view(), "world");
  EXPECT_EQ(part.owner(), all.owner());
  part.RemovePrefix(1);
  EXPECT_EQ(part.view(), "orld");
}

TEST(Slice, CopyOfNothingAndStaticBytesOwnNothing) {
  EXPECT_EQ(Slice::Copy("").owner(), nullptr);
  EXPECT_EQ(Slice::Static("x").owner(), nullptr);
  Slice fixed = Slice::Static("x");
  fixed.Compact();
  EXPECT_EQ(fixed.view(), "x");
}

TEST(Slice, CompactCopiesASmallPartOutOfALargeBuffer) {
  Slice small = Filled(kBlockBytes, 'a').Sub(10, kBlockBytes / Slice::kCompactRatio);
  const uint8_t* before = small.data();
  small.Compact();
  EXPECT_NE(small.data(), before);
  EXPECT_EQ(small.size(), kBlockBytes / Slice::kCompactRatio);
  EXPECT_EQ(small.owner()->capacity(), small.size());
  EXPECT_EQ(small.view(), std::string(small.size(), 'a'));
}

TEST(Slice, CompactLeavesALargePartWhereItIs) {
  Slice large = Filled(kBlockBytes, 'a').Sub(0, kBlockBytes / Slice::kCompactRatio + 1);
  const uint8_t* before = large.data();
  large.Compact();
  EXPECT_EQ(large.data(), before);
}

TEST(Slice, CompactOfAnEmptySliceLetsTheBufferGo) {
  Slice all = Filled(kBlockBytes, 'a');
  Slice none = all.Sub(5, 0);
  none.Compact();
  EXPECT_TRUE(all.owner()->Unique());
}

TEST(Slice, ConcatAndFlattenJoinThePieces) {
  SliceList list;
  EXPECT_EQ(Concat(list), "");
  EXPECT_TRUE(Flatten(list).empty());
  list.push_back(Slice::Copy("one "));
  EXPECT_EQ(Flatten(list).data(), list[0].data()) << "a single piece is not copied";
  list.push_back(Slice());
  list.push_back(Slice::Static("two"));
  EXPECT_EQ(TotalSize(list), 7u);
  EXPECT_EQ(Concat(list), "one two");
  EXPECT_EQ(Flatten(list).view(), "one two");
}

TEST(Slice, FlattenOfEmptyPiecesIsEmpty) {
  SliceList list{Slice(), Slice()};
  EXPECT_TRUE(Flatten(list).empty());
}

TEST(Buffer, BlocksAreUsedAgainWithACountOfOne) {
  for (int i = 0; i < 100; ++i) {
    Buffer* buffer = Buffer::New(kBlockBytes);
    EXPECT_TRUE(buffer->Unique());
    EXPECT_EQ(buffer->capacity(), kBlockBytes);
    std::memset(buffer->data(), i, kBlockBytes);
    buffer->Unref();
  }
}

TEST(Buffer, MoreBlocksThanAreKeptCanBeFreed) {
  std::vector<Slice> slices;
  for (int i = 0; i < 64; ++i) slices.push_back(Filled(kBlockBytes, static_cast<uint8_t>(i)));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(slices[i].data()[kBlockBytes - 1], i);
}

TEST(Buffer, MayBeReleasedOnAnotherThreadAndAfterThatThreadsCacheHasEnded) {
  Slice slice = Filled(kBlockBytes, 'x');
  std::thread([&] {
    // Made before the thread's cache, and so destroyed after it.
    static thread_local Slice kept;
    kept = std::move(slice);
    const Slice other = Filled(kBlockBytes, 'y');
    EXPECT_EQ(kept.data()[0], 'x');
  }).join();
  EXPECT_TRUE(slice.empty());
}

}  // namespace
}  // namespace lever
