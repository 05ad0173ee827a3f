// What `lever dev` takes for a change: which files matter, what two looks at a tree tell apart, and what
// a build step wrote itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <utime.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/lever-dev/build_outputs.h"
#include "daemon/lever-dev/known_build.h"
#include "daemon/lever-dev/watch_scope.h"
#include "daemon/lever-dev/watched_tree.h"

namespace lever::cli {
namespace {

using deploy::PathKind;
using testing::ElementsAre;
using testing::IsEmpty;
namespace fs = std::filesystem;

TEST(WatchScope, WithoutABuildItIsWhatIsPacked) {
  const WatchScope scope("*.log\nsrc/\n.leverignore\nlever.json\n", "dist/\n", HasBuild::kNo);
  EXPECT_TRUE(scope.Watches("service.js", PathKind::kFile));
  EXPECT_TRUE(scope.Watches("dist", PathKind::kDirectory)) << ".gitignore says nothing of bundles";
  EXPECT_TRUE(scope.Watches(".leverignore", PathKind::kFile)) << "it decides what is packed";
  EXPECT_TRUE(scope.Watches("lever.json", PathKind::kFile)) << "which is always packed";
  EXPECT_FALSE(scope.Watches("a.log", PathKind::kFile));
  EXPECT_FALSE(scope.Watches("src", PathKind::kDirectory));
  EXPECT_FALSE(scope.Watches(".git", PathKind::kDirectory));
  EXPECT_FALSE(scope.Watches("a/.git", PathKind::kDirectory));
}

TEST(WatchScope, WithABuildWhatIsNotPackedMayBeItsInput) {
  const WatchScope scope("src/\nbuild/\n*.pyc\n", "build/\n*.pyc\ndist/\n", HasBuild::kYes);
  EXPECT_TRUE(scope.Watches("src", PathKind::kDirectory));
  EXPECT_TRUE(scope.Watches("dist", PathKind::kDirectory)) << "it is packed";
  EXPECT_FALSE(scope.Watches("build", PathKind::kDirectory));
  EXPECT_FALSE(scope.Watches("x.pyc", PathKind::kFile));
  EXPECT_FALSE(scope.Watches(".git", PathKind::kDirectory));
}

class WatchedTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lever-watch-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(root_ + "/" + path) << text;
  }
  static TreeState Look(WatchedTree& tree) {
    StatusOr<TreeState> state = tree.Look(WatchScope("skipped/\n", "", HasBuild::kNo));
    EXPECT_TRUE(state.ok()) << state.status().ToString();
    return state.ok() ? *state : TreeState();
  }
  static bool Wakes(const WatchedTree& tree) {
    pollfd watched{tree.fd(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  }

  std::string root_;
};

TEST_F(WatchedTreeTest, AnEditWakesAndIsFound) {
  Write("a", "one");
  WatchedTree tree(root_);
  const TreeState before = Look(tree);
  EXPECT_FALSE(Wakes(tree));
  Write("a", "other");
  EXPECT_TRUE(Wakes(tree));
  EXPECT_TRUE(tree.TakeEvents());
  EXPECT_FALSE(Wakes(tree));
  EXPECT_THAT(ChangedPaths(before, Look(tree)), ElementsAre("a"));
}

TEST_F(WatchedTreeTest, AFileThatTakesTheNameOfAnotherIsAChange) {
  Write("a", "one");
  WatchedTree tree(root_);
  const TreeState before = Look(tree);
  Write(".a.swp", "three");
  fs::rename(root_ + "/.a.swp", root_ + "/a");
  EXPECT_TRUE(Wakes(tree));
  EXPECT_THAT(ChangedPaths(before, Look(tree)), ElementsAre("a"));
}

TEST_F(WatchedTreeTest, WhatHappensInANewDirectoryWakes) {
  WatchedTree tree(root_);
  TreeState before = Look(tree);
  fs::create_directories(root_ + "/x/y");
  Write("x/y/early", "there before anybody looks");
  EXPECT_TRUE(tree.TakeEvents());
  TreeState now = Look(tree);
  EXPECT_THAT(ChangedPaths(before, now), ElementsAre("x", "x/y", "x/y/early"));
  tree.TakeEvents();
  Write("x/y/late", "");
  EXPECT_TRUE(Wakes(tree));
  EXPECT_THAT(ChangedPaths(now, Look(tree)), ElementsAre("x/y/late"));
}

TEST_F(WatchedTreeTest, WhatIsNotWatchedDoesNotWake) {
  fs::create_directory(root_ + "/skipped");
  WatchedTree tree(root_);
  const TreeState before = Look(tree);
  Write("skipped/a", "");
  EXPECT_FALSE(Wakes(tree));
  EXPECT_THAT(ChangedPaths(before, Look(tree)), IsEmpty());
}

TEST_F(WatchedTreeTest, TheSameFileMadeAnewIsNoChange) {
  Write("a", "same");
  const struct utimbuf then = {1, 1};
  ASSERT_EQ(::utime((root_ + "/a").c_str(), &then), 0);
  WatchedTree tree(root_);
  const TreeState before = Look(tree);
  fs::remove(root_ + "/a");
  Write("a", "same");
  ASSERT_EQ(::utime((root_ + "/a").c_str(), &then), 0);
  EXPECT_THAT(ChangedPaths(before, Look(tree)), IsEmpty());
}

TEST_F(WatchedTreeTest, ModesAndLinksCount) {
  Write("a", "");
  fs::create_symlink("a", root_ + "/link");
  WatchedTree tree(root_);
  const TreeState before = Look(tree);
  ::chmod((root_ + "/a").c_str(), 0755);
  fs::remove(root_ + "/link");
  fs::create_symlink("abc", root_ + "/link");
  EXPECT_THAT(ChangedPaths(before, Look(tree)), ElementsAre("a", "link"));
}

TEST_F(WatchedTreeTest, ADirectoryThatIsGoneIsAnErrorAndComesBack) {
  WatchedTree tree(root_);
  fs::remove(root_);
  const WatchScope scope("", "", HasBuild::kNo);
  EXPECT_EQ(tree.Look(scope).status().code(), LEVER_NOT_FOUND);
  fs::create_directory(root_);
  EXPECT_TRUE(tree.Look(scope).ok());
  tree.TakeEvents();
  Write("a", "");
  EXPECT_TRUE(Wakes(tree));
}

TEST_F(WatchedTreeTest, WithoutInotifyItSaysSoAndStillFindsWhatChanged) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  rlimit none = files;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  WatchedTree tree(root_);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_THAT(tree.polls(), testing::HasSubstr("max_user_instances"));
  EXPECT_EQ(tree.fd(), -1);
  const TreeState before = Look(tree);
  Write("a", "");
  EXPECT_FALSE(tree.TakeEvents());
  EXPECT_THAT(ChangedPaths(before, Look(tree)), ElementsAre("a"));
}

FileState At(int64_t modified_ns) { return {S_IFREG | 0644, 1, modified_ns}; }

TEST(BuildOutputs, WhatIsNewAfterABuildIsTheBuilds) {
  BuildOutputs outputs;
  EXPECT_FALSE(outputs.OnBuilt({{"main.go", At(1)}}, {{"main.go", At(1)}, {"serve", At(2)}}));
  EXPECT_FALSE(outputs.OnBuilt({{"main.go", At(1)}, {"serve", At(2)}},
                               {{"main.go", At(1)}, {"serve", At(3)}}));
}

TEST(BuildOutputs, WhatWasThereMayBeAnEditAndIsTheBuildsWhenItChangesAgain) {
  BuildOutputs outputs;
  EXPECT_TRUE(outputs.OnBuilt({{"serve", At(1)}}, {{"serve", At(2)}}));
  EXPECT_FALSE(outputs.OnBuilt({{"serve", At(2)}}, {{"serve", At(3)}}));
  EXPECT_FALSE(outputs.OnBuilt({{"serve", At(3)}}, {{"serve", At(4)}}));
}

TEST(BuildOutputs, AnEditWhileABuildRunsIsBuilt) {
  BuildOutputs outputs;
  EXPECT_TRUE(outputs.OnBuilt({{"a.ts", At(1)}}, {{"a.ts", At(2)}}));
  EXPECT_FALSE(outputs.OnBuilt({{"a.ts", At(2)}}, {{"a.ts", At(2)}}));
}

TEST(BuildOutputs, ASourceThatIsSavedDuringEveryBuildStaysASource) {
  BuildOutputs outputs;
  outputs.OnEdited({"a.ts"});
  for (int64_t i = 1; i < BuildOutputs::kBuildsMax; ++i) {
    EXPECT_TRUE(outputs.OnBuilt({{"a.ts", At(i)}}, {{"a.ts", At(i + 1)}})) << i;
  }
  outputs.OnEdited({"a.ts"});
  EXPECT_TRUE(outputs.OnBuilt({{"a.ts", At(100)}}, {{"a.ts", At(101)}}));
}

TEST(BuildOutputs, ABuildThatRewritesItsSourcesEachTimeComesToAnEnd) {
  BuildOutputs outputs;
  outputs.OnEdited({"version.txt"});
  int builds = 1;
  while (outputs.OnBuilt({{"version.txt", At(builds)}}, {{"version.txt", At(builds + 1)}})) ++builds;
  EXPECT_EQ(builds, BuildOutputs::kBuildsMax);
}

TEST(BuildOutputs, ABuildThatChangesOneFileAndThenAnotherComesToAnEnd) {
  BuildOutputs outputs;
  const TreeState state = {{"a", At(1)}, {"b", At(1)}};
  TreeState changed = state;
  changed["a"] = At(2);
  EXPECT_TRUE(outputs.OnBuilt(state, changed));
  TreeState other = state;
  other["b"] = At(2);
  EXPECT_TRUE(outputs.OnBuilt(state, other));
  EXPECT_FALSE(outputs.OnBuilt(state, changed));
  EXPECT_FALSE(outputs.OnBuilt(state, other));
}

using KnownBuildTest = WatchedTreeTest;

TEST_F(KnownBuildTest, NpmInstallsWhatIsLocked) {
  const std::vector<std::string> npm = {"npm", "ci", "--omit=dev", "--no-audit", "--no-fund"};
  EXPECT_FALSE(KnownBuildOf(npm, root_)) << "without a package.json it fails";
  Write("package.json", R"({"dependencies": {"a": "^1.0.0"}, "scripts": {"test": "node --test"}})");
  const auto known = KnownBuildOf(npm, root_);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->output, "node_modules");
  EXPECT_TRUE(known->inputs.contains("package-lock.json"));
  for (const char* other : {R"({"scripts": {"prepare": "tsc"}})", R"({"workspaces": ["a"]})",
                            R"({"dependencies": {"a": "file:../a"}})",
                            R"({"devDependencies": {"a": "owner/a"}})", "{", "[]",
                            R"({"dependencies": {"a": 1}})"}) {
    Write("package.json", other);
    EXPECT_FALSE(KnownBuildOf(npm, root_)) << other;
  }
  Write("package.json", "{}");
  EXPECT_TRUE(KnownBuildOf(npm, root_));
  EXPECT_FALSE(KnownBuildOf({"npm", "ci", "--prefix", "x"}, root_));
  EXPECT_FALSE(KnownBuildOf({"npm", "run", "build"}, root_));
  EXPECT_FALSE(KnownBuildOf({"sh", "-c", "npm ci && npx tsc"}, root_));
}

