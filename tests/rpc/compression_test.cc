#include "liblever/rpc/compression.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <vector>

namespace lever::rpc {
namespace {

constexpr size_t kMiB = 1024 * 1024;

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

SliceList Pieces(std::string_view text, size_t piece_bytes) {
  SliceList list;
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    list.push_back(Slice::Copy(text.substr(at, piece_bytes)));
  }
  return list;
}

std::string Gzip(std::string_view text, size_t piece_bytes = SIZE_MAX / 2) {
  return Concat(DeflateGzip(Pieces(text, piece_bytes)));
}

StatusOr<std::string> Inflate(std::string_view gzip, size_t max = kMiB,
                              size_t piece_bytes = SIZE_MAX / 2) {
  LEVER_ASSIGN_OR_RETURN(SliceList message, InflateGzip(Pieces(gzip, piece_bytes), max));
  return Concat(message);
}

lever_status CodeOf(const StatusOr<std::string>& result) {
  return result.ok() ? LEVER_OK : result.status().code();
}

// Bytes that do not compress, each part different.
std::string Noise(size_t size) {
  std::string text(size, '\0');
  uint64_t state = 0x9e3779b97f4a7c15;
  for (char& byte : text) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state >> 32);
  }
  return text;
}

TEST(CompressionTest, WhatIsDeflatedInflatesToItself) {
  for (size_t size : {1, 2, 255, 4096, 65535, 65536, 300'000}) {
    for (const std::string& text : {std::string(size, '\0'), Noise(size)}) {
      const auto back = Inflate(Gzip(text));
      ASSERT_TRUE(back.ok()) << size << ": " << back.status().ToString();
      EXPECT_EQ(*back, text);
    }
  }
}

TEST(CompressionTest, EmptyMessageIsAMemberOfNothing) {
  const std::string gzip = Gzip("");
  EXPECT_EQ(gzip.size(), 20u);
  const auto back = Inflate(gzip);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(*back, "");
  EXPECT_EQ(CodeOf(Inflate("")), LEVER_INTERNAL) << "no bytes are no member";
}

TEST(CompressionTest, InflatesWhatOthersHaveMade) {
  const auto other = Inflate(FromHex(
      "1f8b0800000000000203f3492d4b2dd25148aa5448cccb2fc9482d52c848cc4b0100b3a2d46d"
      "16000000"));
  ASSERT_TRUE(other.ok()) << other.status().ToString();
  EXPECT_EQ(*other, "Lever, by another hand");
  // A name, a comment, an extra field and the header's own checksum.
  const auto fields = Inflate(FromHex(
      "1f8b081e0000000000ff03006162636e616d6500636f6d6d656e740078182bcf2cc950482d4b"
      "2daa5448cb4ccd4901000803b48410000000"));
  ASSERT_TRUE(fields.ok()) << fields.status().ToString();
  EXPECT_EQ(*fields, "with every field");
}

TEST(CompressionTest, PiecesOfOneByteAreReadAndWrittenAlike) {
  const std::string text = Noise(5000) + std::string(20'000, 'x');
  EXPECT_EQ(Gzip(text, 1), Gzip(text));
  const auto back = Inflate(Gzip(text), kMiB, 1);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(*back, text);
}

TEST(CompressionTest, ConcatenatedMembersAreOneMessage) {
  const std::string first = Noise(70'000), second(150'000, 'b');
  for (size_t piece_bytes : {size_t{1}, size_t{1000}, kMiB}) {
    // The last of them holds nothing, so that the size at the end says nothing of the others.
    const auto both = Inflate(Gzip(first) + Gzip(second) + Gzip(""), kMiB, piece_bytes);
    ASSERT_TRUE(both.ok()) << both.status().ToString();
    EXPECT_EQ(*both, first + second);
  }
  EXPECT_EQ(CodeOf(Inflate(Gzip(first) + Gzip(second), 219'999)), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(CodeOf(Inflate(Gzip(first) + Gzip(second), 220'000)), LEVER_OK);
}

TEST(CompressionTest, EveryTruncationIsSeen) {
  const std::string gzip = Gzip("a message of some length, a message of some length");
  for (size_t size = 0; size < gzip.size(); ++size) {
    EXPECT_EQ(CodeOf(Inflate(gzip.substr(0, size))), LEVER_INTERNAL) << size;
    EXPECT_EQ(CodeOf(Inflate(gzip + gzip.substr(0, size))), size == 0 ? LEVER_OK : LEVER_INTERNAL)
        << "of the second member: " << size;
  }
}

TEST(CompressionTest, CorruptChecksumOrLengthIsSeen) {
  const std::string gzip = Gzip(Noise(100));
  for (size_t from_end = 1; from_end <= 8; ++from_end) {
    std::string bad = gzip;
    bad[bad.size() - from_end] ^= 1;
    EXPECT_EQ(CodeOf(Inflate(bad)), LEVER_INTERNAL) << from_end;
  }
}

TEST(CompressionTest, OtherBytesAreNotGzip) {
  EXPECT_EQ(CodeOf(Inflate(Noise(500))), LEVER_INTERNAL);
  EXPECT_EQ(CodeOf(Inflate(Gzip("message") + std::string(30, '\0'))), LEVER_INTERNAL);
  std::string zlib_header = Gzip("message");
  zlib_header.replace(0, 2, "\x78\x9c");
  EXPECT_EQ(CodeOf(Inflate(zlib_header)), LEVER_INTERNAL);
}

TEST(CompressionTest, MessageOfExactlyTheMaximumPasses) {
  for (const std::string& text : {std::string(100'000, 'z'), Noise(100'000)}) {
    const std::string gzip = Gzip(text);
    EXPECT_EQ(CodeOf(Inflate(gzip, text.size())), LEVER_OK);
    EXPECT_EQ(CodeOf(Inflate(gzip, text.size() - 1)), LEVER_RESOURCE_EXHAUSTED);
    EXPECT_LE(gzip.size(), CompressedBytesMax(text.size()));
  }
}

TEST(CompressionTest, BombIsCutOffAtTheMaximumWhateverItPromises) {
  std::string bomb = Gzip(std::string(64 * kMiB, '\0'));
  ASSERT_LT(bomb.size(), kMiB / 8);
  for (uint32_t promised : {0u, 1u, 1000u, static_cast<uint32_t>(64 * kMiB), UINT32_MAX}) {
    for (int i = 0; i < 4; ++i) bomb[bomb.size() - 4 + i] = static_cast<char>(promised >> (8 * i));
    EXPECT_EQ(CodeOf(Inflate(bomb, kMiB)), LEVER_RESOURCE_EXHAUSTED) << promised;
  }
}

TEST(CompressionTest, RoomIsThatOfTheMessageWhateverIsPromised) {
  // What is promised and comes is one buffer.
  const std::string gzip = Gzip(Noise(2000));
  StatusOr<SliceList> message = InflateGzip(Pieces(gzip, gzip.size()), kMiB);
  ASSERT_TRUE(message.ok());
  ASSERT_EQ(message->size(), 1u);
  EXPECT_LE(message->front().owner()->capacity(), 2001u);
  // Many small members before a large one: the room is the last one's.
  std::string many;
  for (int i = 0; i < 4; ++i) many += Gzip("x");
  many += Gzip(std::string(500'000, 'y'));
  message = InflateGzip(Pieces(many, many.size()), kMiB);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(TotalSize(*message), 500'004u);
  size_t held = 0;
  for (const Slice& slice : *message) held += slice.owner()->capacity();
  EXPECT_LE(held, 2 * 500'004u);
  // A large one before a small one: the room grows with what comes.
  std::string reversed = Gzip(std::string(500'000, 'y')) + Gzip("x");
  message = InflateGzip(Pieces(reversed, reversed.size()), kMiB);
  ASSERT_TRUE(message.ok());
  held = 0;
  for (const Slice& slice : *message) held += slice.owner()->capacity();
  EXPECT_LE(held, Slice::kCompactRatio * 500'001u);
}

TEST(CompressionTest, BombTakesNoMoreMemoryThanAMessageMay) {
  const auto peak_bytes = [] {
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<size_t>(usage.ru_maxrss) * 1024;
  };
  SliceList zeros;
  const Slice one_mib = Slice::Copy(std::string(kMiB, '\0'));
  for (int i = 0; i < 512; ++i) zeros.push_back(one_mib);
  const SliceList bomb = DeflateGzip(zeros);
  const size_t before = peak_bytes();
  const StatusOr<SliceList> message = InflateGzip(bomb, kMiB);
  EXPECT_EQ(message.status().code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_LT(peak_bytes() - before, 16 * kMiB);
}

TEST(CompressionTest, CompressedMessageKeepsLittleMoreThanItsSize) {
  const SliceList compressed = DeflateGzip(Pieces(std::string(200'000, 'c'), 1000));
  size_t held = 0;
  for (const Slice& slice : compressed) held += slice.owner()->capacity();
  EXPECT_LE(held, Slice::kCompactRatio * TotalSize(compressed));
}

TEST(CompressionTest, NamesOfEncodings) {
  EXPECT_EQ(CompressionFromName("gzip"), Compression::kGzip);
  EXPECT_EQ(CompressionFromName("identity"), Compression::kIdentity);
  for (const char* name : {"", "GZIP", "deflate", "gzip,identity", "snappy"}) {
    EXPECT_FALSE(CompressionFromName(name).has_value()) << name;
  }
  for (const char* list : {"gzip", "identity,gzip", "identity, deflate, gzip", "gzip ,identity"}) {
    EXPECT_TRUE(Accepts(list, Compression::kGzip)) << list;
  }
  for (const char* list : {"", "identity", "gzip2", "xgzip", "deflate,identity", ","}) {
    EXPECT_FALSE(Accepts(list, Compression::kGzip)) << list;
    EXPECT_TRUE(Accepts(list, Compression::kIdentity)) << list;
  }
  EXPECT_TRUE(Accepts(kAcceptedEncodings, Compression::kGzip));
}

}  // namespace
}  // namespace lever::rpc
