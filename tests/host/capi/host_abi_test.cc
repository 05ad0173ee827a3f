// host.h: starting, failing to start, closing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "lever/host.h"
#include "tests/host/capi/temporary_directory.h"

namespace {

using testing::HasSubstr;

class HostTest : public testing::Test {
 protected:
  HostTest() {
    ::chmod(directory_.path().c_str(), 0755);
    data_dir_ = directory_.path() + "/data";
    options_.size = sizeof(options_);
    options_.data_dir = data_dir_.c_str();
    options_.listen = &listen_;
    options_.listen_count = 1;
    options_.spawner_path = LEVER_BINARY_DIR "/bin/lever-spawner";
  }
  ~HostTest() override { lever_error_destroy(error_); }

  lever_status Start(lever_host** host) {
    lever_error_destroy(error_);
    error_ = nullptr;
    return lever_host_start(&options_, host, &error_);
  }
  static void End(lever_host* host) {
    EXPECT_EQ(lever_host_destroy(host), LEVER_BUSY);
    EXPECT_EQ(lever_host_close(host), LEVER_OK);
    EXPECT_EQ(lever_host_wait(host, 20'000'000'000), LEVER_OK);
    EXPECT_EQ(lever_host_destroy(host), LEVER_OK);
  }

  TemporaryDirectory directory_;
  std::string data_dir_;
  const char* listen_ = "127.0.0.1:0";
  lever_host_options options_{};
  lever_error* error_ = nullptr;
};

TEST_F(HostTest, StartsTellsItsAddressAndEnds) {
  lever_host* host = nullptr;
  ASSERT_EQ(Start(&host), LEVER_OK) << lever_error_message(error_);
  EXPECT_THAT(lever_host_address(host, 0), HasSubstr("127.0.0.1:"));
  EXPECT_STRNE(lever_host_address(host, 0), "127.0.0.1:0");
  EXPECT_EQ(lever_host_address(host, 1), nullptr);
  EXPECT_EQ(lever_host_wait(host, 1), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(lever_host_instance_exited(host, 7, 0, 0), LEVER_NOT_FOUND);
  End(host);
}

TEST_F(HostTest, ASecondHostOnTheSameDirectoryIsRefused) {
  lever_host* first = nullptr;
  ASSERT_EQ(Start(&first), LEVER_OK);
  lever_host* second = nullptr;
  EXPECT_EQ(Start(&second), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(second, nullptr);
  ASSERT_NE(error_, nullptr);
  EXPECT_THAT(lever_error_message(error_), HasSubstr(data_dir_));
  End(first);
  ASSERT_EQ(Start(&second), LEVER_OK) << "after the first one";
  End(second);
}

TEST_F(HostTest, AStartThatFailsLeavesThePortAndTheDirectory) {
  lever_host* host = nullptr;
  const char* beyond = "0.0.0.0:0";
  options_.listen = &beyond;
  EXPECT_EQ(Start(&host), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(lever_error_message(error_), HasSubstr("--insecure"));
  options_.listen = &listen_;
  options_.node_path = "/no/such/node";
  EXPECT_EQ(Start(&host), LEVER_FAILED_PRECONDITION);
  options_.node_path = nullptr;
  options_.spawner_path = "/no/such/spawner";
  EXPECT_NE(Start(&host), LEVER_OK);
  EXPECT_THAT(lever_error_message(error_), HasSubstr("/no/such/spawner"));
  options_.spawner_path = LEVER_BINARY_DIR "/bin/lever-spawner";
  const char* origin = "not an origin";
  options_.cors_origins = &origin;
  options_.cors_origin_count = 1;
  EXPECT_EQ(Start(&host), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(lever_error_message(error_), HasSubstr(origin));
  options_.cors_origin_count = 0;
  options_.service_uids = "5";
  if (::geteuid() == 0) {
    EXPECT_EQ(Start(&host), LEVER_INVALID_ARGUMENT);
  }
  options_.service_uids = nullptr;
  EXPECT_EQ(host, nullptr);
  ASSERT_EQ(Start(&host), LEVER_OK) << lever_error_message(error_);
  End(host);
}

TEST_F(HostTest, AForkedChildIsToldSo) {
  lever_host* host = nullptr;
  ASSERT_EQ(Start(&host), LEVER_OK);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool told = lever_host_close(host) == LEVER_FORKED &&
                      lever_host_wait(host, 0) == LEVER_FORKED &&
                      lever_host_address(host, 0) == nullptr &&
                      lever_host_instance_exited(host, 1, 0, 0) == LEVER_FORKED &&
                      lever_host_destroy(host) == LEVER_FORKED;
    ::_exit(told ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  End(host);
}

}  // namespace
