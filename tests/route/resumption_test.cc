// What is said of a stream that goes on elsewhere, against protobuf's own classes.
#include "liblever/route/resumption.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lever/v1/lever.pb.h"
#include "liblever/base/random.h"
#include "liblever/route/envelope.h"
#include "tests/route/envelope_oracle.h"
#include "tests/value/mutation.h"

namespace lever::route {
namespace {

SliceList InOnePiece(std::string_view bytes) {
  SliceList list;
  list.push_back(Slice::Copy(bytes));
  return list;
}

// Values at which varints and lengths change.
const uint64_t kNumbers[] = {0, 1, 127, 128, 16384, UINT32_MAX, uint64_t{1} << 52, UINT64_MAX};

TEST(Resumption, MarksAreReadByProtobufAndByTheEnvelopeAlike) {
  const std::string tokens[] = {"", "t", std::string(127, 'x'), std::string(4096, '\0')};
  for (const uint64_t consumed : kNumbers) {
    for (const uint64_t received : kNumbers) {
      for (const std::string& token : tokens) {
        for (const bool with_token : {false, true}) {
          StreamMarks marks{.consumed = consumed, .received = received};
          if (with_token) marks.resume = token;
          SliceList message = WriteEnvelope(Kind::kRaw, InOnePiece("payload"));
          message.push_back(WriteMarks(marks));
          v1::Message theirs;
          ASSERT_TRUE(theirs.ParseFromString(Concat(message)));
          EXPECT_EQ(theirs.raw(), "payload");
          EXPECT_EQ(theirs.has_resume(), with_token);
          EXPECT_EQ(theirs.resume(), with_token ? token : "");
          EXPECT_EQ(theirs.consumed(), consumed);
          EXPECT_EQ(theirs.received(), received);
          const auto ours = ParseEnvelope(message);
          ASSERT_TRUE(ours.ok());
          EXPECT_EQ(ours->kind, Kind::kRaw);
          EXPECT_EQ(ours->has_resume, with_token);
          EXPECT_EQ(ours->resume.view(), with_token ? token : "");
          EXPECT_EQ(ours->consumed, consumed);
          EXPECT_EQ(ours->received, received);
        }
      }
    }
  }
}

TEST(Resumption, MarksAloneAreBookkeeping) {
  for (const StreamMarks& marks : {StreamMarks{.consumed = 7}, StreamMarks{.resume = ""}, StreamMarks{}}) {
    SliceList message;
    message.push_back(WriteMarks(marks));
    const auto read = ParseEnvelope(message);
    ASSERT_TRUE(read.ok());
    EXPECT_TRUE(read->bookkeeping());
    EXPECT_EQ(read->has_resume, marks.resume.has_value());
  }
}

TEST(Resumption, MovedIsReadByProtobufAndBack) {
  for (const uint64_t generation : kNumbers) {
    for (const uint64_t consumed : kNumbers) {
      for (const uint32_t shard : {0u, 1u, 65535u, UINT32_MAX}) {
        for (const char* owner : {"", "i-2", "\xc3\xafnstance"}) {
          const SliceList written = WriteMoved({owner, {shard, generation}, consumed});
          v1::Message theirs;
          ASSERT_TRUE(theirs.ParseFromString(Concat(written)));
          ASSERT_TRUE(theirs.has_moved());
          EXPECT_EQ(theirs.moved().owner(), owner);
          EXPECT_EQ(theirs.moved().shard(), shard);
          EXPECT_EQ(theirs.moved().generation(), generation);
          EXPECT_EQ(theirs.moved().consumed(), consumed);
          // As protobuf writes it, and as we do.
          for (const std::string& bytes : {theirs.SerializeAsString(), Concat(written)}) {
            const auto envelope = ParseEnvelope(InOnePiece(bytes));
            ASSERT_TRUE(envelope.ok());
            EXPECT_TRUE(envelope->moved);
            EXPECT_FALSE(envelope->bookkeeping());
            const auto moved = ParseMoved(envelope->payload);
            ASSERT_TRUE(moved.ok());
            EXPECT_EQ(moved->owner, owner);
            EXPECT_EQ(moved->shard.shard, shard);
            EXPECT_EQ(moved->shard.generation, generation);
            EXPECT_EQ(moved->consumed, consumed);
          }
        }
      }
    }
  }
}

TEST(Resumption, MovedWithWhatIsNotKnownIsRead) {
  v1::Moved known;
  known.set_owner("i-2");
  known.set_consumed(9);
  // Fields of a later version, of every wire type; the last of one that repeats wins.
  std::string bytes("\x28\x05\x32\x02hi\x3d" "abcd" "\x41" "12345678" "\x20\x01", 22);
  bytes += known.SerializeAsString();
  const auto moved = ParseMoved(InOnePiece(bytes));
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(moved->owner, "i-2");
  EXPECT_EQ(moved->consumed, 9u);
  // In pieces of a byte each.
  SliceList pieces;
  for (const char& byte : bytes) pieces.push_back(Slice::Copy(std::string_view(&byte, 1)));
  const auto again = ParseMoved(pieces);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->owner, "i-2");
}

TEST(Resumption, MovedThatMeansNothingIsRefused) {
  v1::Moved wide;
  wide.set_shard(uint64_t{UINT32_MAX} + 1);
  v1::Moved long_named;
  long_named.set_owner(std::string(257, 'i'));
  for (const std::string& bytes :
       {wide.SerializeAsString(), long_named.SerializeAsString(), std::string("\x0a\x05i", 3),
        std::string("\x10", 1), std::string("\x10\xff", 2), std::string("\x0b", 1),
        std::string("\x00\x01", 2), std::string("\x07", 1)}) {
    EXPECT_EQ(ParseMoved(InOnePiece(bytes)).status().code(), LEVER_INVALID_ARGUMENT);
  }
  EXPECT_TRUE(ParseMoved({}).ok()) << "all of it at its default";
}

TEST(Resumption, TenThousandMutationsOfMovedAreReadAsByProtobuf) {
  std::vector<std::string> seeds;
  for (const auto& [owner, shard, generation, consumed] :
       std::vector<std::tuple<std::string, uint64_t, uint64_t, uint64_t>>{
           {"i-2", 7, 3, 41}, {"", 0, 0, 0}, {std::string(200, 'o'), 65535, UINT64_MAX, 1 << 20}}) {
    v1::Moved moved;
    moved.set_owner(owner);
    moved.set_shard(shard);
    moved.set_generation(generation);
    moved.set_consumed(consumed);
    seeds.push_back(moved.SerializeAsString() + std::string("\x2a\x02hi", 4));
  }
  const std::string tags = "\x0a\x10\x18\x20\x2a\x0d\x09\x0b\x80\xff\x01";
  const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  Random random(TestSeed());
  int accepted = 0, refused = 0;
  for (int round = 0; round < 10'000; ++round) {
    const std::string bytes = Mutated(seeds, tags, &random);
    const std::string shown =
        ToHex(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    v1::Moved theirs;
    const bool good = theirs.ParseFromString(bytes);
    const auto ours = ParseMoved(InOnePiece(bytes));
    if (!ours.ok()) {
      ++refused;
      ASSERT_TRUE(!good || RefusedOnPurpose(bytes) || theirs.owner().size() > 256 ||
                  theirs.shard() > UINT32_MAX)
          << shown;
      continue;
    }
    ++accepted;
    // An id that is not UTF-8 is nobody's, and tags and lengths may be padded.
    if (!good) continue;
    if (HasLongVarint(bytes)) continue;
    ASSERT_EQ(ours->owner, theirs.owner()) << shown;
    ASSERT_EQ(ours->shard.shard, theirs.shard()) << shown;
    ASSERT_EQ(ours->shard.generation, theirs.generation()) << shown;
    ASSERT_EQ(ours->consumed, theirs.consumed()) << shown;
  }
  EXPECT_GT(accepted, 500);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace lever::route
