#include "daemon/lever/build_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

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

TEST_F(BuildStepTest, HasTheEnvironmentThatItIsGiven) {
  testing::internal::CaptureStderr();
  const Status status = RunBuild(directory_, {"sh", "-c", "echo $HOME$LEVER_TEST"},
                                 {{"HOME=/here", "LEVER_TEST=/there"}, -1});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "/here/there\n");
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(BuildStepTest, IsGivenUpWithAllThatItStarted) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  int output[2];
  ASSERT_EQ(::pipe(output), 0);
  // Whoever has the pipe open lives.
  const std::string script = "(trap '' TERM; exec sleep 60) & exec sleep 60";
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(output[1], STDERR_FILENO);
  const Status status = RunBuild(directory_, {"sh", "-c", script}, {{}, ends[0]});
  ::dup2(saved, STDERR_FILENO);
  ::close(output[1]);
  EXPECT_EQ(status.code(), LEVER_CANCELLED) << status.ToString();
  pollfd watched{output[0], POLLIN, 0};
  EXPECT_EQ(::poll(&watched, 1, 10'000), 1) << "something of the build lives";
  for (const int fd : {ends[0], ends[1], output[0], saved}) ::close(fd);
}

TEST_F(BuildStepTest, ThatIsNotGivenUpEndsAsAnyOther) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_TRUE(RunBuild(directory_, {"true"}, {{}, ends[0]}).ok());
  EXPECT_FALSE(RunBuild(directory_, {"false"}, {{}, ends[0]}).ok());
  EXPECT_TRUE(RunBuild(directory_, {"sh", "-c", "! read line"}, {{}, ends[0]}).ok())
      << "it has no input";
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace lever::cli
