// The parts under a connection: header lists, queues of slices, the output, the budget.
#include <gtest/gtest.h>

#include <random>

#include "liblever/rpc/headers.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/out_queue.h"
#include "liblever/rpc/slice_queue.h"
#include "liblever/rpc/token_bucket.h"

namespace lever::rpc {
namespace {

std::string Text(const SliceQueue& queue) { return Concat(queue.slices()); }

// The distinct buffers' capacities.
size_t PinnedBytes(const SliceQueue& queue) {
  std::vector<Buffer*> buffers;
  size_t bytes = 0;
  for (const Slice& slice : queue.slices()) {
    if (slice.owner() == nullptr) continue;
    if (std::find(buffers.begin(), buffers.end(), slice.owner()) != buffers.end()) continue;
    buffers.push_back(slice.owner());
    bytes += slice.owner()->capacity();
  }
  return bytes;
}

TEST(HeaderListTest, KeepsFieldsInOrderAndFindsTheFirst) {
  HeaderList list;
  list.Add("a", "1");
  list.Add("b", "", Indexing::kNever);
  list.Add("a", std::string_view("2\0x", 3));
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].name, "a");
  EXPECT_EQ(list[1].value, "");
  EXPECT_EQ(list[1].indexing, Indexing::kNever);
  EXPECT_EQ(list[2].value, std::string_view("2\0x", 3));
  EXPECT_EQ(list.Find("a"), "1");
  EXPECT_EQ(list.Find("b"), "");
  EXPECT_EQ(list.Find("c"), std::nullopt);
  EXPECT_EQ(list.AccountedBytes(), 3 * 32u + 3 + 1 + 3);
  list.Clear();
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.Find("a"), std::nullopt);
}

TEST(HeaderListTest, RecyclingKeepsItUsable) {
  HeaderList list;
  for (size_t size : {size_t{10}, kPooledHeaderBytesMax * 2, size_t{10}}) {
    const std::string value(size, 'v');
    for (int i = 0; i < 20; ++i) list.Add("n", value);
    EXPECT_EQ(list[19].value, value);
    list.Recycle();
    EXPECT_TRUE(list.empty());
  }
}

TEST(SliceQueueTest, GivesBackWhatWasPushedWhateverTheSizes) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    SliceQueue queue;
    std::string expected;
    for (int step = 0; step < 300; ++step) {
      switch (random() % 5) {
        case 0:
        case 1: {
          // Small and large ones, of buffers of their own or much larger.
          const size_t size = random() % 3 == 0 ? random() % 5000 : random() % 200;
          Buffer* buffer = Buffer::New(size + (random() % 2) * 10'000);
          for (size_t i = 0; i < size; ++i) buffer->data()[i] = static_cast<uint8_t>(random());
          Slice slice(buffer->data(), size, buffer);
          expected.append(slice.view());
          queue.Push(std::move(slice));
          break;
        }
        case 2:
          if (!queue.empty()) {
            const size_t size = 1 + random() % queue.front().size();
            ASSERT_EQ(queue.TakeFront(size).view(), std::string_view(expected).substr(0, size));
            expected.erase(0, size);
          }
          break;
        case 3: {
          const size_t size = random() % (expected.size() + 1);
          queue.RemoveFront(size);
          expected.erase(0, size);
          break;
        }
        default:
          queue.Compact();
          EXPECT_LE(PinnedBytes(queue), 8 * queue.bytes() + 16 * kShareBytesMin);
          break;
      }
      ASSERT_EQ(queue.bytes(), expected.size());
      ASSERT_EQ(queue.empty(), expected.empty());
      ASSERT_EQ(Text(queue), expected);
    }
  }
}

TEST(SliceQueueTest, BytesThatTrickleInOneATurnLieTogether) {
  SliceQueue queue;
  constexpr size_t kBytes = 20'000;
  for (size_t i = 0; i < kBytes; ++i) {
    Buffer* buffer = Buffer::New(kReceiveBufferBytes);
    buffer->data()[0] = static_cast<uint8_t>(i);
    queue.Push(Slice(buffer->data(), 1, buffer));
    queue.Compact();
  }
  EXPECT_EQ(queue.bytes(), kBytes);
  EXPECT_LE(queue.slices().size(), 2 * kBytes / kShareBytesMin);
  EXPECT_LE(PinnedBytes(queue), 2 * kBytes);
  size_t i = 0;
  for (char c : Text(queue)) ASSERT_EQ(static_cast<uint8_t>(c), static_cast<uint8_t>(i++));
}

TEST(OutQueueTest, KeepsTheOrderOfCopiedAndSharedBytes) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    OutQueue out;
    std::string expected;
    std::string got;
    const auto write = [&](size_t size) {
      iovec pieces[3];
      const size_t count = out.Gather(pieces);
      for (size_t i = 0; i < count && size > 0; ++i) {
        const size_t part = std::min(size, pieces[i].iov_len);
        got.append(static_cast<const char*>(pieces[i].iov_base), part);
        size -= part;
      }
    };
    for (int step = 0; step < 200; ++step) {
      const std::string bytes(random() % (random() % 4 == 0 ? 100'000 : 100), 'a' + step % 26);
      switch (random() % 4) {
        case 0:
          out.Append({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
          expected += bytes;
          break;
        case 1: {
          SliceQueue queue;
          queue.Push(Slice::Copy(bytes));
          queue.Push(Slice::Static("tail"));
          out.AppendFrom(&queue, queue.bytes());
          EXPECT_TRUE(queue.empty());
          expected += bytes + "tail";
          break;
        }
        case 2: {
          iovec pieces[3];
          size_t ready = 0;
          for (size_t i = 0, count = out.Gather(pieces); i < count; ++i) ready += pieces[i].iov_len;
          const size_t size = ready == 0 ? 0 : random() % (ready + 1);
          write(size);
          out.Written(size);
          break;
        }
        default:
          out.EndTurn();
          break;
      }
      ASSERT_EQ(out.bytes(), expected.size() - got.size());
      ASSERT_EQ(out.appended(), expected.size());
      ASSERT_EQ(out.written(), got.size());
    }
    while (out.bytes() > 0) {
      const size_t before = got.size();
      write(SIZE_MAX);
      out.Written(got.size() - before);
    }
    ASSERT_EQ(got, expected);
  }
}

TEST(TokenBucketTest, GrantsTheBurstThenTheRate) {
  int64_t now_ns = 5 * kNanosPerSecond;
  TokenBucket bucket(10, 2, now_ns);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Spend(now_ns));
  EXPECT_FALSE(bucket.Spend(now_ns));
  now_ns += kNanosPerSecond / 2 - 1;
  EXPECT_FALSE(bucket.Spend(now_ns));
  now_ns += 1;
  EXPECT_TRUE(bucket.Spend(now_ns));
  EXPECT_FALSE(bucket.Spend(now_ns));
  now_ns += 3600 * kNanosPerSecond;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Spend(now_ns));
  EXPECT_FALSE(bucket.Spend(now_ns));
  bucket.Earn(1);
  EXPECT_TRUE(bucket.Spend(now_ns));
  EXPECT_FALSE(bucket.Spend(now_ns));
  bucket.Earn(1000);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Spend(now_ns));
  EXPECT_FALSE(bucket.Spend(now_ns));
}

}  // namespace
}  // namespace lever::rpc
