// Broken values through lever_value_*: whatever comes in, each is refused with a clear error or
// stands up to every decoder.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "lever/lever.h"

namespace {

lever_slice SliceOf(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// The text of a value, or "" for one that is refused.
std::string ToJson(const std::string& value) {
  const lever_slice slice = SliceOf(value);
  char* json = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status = lever_value_to_json(&slice, 1, &json, &size, &error);
  if (status != LEVER_OK) {
    EXPECT_TRUE(status == LEVER_INVALID_ARGUMENT || status == LEVER_RESOURCE_EXHAUSTED);
    EXPECT_EQ(lever_error_status(error), status);
    EXPECT_STRNE(lever_error_message(error), "");
    lever_error_destroy(error);
    return "";
  }
  EXPECT_EQ(error, nullptr);
  EXPECT_EQ(json[size], '\0');
  std::string text(json, size);
  lever_free(json);
  return text;
}

bool FromJson(const std::string& json, std::string* value) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status =
      lever_value_from_json(json.data(), json.size(), &bytes, &size, &error);
  if (status != LEVER_OK) {
    EXPECT_TRUE(status == LEVER_INVALID_ARGUMENT || status == LEVER_RESOURCE_EXHAUSTED);
    EXPECT_STRNE(lever_error_message(error), "");
    lever_error_destroy(error);
    return false;
  }
  value->assign(reinterpret_cast<char*>(bytes), size);
  lever_free(bytes);
  return true;
}

bool IsValue(const std::string& bytes) {
  const lever_slice slice = SliceOf(bytes);
  return lever_value_check(&slice, 1, nullptr) == LEVER_OK;
}

// A document with everything in it.
std::string Everything() {
  std::string value;
  EXPECT_TRUE(FromJson(R"({"a":[1,-1,300,-40000,5000000000,18446744073709551615,1.5,null,true],
      "b":{"$bytes":"aGVsbG8="},"c":{"$time":"2024-02-29T12:34:56.5Z"},"d":{"$ext":[7,"AAEC"]},
      "e":{"$map":[[1,"a"],[null,{"$float":"NaN"}]]},"f":"\u00e9\ud83d\ude00","g":{},"h":[[[]]]})",
                       &value));
  return value;
}

TEST(ValueAbiTest, EveryCutIsRefused) {
  const std::string value = Everything();
  ASSERT_TRUE(IsValue(value));
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_FALSE(IsValue(value.substr(0, size))) << size;
    EXPECT_EQ(ToJson(value.substr(0, size)), "") << size;
  }
  EXPECT_FALSE(IsValue(value + '\0'));
}

TEST(ValueAbiTest, TheKnownAttacksAreRefused) {
  EXPECT_FALSE(IsValue(std::string("\xdd\xff\x00\x00\x00", 5)));  // 4 billion elements in 5 bytes
  EXPECT_FALSE(IsValue(std::string(10'000, '\x91')));             // 10,000 deep
  EXPECT_FALSE(IsValue(std::string(127, '\x91') + "\xdd\xff\xff\xff\xff"));
  EXPECT_FALSE(IsValue("\xa2\xc3\x28"));  // a string that is no UTF-8
  std::string value;
  EXPECT_FALSE(FromJson(std::string(10'000, '['), &value));
  EXPECT_FALSE(FromJson("{\"a\":1,\"a\":2}", &value));
}

// The pieces of a value may be cut anywhere.
TEST(ValueAbiTest, TheCutOfAValueIntoPiecesDoesNotMatter) {
  const std::string value = Everything();
  const std::string json = ToJson(value);
  const auto* bytes = reinterpret_cast<const uint8_t*>(value.data());
  for (size_t cut = 0; cut <= value.size(); ++cut) {
    const lever_slice pieces[] = {{bytes, cut}, {nullptr, 0}, {bytes + cut, value.size() - cut}};
    EXPECT_EQ(lever_value_check(pieces, 3, nullptr), LEVER_OK) << cut;
    char* text = nullptr;
    size_t size = 0;
    ASSERT_EQ(lever_value_to_json(pieces, 3, &text, &size, nullptr), LEVER_OK) << cut;
    EXPECT_EQ(std::string(text, size), json);
    lever_free(text);
  }
}

// A value that passes the check converts to JSON, and that converts back to a value which reads
// alike.
TEST(ValueAbiTest, MutatedValuesAreRefusedOrSurviveTheWayThroughJson) {
  const std::string original = Everything();
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int passed = 0;
  constexpr int kMutations = 20'000;
  for (int i = 0; i < kMutations; ++i) {
    std::string value = original;
    for (unsigned n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % value.size();
      switch (random() % 4) {
        case 0:
          value[at] = static_cast<char>(random());
          break;
        case 1:
          value[at] ^= static_cast<char>(1 << random() % 8);
          break;
        case 2:
          value.erase(at, 1 + random() % 3);
          break;
        default:
          value.insert(at, 1, static_cast<char>(random()));
          break;
      }
      if (value.empty()) value = "\xc0";
    }
    const std::string json = ToJson(value);
    EXPECT_EQ(IsValue(value), !json.empty());
    if (json.empty()) continue;
    ++passed;
    std::string back;
    ASSERT_TRUE(FromJson(json, &back)) << json;
    EXPECT_TRUE(IsValue(back));
    EXPECT_EQ(ToJson(back), json);
  }
  EXPECT_GT(passed, 0);
  EXPECT_LT(passed, kMutations);
}

TEST(ValueAbiTest, MutatedJsonIsRefusedOrIsAValue) {
  const std::string original = ToJson(Everything());
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string json = original;
    for (unsigned n = 1 + random() % 3; n > 0; --n) {
      const size_t at = random() % json.size();
      if (random() % 2 == 0) {
        json[at] = static_cast<char>(random());
      } else {
        json.erase(at, 1 + random() % 5);
      }
      if (json.empty()) json = "0";
    }
    std::string value;
    if (FromJson(json, &value)) {
      EXPECT_TRUE(IsValue(value)) << json;
    }
  }
}

TEST(ValueAbiTest, PointersThatAreNullAreRefused) {
  const lever_slice null{nullptr, 3};
  char* json = nullptr;
  uint8_t* value = nullptr;
  size_t size = 0;
  EXPECT_EQ(lever_value_check(nullptr, 1, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_value_check(&null, 1, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_value_check(nullptr, 0, nullptr), LEVER_INVALID_ARGUMENT)
      << "nothing is no value";
  EXPECT_EQ(lever_value_to_json(&null, 1, &json, &size, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_value_from_json(nullptr, 3, &value, &size, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_value_from_json("1", 1, nullptr, &size, nullptr), LEVER_INVALID_ARGUMENT);
  lever_free(nullptr);
}

}  // namespace
