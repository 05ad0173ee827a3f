// tests/vectors/messages.json, entry by entry, in as many pieces as there are bytes and in one.

#include <gtest/gtest.h>

#include "liblever/route/envelope.h"
#include "liblever/route/resumption.h"
#include "tests/vectors/vectors.h"

namespace lever::vectors {
namespace {

using route::Envelope;
using route::Kind;

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = LoadVectors("messages.json");
  return vectors;
}

SliceList Whole(const std::string& bytes) {
  SliceList slices;
  slices.push_back(Slice::Copy(bytes));
  return slices;
}

SliceList ByteByByte(const std::string& bytes) {
  SliceList slices;
  for (const char byte : bytes) slices.push_back(Slice::Copy(std::string_view(&byte, 1)));
  return slices;
}

// The body that an entry names, as kind and bytes; Kind::kNone for none and for `moved`.
struct Body {
  Kind kind = Kind::kNone;
  std::string bytes;
};
Body BodyOf(const nlohmann::json& entry) {
  if (entry.contains("value")) return {Kind::kValue, FromHex(entry.at("value"))};
  if (entry.contains("raw")) return {Kind::kRaw, FromHex(entry.at("raw"))};
  if (entry.contains("error_value")) return {Kind::kErrorValue, FromHex(entry.at("error_value"))};
  if (entry.contains("error_raw")) return {Kind::kErrorRaw, FromHex(entry.at("error_raw"))};
  return {};
}

route::Moved MovedOf(const nlohmann::json& moved) {
  return {moved.at("owner"), {moved.at("shard"), moved.at("generation")}, moved.at("consumed")};
}

void ExpectMoved(const nlohmann::json& entry, const SliceList& payload) {
  const route::Moved expected = MovedOf(entry);
  const auto moved = route::ParseMoved(payload);
  ASSERT_TRUE(moved.ok()) << entry << moved.status().ToString();
  EXPECT_EQ(moved->owner, expected.owner) << entry;
  EXPECT_EQ(moved->shard.shard, expected.shard.shard) << entry;
  EXPECT_EQ(moved->shard.generation, expected.shard.generation) << entry;
  EXPECT_EQ(moved->consumed, expected.consumed) << entry;
}

void ExpectParses(const nlohmann::json& entry, SliceList message) {
  const auto envelope = route::ParseEnvelope(std::move(message));
  ASSERT_TRUE(envelope.ok()) << entry << envelope.status().ToString();
  const Body body = BodyOf(entry);
  EXPECT_EQ(envelope->kind, body.kind) << entry;
  EXPECT_EQ(envelope->moved, entry.contains("moved")) << entry;
  if (!envelope->moved) {
    EXPECT_EQ(Concat(envelope->payload), body.bytes) << entry;
  }
  if (envelope->moved) ExpectMoved(entry.at("moved"), envelope->payload);
  EXPECT_EQ(envelope->has_resume, entry.contains("resume")) << entry;
  EXPECT_EQ(ToHex(envelope->resume.view()), entry.value("resume", "")) << entry;
  EXPECT_EQ(envelope->consumed, entry.value("consumed", uint64_t{0})) << entry;
  EXPECT_EQ(envelope->received, entry.value("received", uint64_t{0})) << entry;
}

TEST(MessagesVectors, AreReadInPiecesOfAnySize) {
  ASSERT_GT(Vectors().at("both").size(), 10u);
  ASSERT_GT(Vectors().at("read").size(), 5u);
  for (const char* list : {"both", "read"}) {
    for (const auto& entry : Vectors().at(list)) {
      ExpectParses(entry, Whole(FromHex(entry.at("wire"))));
      ExpectParses(entry, ByteByByte(FromHex(entry.at("wire"))));
    }
  }
}

TEST(MessagesVectors, AreWritten) {
  for (const auto& entry : Vectors().at("both")) {
    const Body body = BodyOf(entry);
    SliceList message;
    if (body.kind != Kind::kNone) message = route::WriteEnvelope(body.kind, Whole(body.bytes));
    if (entry.contains("moved")) message = route::WriteMoved(MovedOf(entry.at("moved")));
    const std::string token = FromHex(entry.value("resume", ""));
    route::StreamMarks marks{.consumed = entry.value("consumed", uint64_t{0}),
                             .received = entry.value("received", uint64_t{0})};
    if (entry.contains("resume")) marks.resume = token;
    message.push_back(route::WriteMarks(marks));
    EXPECT_EQ(ToHex(Concat(message)), entry.at("wire")) << entry;
  }
}

TEST(MessagesVectors, InvalidOnesAreRefused) {
  ASSERT_GT(Vectors().at("invalid").size(), 10u);
  for (const auto& entry : Vectors().at("invalid")) {
    const std::string wire = FromHex(entry.at("wire"));
    EXPECT_EQ(route::ParseEnvelope(Whole(wire)).status().code(), LEVER_INVALID_ARGUMENT) << entry;
    EXPECT_EQ(route::ParseEnvelope(ByteByByte(wire)).status().code(), LEVER_INVALID_ARGUMENT)
        << entry;
  }
}

}  // namespace
}  // namespace lever::vectors
