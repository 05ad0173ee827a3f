// The reader of plain texts against the one of all: what it takes, and that both agree.
#include "liblever/value/json_plain.h"

#include <gtest/gtest.h>

#include "liblever/value/limits.h"
#include "tests/value/mutation.h"

namespace lever::value {
namespace {

bool Takes(std::string_view json) {
  std::string value;
  return ReadPlainJson(json, &value);
}

// Taken by both, with the same bytes; or not by the plain one.
void ExpectAgreement(const std::string& json) {
  std::string value;
  if (!ReadPlainJson(json, &value)) return;
  const auto any = ReadAnyJson(json);
  ASSERT_TRUE(any.ok()) << json << " " << any.status().ToString();
  ASSERT_EQ(*any, value) << json;
}

TEST(PlainJson, TakesWhatCallsAreMadeOf) {
  for (const char* json :
       {"[]", "[\"Ann\", 5]", " [ true , false,null ] ", "{\"a\":{\"b\":[1,-1]},\"c\":\"\"}",
        "[\"\u00e4\u20ac\"]", "0", "-129", "[999999999999999999,-999999999999999999]"}) {
    EXPECT_TRUE(Takes(json)) << json;
    ExpectAgreement(json);
  }
}

TEST(PlainJson, LeavesTheRestToTheOther) {
  for (const std::string json :
       {"", " ", "[", "[1,]", "[1 2]", "[1.5]", "1e3", "-0", "01", "-", "1000000000000000000", "tru",
        "truex", "[1]]", "{\"a\"}", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"$bytes\":\"\"}",
        "{\"a\":1,\"$b\":2}", "\"\\n\"", "\"\n\"", "\"\xff\"", "\"", "\xef\xbb\xbf[]", "[1}"}) {
    EXPECT_FALSE(Takes(json)) << json;
  }
  EXPECT_FALSE(Takes(std::string("[1]\0", 4)));
  EXPECT_FALSE(Takes(std::string(100, '[') + std::string(100, ']')));
}

TEST(PlainJson, WritesHeadersAndIntegersOfEverySize) {
  for (const int size : {0, 1, 15, 16, 31, 32, 255, 256, 3000}) {
    std::string array = "[", map = "{";
    for (int i = 0; i < size; ++i) array += (i > 0 ? ",0" : "0");
    for (int i = 0; i < std::min(size, 32); ++i) {
      map += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":[]";
    }
    const std::string text = "\"" + std::string(static_cast<size_t>(size), 'x') + "\"";
    for (const std::string& json : {array + "]", map + "}", text, "[" + array + "]," + text + "]"}) {
      EXPECT_TRUE(Takes(json)) << json;
      ExpectAgreement(json);
    }
  }
  for (int64_t number = 1; number < 999'999'999'999'999'999 / 2; number *= 2) {
    for (const int64_t near : {number - 1, number, number + 1, -number - 1, -number, -number + 1}) {
      if (near == 0) continue;
      EXPECT_TRUE(Takes(std::to_string(near))) << near;
      ExpectAgreement(std::to_string(near));
    }
  }
}

TEST(PlainJson, AgreesOnTwentyThousandMutations) {
  const std::vector<std::string> seeds = {
      "[\"Ann\",5,{\"a\":[true,null],\"b\":-7}]", "{\"k\":\"\u00e4\",\"l\":{}}", "[[[[]]],1,2,3]"};
  Random random(TestSeed());
  int taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string json = Mutated(seeds, "[]{},:\"0123456789-tfn \\$.e", &random);
    taken += Takes(json) ? 1 : 0;
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement(json));
  }
  EXPECT_GT(taken, 1000);
}

}  // namespace
}  // namespace lever::value
