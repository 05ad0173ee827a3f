#include "daemon/lever/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lever::cli {
namespace {

using testing::HasSubstr;

TEST(ArgumentsTest, AreOneArray) {
  StatusOr<Payload> payload = ArgumentsFromJson({"5", " \"Ann\"", "[true,null]"});
  ASSERT_TRUE(payload.ok()) << payload.status().ToString();
  EXPECT_EQ(payload->kind, LEVER_KIND_VALUE);
  EXPECT_EQ(payload->bytes, std::string("\xdd\x00\x00\x00\x03"
                                        "\x05"
                                        "\xa3"
                                        "Ann"
                                        "\x92\xc3\xc0",
                                        13));
}

TEST(ArgumentsTest, NoneAreAnEmptyArray) {
  StatusOr<Payload> payload = ArgumentsFromJson({});
  ASSERT_TRUE(payload.ok());
  EXPECT_EQ(payload->bytes, std::string("\xdd\x00\x00\x00\x00", 5));
}

TEST(ArgumentsTest, ABareWordIsRefusedWithHowToWriteIt) {
  StatusOr<Payload> payload = ArgumentsFromJson({"1", "Ann \"x\""});
  ASSERT_FALSE(payload.ok());
  EXPECT_EQ(payload.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(payload.status().message(), HasSubstr("argument 2"));
  EXPECT_THAT(payload.status().message(), HasSubstr(R"('"Ann \"x\""')"));
}

TEST(ArgumentsTest, TwoValuesInOneArgumentAreRefused) {
  EXPECT_FALSE(ArgumentsFromJson({"1 2"}).ok());
  EXPECT_FALSE(ArgumentsFromJson({""}).ok());
  EXPECT_FALSE(ArgumentsFromJson({"1,2"}).ok());
}

TEST(ArgumentsTest, TimeoutsAreDurationsOrSeconds) {
  EXPECT_EQ(*ParseTimeout(""), 0);
  EXPECT_EQ(*ParseTimeout("5s"), 5'000'000'000);
  EXPECT_EQ(*ParseTimeout("250ms"), 250'000'000);
  EXPECT_EQ(*ParseTimeout("2m"), 120'000'000'000);
  EXPECT_EQ(*ParseTimeout("1.5"), 1'500'000'000);
  for (const char* bad :
       {"0", "0s", "-1s", "soon", "5 s", "s", ".", "5d", "99999999999999999999s"}) {
    StatusOr<int64_t> timeout = ParseTimeout(bad);
    ASSERT_FALSE(timeout.ok()) << bad;
    EXPECT_THAT(timeout.status().message(), HasSubstr("--timeout")) << bad;
  }
}

}  // namespace
}  // namespace lever::cli
