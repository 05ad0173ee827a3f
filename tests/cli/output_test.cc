#include "daemon/lever/output.h"

#include <gtest/gtest.h>

#include <string>

namespace lever::cli {
namespace {

TEST(OutputTest, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(Table({{"A", "LONG", "C"}, {"abc", "x", ""}}),
            "A    LONG  C\n"
            "abc  x\n");
  // Characters count, not bytes.
  EXPECT_EQ(Table({{"N", "M"}, {"Zoë", "1"}, {"Anna", "2"}}),
            "N     M\n"
            "Zoë   1\n"
            "Anna  2\n");
}

TEST(OutputTest, TextOfOthersMovesNoCursor) {
  EXPECT_EQ(Plain("a\x1b[2Jb\r\nc\x7f"), "a [2Jb  c ");
  EXPECT_EQ(Plain("tab\tstays, Zoë too"), "tab\tstays, Zoë too");
  EXPECT_EQ(Plain("\xc2\x9b"
                  "2J"),
            "  2J");
  EXPECT_EQ(Plain("\xc2\xa0\xc2"), "\xc2\xa0\xc2");
  EXPECT_EQ(PlainLines("one\n\x1btwo\n"), "one\n two\n");
}

TEST(OutputTest, AgesAndSizesAreShort) {
  EXPECT_EQ(Age(1'999'999'999), "1 s");
  EXPECT_EQ(Age(119LL * 1'000'000'000), "119 s");
  EXPECT_EQ(Age(120LL * 1'000'000'000), "2 min");
  EXPECT_EQ(Age(3LL * 3600 * 1'000'000'000), "3 h");
  EXPECT_EQ(Age(50LL * 3600 * 1'000'000'000), "2 d");
  EXPECT_EQ(Size(1023), "1023 B");
  EXPECT_EQ(Size(1536), "1.5 KiB");
  EXPECT_EQ(Size(3 * 1024 * 1024 / 2), "1.5 MiB");
}

TEST(OutputTest, BytesAreJsonToo) {
  EXPECT_EQ(*ToJson({LEVER_KIND_RAW, "hello!"}), R"({"$bytes":"aGVsbG8h"})");
  EXPECT_EQ(*ToJson({LEVER_KIND_ERROR_RAW, ""}), R"({"$bytes":""})");
  EXPECT_EQ(*ToJson({LEVER_KIND_VALUE,
                     "\xa3"
                     "Ann"}),
            R"("Ann")");
  EXPECT_FALSE(ToJson({LEVER_KIND_VALUE,
                       "\xa3"
                       "An"})
                   .ok());
}

TEST(OutputTest, ErrorsGiveTheirExitCode) {
  const Globals people{.host = "", .environment = ""};
  testing::internal::CaptureStderr();
  EXPECT_EQ(Report(people, NotFound("no service x\nin \x1b[1mdev.lever")), 3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "lever: NOT_FOUND: no service x\nin  [1mdev.lever\n");
  const Globals programs{.host = "", .environment = "", .format = Format::kJson};
  testing::internal::CaptureStderr();
  EXPECT_EQ(Report(programs, Unavailable("gone").WithExecuted(LEVER_EXECUTED_NO)), 4);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            R"({"error":{"code":"UNAVAILABLE","executed":"no","message":"gone"}})"
            "\n");
  EXPECT_EQ(Report(people, Status::Ok()), 0);
}

TEST(OutputTest, AMethodsOwnErrorIsItsValueAndExitCodeOne) {
  for (const Format format : {Format::kPeople, Format::kJson}) {
    const Globals globals{.host = "", .environment = "", .format = format};
    testing::internal::CaptureStderr();
    const Outcome outcome{Status(LEVER_METHOD_ERROR, "x"),
                          {LEVER_KIND_ERROR_VALUE,
                           "\x81\xa1"
                           "a\x01"}};
    EXPECT_EQ(ReportOutcome(globals, outcome), 1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "{\"a\":1}\n");
  }
}

}  // namespace
}  // namespace lever::cli