TEST_F(KnownBuildTest, PipInstallsWhatIsListed) {
  const std::vector<std::string> pip = {"python3", "-m", "pip", "install", "-q", "-r", "list.txt",
                                        "--target", "packages"};
  EXPECT_FALSE(KnownBuildOf(pip, root_)) << "without the list it fails";
  Write("list.txt", "# names\nnumpy==2.1\n\nrequests >= 2");
  const auto known = KnownBuildOf(pip, root_);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->output, "packages");
  EXPECT_THAT(known->inputs, ElementsAre("list.txt"));
  for (const char* other : {"./mine", "-r more.txt", "mine @ file:///x", "-e ."}) {
    Write("list.txt", other);
    EXPECT_FALSE(KnownBuildOf(pip, root_)) << other;
  }
  Write("list.txt", "");
  const auto same = KnownBuildOf({"pip", "install", "-r", "./list.txt", "-t", "./packages/"}, root_);
  ASSERT_TRUE(same);
  EXPECT_EQ(*same, *known) << "paths are those of the watched tree";
  // What is not in the tree is not watched: every change has to run it.
  const std::string absolute = root_ + "/list.txt";
  for (const std::string& elsewhere : {absolute, "../" + fs::path(root_).filename().string() + "/list.txt"}) {
    EXPECT_FALSE(KnownBuildOf({"pip", "install", "-r", elsewhere, "-t", "packages"}, root_));
    EXPECT_FALSE(KnownBuildOf({"pip", "install", "-r", "list.txt", "-t", elsewhere}, root_));
  }
  EXPECT_FALSE(KnownBuildOf({"pip", "install", "-r", "list.txt", "-t", "."}, root_));
  EXPECT_FALSE(KnownBuildOf({"pip", "install", "-r", "list.txt"}, root_));
  EXPECT_FALSE(KnownBuildOf({"pip", "install", "-r", "list.txt", "-t", "p", "."}, root_));
  EXPECT_FALSE(KnownBuildOf({"pip", "install", "-t", "p", "-r"}, root_));
  EXPECT_FALSE(KnownBuildOf({"go", "build"}, root_));
}

TEST(KnownBuild, IsAffectedByItsInputsAndByWhatItMade) {
  const KnownBuild build{{"list.txt"}, "packages"};
  const TreeState before = {{"a.py", At(1)}, {"list.txt", At(1)}, {"packages/x", At(1)}};
  TreeState after = before;
  after["a.py"] = At(2);
  after["packages2"] = At(2);
  EXPECT_FALSE(build.Affected(before, after));
  after["list.txt"] = At(2);
  EXPECT_TRUE(build.Affected(before, after));
  after = before;
  after.erase("packages/x");
  EXPECT_TRUE(build.Affected(before, after));
  after = before;
  after.erase("list.txt");
  EXPECT_TRUE(build.Affected(before, after));
}

}  // namespace
}  // namespace lever::cli
