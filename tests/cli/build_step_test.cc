#include "daemon/lever/build_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace lever::cli {
namespace {

using testing::HasSubstr;

class BuildStepTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lever-build-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
};

TEST_F(BuildStepTest, RunsInTheDirectoryWithItsOutputOnStandardError) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  const Status status = RunBuild(directory_, {"sh", "-c", "pwd; echo $1 > made", "sh", "a b"});
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(directory_));
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(std::filesystem::file_size(directory_ + "/made"), 4u);
}

TEST_F(BuildStepTest, FailuresSayHow) {
  Status status = RunBuild(directory_, {"sh", "-c", "exit 3"});
  EXPECT_EQ(status.code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(status.message(), HasSubstr("exit code 3"));
  status = RunBuild(directory_, {"sh", "-c", "kill -9 $$"});
  EXPECT_THAT(status.message(), HasSubstr("signal 9"));
  status = RunBuild(directory_, {"no-such-program-of-lever"});
  EXPECT_EQ(status.code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(status.message(), HasSubstr("no-such-program-of-lever"));
  EXPECT_THAT(status.message(), HasSubstr("No such file"));
  EXPECT_FALSE(RunBuild(directory_ + "/missing", {"true"}).ok());
}

}  // namespace
}  // namespace lever::cli
