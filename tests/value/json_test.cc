#include "liblever/value/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vectors/vectors.h"

namespace lever::value {
namespace {

using vectors::FromHex;

using ::testing::HasSubstr;

std::string MessageFor(std::string_view json) { return JsonToMessagePack(json).status().message(); }

TEST(JsonToMessagePack, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(MessageFor("[1,"), HasSubstr("unexpected end of input"));
  EXPECT_THAT(MessageFor("[1,"), HasSubstr("at byte"));
  EXPECT_THAT(MessageFor("18446744073709551616"), HasSubstr("integer outside -2^63 to 2^64-1"));
  EXPECT_THAT(MessageFor("1e400"), HasSubstr("overflows"));
  EXPECT_THAT(MessageFor("{\"a\":1,\"a\":2}"), HasSubstr("key that repeats"));
  EXPECT_THAT(MessageFor("\"\\ud800\""), HasSubstr("surrogate"));
  EXPECT_THAT(MessageFor(std::string("1\0x", 3)), HasSubstr("NUL"));
  EXPECT_THAT(MessageFor("{\"$byte\":\"\"}"), HasSubstr("none of the known forms"));
}

TEST(JsonToMessagePack, HeadersAndIntegersOfEverySizeComeBack) {
  const auto expect_back = [](const std::string& json) {
    const auto value = JsonToMessagePack(json);
    ASSERT_TRUE(value.ok()) << json << " " << value.status().ToString();
    const auto back = MessagePackToJson(*value);
    ASSERT_TRUE(back.ok()) << json << " " << back.status().ToString();
    EXPECT_EQ(*back, json);
  };
  for (const int size : {0, 1, 15, 16, 31, 32, 255, 256, 3000}) {
    std::string array = "[", map = "{";
    for (int i = 0; i < size; ++i) array += (i > 0 ? ",0" : "0");
    for (int i = 0; i < size; ++i) {
      map += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":[]";
    }
    const std::string text = "\"" + std::string(static_cast<size_t>(size), 'x') + "\"";
    for (const std::string& json : {array + "]", map + "}", text, "[" + array + "]," + text + "]"}) {
      expect_back(json);
    }
  }
  for (int64_t number = 1; number < 999'999'999'999'999'999 / 2; number *= 2) {
    for (const int64_t near : {number - 1, number, number + 1, -number - 1, -number, -number + 1}) {
      expect_back(std::to_string(near));
    }
  }
}

TEST(JsonToMessagePack, FindsARepeatedKeyAmongMany) {
  std::string json = "{\"k0\":0";
  for (int i = 1; i < 10'000; ++i) json += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_TRUE(JsonToMessagePack(json + "}").ok());
  EXPECT_THAT(MessageFor(json + ",\"k5000\":1}"), HasSubstr("key that repeats"));
}

TEST(JsonToMessagePack, CountsLevelsOfTheValueNotOfItsForms) {
  const auto nested = [](int levels, std::string_view open, std::string_view inner,
                         std::string_view close) {
    std::string json;
    for (int i = 0; i < levels; ++i) json.append(open);
    json.append(inner);
    for (int i = 0; i < levels; ++i) json.append(close);
    return json;
  };
  EXPECT_TRUE(JsonToMessagePack(nested(128, "{\"$map\":[[1,", "{\"$ext\":[1,\"\"]}", "]]}")).ok());
  EXPECT_FALSE(JsonToMessagePack(nested(129, "{\"$map\":[[1,", "0", "]]}")).ok());
  EXPECT_TRUE(JsonToMessagePack(nested(128, "{\"$$a\":", "{\"$bytes\":\"\"}", "}")).ok());
  EXPECT_FALSE(JsonToMessagePack(nested(129, "{\"$$a\":", "0", "}")).ok());
  EXPECT_FALSE(JsonToMessagePack(nested(128, "[", "{}", "]")).ok());
}

TEST(JsonToMessagePack, ChoosesHeadersOfEverySize) {
  for (const size_t size : {15u, 16u, 65535u, 65536u}) {
    std::string array = "[0";
    for (size_t i = 1; i < size; ++i) array += ",0";
    array += "]";
    const auto value = JsonToMessagePack(array);
    ASSERT_TRUE(value.ok());
    EXPECT_EQ(
        *CheckArguments(Bytes(reinterpret_cast<const uint8_t*>(value->data()), value->size())),
        size);
    EXPECT_EQ(*MessagePackToJson(*value), array);
  }
}

TEST(JsonToMessagePack, KeepsOneDollarKeysOfEveryHeaderSize) {
  for (const size_t size : {1u, 31u, 32u, 255u, 256u, 65535u, 65536u}) {
    const std::string name = "$" + std::string(size - 1, 'n');
    const std::string json = "[{\"$" + name + "\":{\"a\":[]}},1]";
    const auto value = JsonToMessagePack(json);
    ASSERT_TRUE(value.ok()) << value.status().ToString();
    EXPECT_EQ(*MessagePackToJson(*value), json);
    EXPECT_EQ(value->size(), size + (size < 32 ? 1 : size < 256 ? 2 : size < 65536 ? 3 : 5) + 7);
  }
}

TEST(MessagePackToJson, StopsAtTheLimitOfItsText) {
  const std::string value = FromHex("dc0400") + std::string(1024, '\xc2');
  const size_t size = 1024 * 6 + 1;
  EXPECT_TRUE(MessagePackToJson(value, size).ok());
  const auto refused = MessagePackToJson(value, size - 1);
  EXPECT_EQ(refused.status().code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.status().executed(), LEVER_EXECUTED_NO);
}

TEST(MessagePackToJson, WritesOneLine) {
  const auto json = MessagePackToJson(FromHex("a50a0d0922e2") + "");
  EXPECT_FALSE(json.ok());  // cut in a character
  EXPECT_EQ(*MessagePackToJson(FromHex("a40a0d0922")), R"("\n\r\t\"")");
}

TEST(AppendJsonString, Escapes) {
  std::string out = "x";
  AppendJsonString("a\"\\\n\x01", &out);
  EXPECT_EQ(out, "x\"a\\\"\\\\\\n\\u0001\"");
}

}  // namespace
}  // namespace lever::value
