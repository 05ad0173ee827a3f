#include "liblever/host/capi/runtimes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/host/capi/temporary_directory.h"

namespace lever::host {
namespace {

using testing::HasSubstr;

class RuntimesTest : public testing::Test {
 protected:
  // A program that answers so when it is asked.
  std::string Program(const std::string& name, const std::string& answer) {
    const std::string path = directory_.path() + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << answer << "\n";
    ::chmod(path.c_str(), 0755);
    return path;
  }
  // A runtime folder with the Node package in it.
  std::string RuntimeDir() {
    const std::string package = directory_.path() + "/runtime/node/node_modules/lever";
    std::filesystem::create_directories(package);
    std::ofstream(package + "/launcher.js") << "// launches\n";
    return directory_.path() + "/runtime";
  }

  TemporaryDirectory directory_;
};

TEST_F(RuntimesTest, AreAskedForTheirVersion) {
  const auto runtimes = FindRuntimes(Program("n", "echo v20.11.1"), "", RuntimeDir(), ServiceUsers::kSame);
  ASSERT_TRUE(runtimes.ok()) << runtimes.status().ToString();
  EXPECT_EQ(runtimes->node.version, "20.11.1");
  EXPECT_EQ(runtimes->node.launcher, RuntimeDir() + "/node/node_modules/lever/launcher.js");
}

TEST_F(RuntimesTest, ThatAreChosenByAScriptAreStartedWithoutIt) {
  const std::string real = Program("real", "echo v20.11.1");
  const std::string shim = Program("shim", "echo v20.11.1; echo " + real);
  EXPECT_EQ(FindRuntimes(shim, "", RuntimeDir(), ServiceUsers::kSame)->node.path, real);
  const std::string lost = Program("lost", "echo v20.11.1; echo " + real + "-is-gone");
  EXPECT_EQ(FindRuntimes(lost, "", RuntimeDir(), ServiceUsers::kSame)->node.path, lost);
}

TEST_F(RuntimesTest, ThatWereGivenAndDoNotWorkFailTheStart) {
  for (const auto& [program, why] :
       {std::pair(directory_.path() + "/missing", "missing"),
        std::pair(Program("old", "echo v18.0.0"), "20 or later"),
        std::pair(Program("mute", "exit 0"), "20 or later")}) {
    const auto runtimes = FindRuntimes(program, "", RuntimeDir(), ServiceUsers::kSame);
    ASSERT_FALSE(runtimes.ok()) << program;
    EXPECT_EQ(runtimes.status().code(), LEVER_FAILED_PRECONDITION);
    EXPECT_THAT(runtimes.status().message(), HasSubstr(why));
  }
}

TEST_F(RuntimesTest, ThatAreNotThereAreNamedAndNotNeeded) {
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", directory_.path().c_str(), 1);
  const auto runtimes = FindRuntimes("", "", RuntimeDir(), ServiceUsers::kSame);
  ::setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(runtimes.ok());
  EXPECT_EQ(runtimes->node.version, "");
  EXPECT_THAT(runtimes->node.error, HasSubstr("no node on this host's PATH"));
}

TEST_F(RuntimesTest, ThatServicesCannotReachSayWhatIsClosed) {
  const std::string program = Program("n", "echo v20.11.1");
  const std::string runtime_dir = RuntimeDir();
  const auto closed = FindRuntimes(program, "", runtime_dir, ServiceUsers::kSeparate);
  ASSERT_FALSE(closed.ok());
  EXPECT_THAT(closed.status().message(), HasSubstr("chmod o+x " + directory_.path()));
  ::chmod(directory_.path().c_str(), 0755);
  EXPECT_TRUE(FindRuntimes(program, "", runtime_dir, ServiceUsers::kSeparate).ok());
}

TEST_F(RuntimesTest, ThatServicesCannotReachBehindALinkSayWhatIsClosed) {
  const std::string program = Program("n", "echo v20.11.1");
  const std::string runtime_dir = RuntimeDir();
  ::chmod(directory_.path().c_str(), 0755);
  const std::string folder = directory_.path() + "/closed";
  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  ASSERT_EQ(::rename(program.c_str(), (folder + "/n").c_str()), 0);
  ASSERT_EQ(::symlink((folder + "/n").c_str(), program.c_str()), 0);
  const auto closed = FindRuntimes(program, "", runtime_dir, ServiceUsers::kSeparate);
  ASSERT_FALSE(closed.ok());
  EXPECT_THAT(closed.status().message(), HasSubstr("chmod o+x " + folder));
}

TEST_F(RuntimesTest, WithoutTheirPackageSayWhatIsMissing) {
  const auto runtimes = FindRuntimes("", Program("p", "echo Python 3.11.2"), RuntimeDir(), ServiceUsers::kSame);
  ASSERT_FALSE(runtimes.ok());
  EXPECT_THAT(runtimes.status().message(), HasSubstr("launcher.py"));
}

}  // namespace
}  // namespace lever::host
