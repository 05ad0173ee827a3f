// tests/vectors/values.json, entry by entry.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/value/json.h"
#include "tests/vectors/vectors.h"

namespace lever::value {
namespace {

using vectors::FromHex;
using vectors::InputOf;
using vectors::ToHex;

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = vectors::LoadVectors("values.json");
  return vectors;
}

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void ExpectReads(const nlohmann::json& entry) {
  const auto value = JsonToMessagePack(entry.at("json").get<std::string>());
  ASSERT_TRUE(value.ok()) << entry << value.status().ToString();
  EXPECT_EQ(ToHex(*value), entry.at("msgpack").get<std::string>()) << entry;
}

void ExpectWrites(const nlohmann::json& entry) {
  const auto json = MessagePackToJson(FromHex(entry.at("msgpack")));
  ASSERT_TRUE(json.ok()) << entry << json.status().ToString();
  EXPECT_EQ(*json, entry.at("json").get<std::string>());
}

TEST(ValuesVectors, JsonAndMessagePackBecomeEachOther) {
  ASSERT_GT(Vectors().at("both").size(), 90u);
  for (const auto& entry : Vectors().at("both")) {
    ExpectReads(entry);
    ExpectWrites(entry);
  }
}

TEST(ValuesVectors, OtherJsonBecomesTheSameMessagePack) {
  ASSERT_GT(Vectors().at("json_to_msgpack").size(), 10u);
  for (const auto& entry : Vectors().at("json_to_msgpack")) ExpectReads(entry);
}

TEST(ValuesVectors, OtherMessagePackBecomesTheSameJson) {
  ASSERT_GT(Vectors().at("msgpack_to_json").size(), 10u);
  for (const auto& entry : Vectors().at("msgpack_to_json")) ExpectWrites(entry);
}

TEST(ValuesVectors, ValidMessagePackPassesAndSurvivesJson) {
  for (const auto& entry : Vectors().at("valid_msgpack")) {
    const std::string value = InputOf(entry);
    EXPECT_TRUE(CheckValue(AsBytes(value)).ok()) << entry;
    const auto json = MessagePackToJson(value);
    ASSERT_TRUE(json.ok()) << entry;
    const auto again = JsonToMessagePack(*json);
    ASSERT_TRUE(again.ok()) << entry << again.status().ToString();
    EXPECT_EQ(*MessagePackToJson(*again), *json);
  }
}

TEST(ValuesVectors, InvalidMessagePackIsRefusedUnexecuted) {
  ASSERT_GT(Vectors().at("invalid_msgpack").size(), 50u);
  for (const auto& entry : Vectors().at("invalid_msgpack")) {
    const std::string value = InputOf(entry);
    const Status status = CheckValue(AsBytes(value));
    EXPECT_EQ(status.code(), LEVER_INVALID_ARGUMENT) << entry;
    EXPECT_EQ(status.executed(), LEVER_EXECUTED_NO) << entry;
    EXPECT_EQ(MessagePackToJson(value).status().code(), LEVER_INVALID_ARGUMENT) << entry;
  }
}

TEST(ValuesVectors, ValidJsonIsRead) {
  for (const auto& entry : Vectors().at("valid_json")) {
    EXPECT_TRUE(JsonToMessagePack(InputOf(entry)).ok()) << entry;
  }
}

TEST(ValuesVectors, InvalidJsonIsRefusedUnexecutedWithAShortText) {
  ASSERT_GT(Vectors().at("invalid_json").size(), 100u);
  for (const auto& entry : Vectors().at("invalid_json")) {
    const auto value = JsonToMessagePack(InputOf(entry));
    EXPECT_EQ(value.status().code(), LEVER_INVALID_ARGUMENT) << entry;
    EXPECT_EQ(value.status().executed(), LEVER_EXECUTED_NO) << entry;
    EXPECT_LT(value.status().message().size(), 250u) << entry;
    for (const char c : value.status().message()) {
      EXPECT_TRUE(c >= 0x20 && c <= 0x7e) << value.status().message();
    }
  }
}

}  // namespace
}  // namespace lever::value
