// A directory packed and unpacked again: what is in it, what .leverignore leaves out, what is refused.
#include "liblever/host/deploy/pack.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/host/deploy/ignore.h"
#include "liblever/host/deploy/unpack.h"
#include "tests/host/deploy/temporary_directory.h"

namespace lever::deploy {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Pack : public ::testing::Test {
 protected:
  Pack() { from_.Write("lever.json", R"({"name": "hello"})"); }

  StatusOr<PackedBundle> PackTo(const std::string& file, const BundleLimits& limits = {}) {
    std::ofstream out(work_ / file, std::ios::binary);
    const auto sink = [&](std::string_view packed) {
      out << packed;
      return Status::Ok();
    };
    return PackDirectory(from_.path(), sink, limits);
  }
  // Packs and unpacks; the paths of what came out, in order.
  std::vector<std::string> RoundTrip() {
    std::vector<std::string> paths;
    const auto packed = PackTo("bundle");
    EXPECT_TRUE(packed.ok()) << packed.status().ToString();
    if (!packed.ok()) return paths;
    fs::remove_all(work_ / "tree");
    const UniqueFd bundle(::open((work_ / "bundle").c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd parent(::open(work_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto unpacked = UnpackBundle(bundle.get(), parent.get(), "tree", {});
    EXPECT_TRUE(unpacked.ok()) << unpacked.status().ToString();
    if (!unpacked.ok()) return paths;
    EXPECT_EQ(unpacked->entries, packed->entries);
    EXPECT_EQ(unpacked->unpacked_bytes, packed->unpacked_bytes);
    EXPECT_EQ(fs::file_size(work_ / "bundle"), static_cast<uintmax_t>(packed->packed_bytes));
    for (const auto& entry : fs::recursive_directory_iterator(work_ / "tree")) {
      paths.push_back(fs::relative(entry.path(), work_ / "tree"));
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  std::string Refusal(const BundleLimits& limits = {}) {
    const auto packed = PackTo("bundle", limits);
    EXPECT_FALSE(packed.ok());
    return packed.ok() ? "" : packed.status().message();
  }

  TemporaryDirectory from_;
  TemporaryDirectory work_;
};

TEST_F(Pack, ComesOutOfItsBundleAsItWas) {
  from_.Write("serve", "#!/bin/sh\n");
  from_.Write("lib/deep/\xc3\xa4 file", std::string(100'000, 'x') + '\0' + "end");
  from_.Write("lib/empty", "");
  from_.Write(std::string(200, 'n') + "/" + std::string(200, 'm'));
  fs::create_directory(from_ / "lib/nothing");
  fs::create_symlink("../serve", from_ / "lib/link");
  fs::create_directory_symlink("lib", from_ / "to-lib");
  fs::permissions(from_ / "serve", fs::perms(0700));
  fs::permissions(from_ / "lib/empty", fs::perms(0600));
  EXPECT_EQ(RoundTrip().size(), 11u);
  EXPECT_EQ(ReadFile(work_ / "tree/lib/deep/\xc3\xa4 file"), ReadFile(from_ / "lib/deep/\xc3\xa4 file"));
  EXPECT_EQ(fs::read_symlink(work_ / "tree/lib/link"), "../serve");
  EXPECT_TRUE(fs::is_directory(work_ / "tree/lib/nothing"));
  EXPECT_EQ(fs::status(work_ / "tree/serve").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(work_ / "tree/lib/empty").permissions(), fs::perms(0644));
  EXPECT_EQ(fs::status(work_ / "tree/lib").permissions(), fs::perms(0755));
}

TEST_F(Pack, TheSameFilesGiveTheSameBytes) {
  from_.Write("b", "2");
  from_.Write("a/c", "1");
  ASSERT_TRUE(PackTo("one").ok());
  // Made in another order, at another time, with other owners' modes.
  fs::remove_all(from_ / "a");
  fs::remove(from_ / "b");
  from_.Write("a/c", "1");
  from_.Write("b", "2");
  fs::permissions(from_ / "b", fs::perms(0600));
  fs::last_write_time(from_ / "b", fs::file_time_type::min() + std::chrono::hours(24 * 365 * 40));
  ASSERT_TRUE(PackTo("two").ok());
  EXPECT_EQ(ReadFile(work_ / "one"), ReadFile(work_ / "two"));
}

TEST_F(Pack, LeavesOutWhatLeverignoreSaysAndWhatIsNeverPacked) {
  from_.Write(".leverignore", "*.log\n/build\ncache/\n!keep.log\nlever.json\n");
  from_.Write("a.log");
  from_.Write("keep.log");
  from_.Write("src/b.log");
  from_.Write("src/main.js");
  from_.Write("src/build/x");
  from_.Write("build/x");
  from_.Write("cache/x");
  from_.Write("src/cache/x");
  from_.Write("src/.leverignore", "main.js");
  from_.Write(".git/config");
  from_.Write("src/.git/config");
  from_.Write(".DS_Store");
  EXPECT_THAT(RoundTrip(), ElementsAre("keep.log", "lever.json", "src", "src/.leverignore", "src/build",
                                       "src/build/x", "src/main.js"));
}

TEST_F(Pack, RefusesByNameWhatAHostWouldRefuse) {
  ASSERT_EQ(::mkfifo((from_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(Refusal(), HasSubstr("\"pipe\" is a FIFO"));
  fs::remove(from_ / "pipe");

  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (from_ / "sock").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(Refusal(), HasSubstr("\"sock\" is a socket"));
  fs::remove(from_ / "sock");

  fs::create_symlink("/etc/passwd", from_ / "link");
  EXPECT_THAT(Refusal(), HasSubstr("its target is absolute"));
  fs::remove(from_ / "link");
  fs::create_symlink("../x", from_ / "link");
  EXPECT_THAT(Refusal(), HasSubstr("leads outside the bundle"));
  fs::remove(from_ / "link");
  fs::create_symlink("nowhere", from_ / "link");
  EXPECT_THAT(Refusal(), HasSubstr("leads to nothing"));
  fs::remove(from_ / "link");
  fs::create_symlink("link", from_ / "link");
  EXPECT_THAT(Refusal(), HasSubstr("in a circle"));
  fs::remove(from_ / "link");
  from_.Write("hidden.log");
  from_.Write(".leverignore", "*.log");
  fs::create_symlink("hidden.log", from_ / "link");
  EXPECT_THAT(Refusal(), HasSubstr("leads to what is not packed"));
  fs::remove(from_ / "link");

  from_.Write("caf\xe9");
  EXPECT_THAT(Refusal(), HasSubstr("is not UTF-8"));
  fs::remove(from_ / "caf\xe9");

  fs::remove(from_ / "lever.json");
  EXPECT_THAT(Refusal(), HasSubstr("there is no lever.json"));
  fs::create_directory(from_ / "lever.json");
  EXPECT_THAT(Refusal(), HasSubstr("not a file of its own"));
}

TEST_F(Pack, KeepsToTheLimitsOfTheHost) {
  BundleLimits limits;
  limits.entries_max = 3;
  for (const char* name : {"a", "b", "c"}) from_.Write(name);
  EXPECT_THAT(Refusal(limits), HasSubstr("more than 3 files"));
  limits = BundleLimits();
  limits.depth_max = 2;
  from_.Write("x/y/z");
  EXPECT_THAT(Refusal(limits), HasSubstr("more than 2 directories deep"));
  limits = BundleLimits();
  limits.unpacked_bytes_max = kMebibyte;
  from_.Write("large", std::string(2 * kMebibyte, '0'));
  EXPECT_THAT(Refusal(limits), HasSubstr("more than 1 MiB to pack"));
  EXPECT_THAT(Refusal(limits), HasSubstr(".leverignore"));
}

TEST_F(Pack, GivesABundleOnInPiecesAndEndsWhereTheyAreNotWanted) {
  // What does not compress, so that there is something to give on before the end.
  std::mt19937 random(1);
  std::string noise(4 * kMebibyte, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  from_.Write("noise", noise);
  int pieces = 0;
  const auto sink = [&](std::string_view packed) {
    EXPECT_LT(packed.size(), 512u * 1024);
    return ++pieces == 3 ? Cancelled("enough") : Status::Ok();
  };
  const auto packed = PackDirectory(from_.path(), sink);
  EXPECT_EQ(packed.status().code(), LEVER_CANCELLED);
  EXPECT_EQ(pieces, 3);
}

TEST(Ignore, MatchesAsGitignoreDoes) {
  struct Row {
    const char* pattern;
    const char* path;
    bool matches;
  };
  const Row rows[] = {
      {"*.log", "a.log", true},         {"*.log", "d/e/a.log", true},
      {"*.log", "a.log.txt", false},    {"/a", "a", true},
      {"/a", "d/a", false},             {"a/b", "a/b", true},
      {"a/b", "x/a/b", false},          {"a/*", "a/b", true},
      {"a/*", "a/b/c", false},          {"a/**", "a/b/c", true},
      {"a/**", "a", false},             {"**/b", "b", true},
      {"**/b", "x/y/b", true},          {"a/**/b", "a/b", true},
      {"a/**/b", "a/x/y/b", true},      {"a/**/b", "a/xb", false},
      {"?at", "cat", true},             {"?at", "at", false},
      {"[a-c]at", "bat", true},         {"[!a-c]at", "bat", false},
      {"[^a-c]at", "rat", true},        {"[]-]", "-", true},
      {"[ab", "[ab", true},             {"a\\*b", "a*b", true},
      {"a\\*b", "axb", false},          {"*", "anything", true},
      {"a*b*c", "aXbYbZc", true},       {"a*b*c", "aXbY", false},
      {"\\#x", "#x", true},             {"\\!x", "!x", true},
      {"a?b", "a/b", false},            {"[a/b]x", "/x", false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(IgnoreRules::Parse(row.pattern).Excludes(row.path, PathKind::kFile), row.matches)
        << row.pattern << " and " << row.path;
  }
}

TEST(Ignore, TheLastMatchDecidesAndCommentsAndBlanksAreNone) {
  const auto rules = IgnoreRules::Parse("# *.c\n\n*.o\r\n!keep.o\nbin/   \n!\n/\nspace\\ \nkeep.o.bak");
  EXPECT_TRUE(rules.Excludes("a.o", PathKind::kFile));
  EXPECT_FALSE(rules.Excludes("keep.o", PathKind::kFile));
  EXPECT_FALSE(rules.Excludes("a.c", PathKind::kFile));
  EXPECT_TRUE(rules.Excludes("x/bin", PathKind::kDirectory));
  EXPECT_FALSE(rules.Excludes("x/bin", PathKind::kFile));
  EXPECT_TRUE(rules.Excludes("space ", PathKind::kFile));
}

TEST(Ignore, APatternMadeToBacktrackIsQuick) {
  std::string pattern, text(5000, 'a');
  for (int i = 0; i < 500; ++i) pattern += "a*";
  EXPECT_FALSE(GlobMatches(pattern + "b", text));
  std::string deep = "a";
  std::string stars = "**";
  for (int i = 0; i < 200; ++i) {
    deep += "/a";
    stars += "/**/a";
  }
  EXPECT_TRUE(GlobMatches(stars, deep));
  EXPECT_FALSE(GlobMatches(stars + "/b", deep));
}

}  // namespace
}  // namespace lever::deploy
