#include "liblever/host/capi/data_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/host/capi/temporary_directory.h"

namespace lever::host {
namespace {

mode_t ModeOf(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

TEST(DataDir, IsMadeForItsOwnerAlone) {
  const TemporaryDirectory directory;
  const std::string data = directory.path() + "/a/b/data";
  ASSERT_TRUE(PrepareDataDir(data, ServiceUsers::kSame).ok());
  EXPECT_EQ(ModeOf(data), 0700u);
  EXPECT_TRUE(PrepareDataDir(data, ServiceUsers::kSame).ok()) << "again";
}

TEST(DataDir, LetsServicesOfOtherUsersPassThrough) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  const std::string data = directory.path() + "/data";
  ASSERT_TRUE(PrepareDataDir(data, ServiceUsers::kSeparate).ok());
  EXPECT_EQ(ModeOf(data), 0711u);
}

TEST(DataDir, ThatServicesCannotReachIsRefusedByName) {
  const TemporaryDirectory directory;  // mkdtemp: 0700
  const Status status = PrepareDataDir(directory.path() + "/data", ServiceUsers::kSeparate);
  EXPECT_EQ(status.code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(status.message(), testing::HasSubstr("chmod o+x " + directory.path()));
}

TEST(DataDir, BelowAFileIsRefused) {
  const Status status = PrepareDataDir("/proc/version/data", ServiceUsers::kSame);
  EXPECT_EQ(status.code(), LEVER_FAILED_PRECONDITION);
}

}  // namespace
}  // namespace lever::host
