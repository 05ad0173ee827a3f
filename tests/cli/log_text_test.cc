#include "daemon/lever/log_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace lever::cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kNow = 1'764'000'000 * kSecond + 123;

int64_t Since(std::string_view text) {
  const StatusOr<int64_t> since = ParseSince(text, kNow);
  EXPECT_TRUE(since.ok()) << since.status().ToString();
  return since.ok() ? *since : -1;
}

TEST(ParseSinceTest, DurationsAreBeforeNow) {
  EXPECT_EQ(Since("90"), 1'764'000'000 * kSecond - 90 * kSecond);
  EXPECT_EQ(Since("30s"), 1'764'000'000 * kSecond - 30 * kSecond);
  EXPECT_EQ(Since("2h"), 1'764'000'000 * kSecond - 7200 * kSecond);
  EXPECT_EQ(Since("1d"), 1'764'000'000 * kSecond - 86'400 * kSecond);
}

TEST(ParseSinceTest, OneBeforeTheFirstMomentIsTheFirst) { EXPECT_EQ(Since("100000d"), kSecond); }

TEST(ParseSinceTest, TimesAreUtcOrLocal) {
  ::setenv("TZ", "UTC-2", 1);
  ::tzset();
  EXPECT_EQ(Since("2025-11-24T16:00:00Z"), 1'764'000'000 * kSecond);
  EXPECT_EQ(Since("2025-11-24T18:00"), 1'764'000'000 * kSecond);
  EXPECT_EQ(Since("2025-11-24 18:00:01"), 1'764'000'001 * kSecond);
  EXPECT_EQ(Since("2025-11-24"), (1'764'000'000 - 18 * 3600) * kSecond);
  ::unsetenv("TZ");
  ::tzset();
}

TEST(ParseSinceTest, AnythingElseIsAnError) {
  for (const char* text :
       {"", "yesterday", "-5m", "5w", "5 m", "99999999999999999999", "9999999999d",
        "2025-11-24T16:00:00+02:00", "2025-13-01", "1h30m", "1969-01-01Z"}) {
    EXPECT_EQ(ParseSince(text, kNow).status().code(), LEVER_INVALID_ARGUMENT) << text;
  }
}

std::string Shown(std::string_view text) {
  const auto fields = StructuredLine(text);
  return fields ? StructuredText(*fields) : "(none)";
}

TEST(StructuredLineTest, LevelAndMessageComeFirst) {
  EXPECT_EQ(Shown(R"({"level":30,"time":1764000000,"pid":7,"msg":"served"})"), "INFO served pid=7");
  EXPECT_EQ(Shown(R"({"event":"a user","level":"warning","timestamp":"x","n":1.5})"),
            "WARNING a user n=1.5");
  EXPECT_EQ(Shown(R"({"severity":"ERROR","message":"no"})"), "ERROR no");
}

TEST(StructuredLineTest, ValuesKeepTheirOrderAndAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(Shown(R"({"msg":"m","z":"two words","a":{"b":[1,null]},"e":""})"),
            R"(m z="two words" a={"b":[1,null]} e="")");
}

TEST(StructuredLineTest, WhatIsNotOneObjectIsText) {
  for (const char* text : {"hello", "{", "{not json}", "{} {}", "[1]", "{}", R"("a")", ""}) {
    EXPECT_EQ(Shown(text), "(none)") << text;
  }
}

TEST(StructuredLineTest, ALevelOfAnotherKindIsAField) {
  EXPECT_EQ(Shown(R"({"level":null,"msg":5})"), "level=null msg=5");
}

}  // namespace
}  // namespace lever::cli
