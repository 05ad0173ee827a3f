// Hostile and broken bundles, through the door that an upload takes: each gets an error that says what
// is wrong, and leaves nothing on the disk, inside the data directory or beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/host/deploy/bundle_store.h"
#include "tests/host/deploy/bundle_maker.h"

namespace lever::deploy {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Case {
  std::string name;
  std::string packed;
  std::string says;  // part of the message
  lever_status code = LEVER_INVALID_ARGUMENT;
};

BundleLimits SmallLimits() {
  BundleLimits limits;
  limits.packed_bytes_max = 256 * 1024;
  limits.unpacked_bytes_max = 2 * kMebibyte;
  limits.entries_max = 100;
  limits.links_max = 10;
  limits.depth_max = 8;
  return limits;
}

std::string Repeated(int times, const std::function<std::string(int)>& entry) {
  std::string all;
  for (int i = 0; i < times; ++i) all += entry(i);
  return all;
}

std::string Nested(int depth) {
  std::string path = "d";
  std::string all;
  for (int i = 0; i < depth; ++i) {
    all += Directory(path + "/");
    path += "/d";
  }
  return all;
}

// A good manifest, then what is wrong, then the end.
Case Wrong(std::string name, std::string entries, std::string says,
           lever_status code = LEVER_INVALID_ARGUMENT) {
  return {std::move(name), Zstd(Manifest() + entries + End()), std::move(says), code};
}

std::vector<Case> Paths() {
  const std::string outside = "/tmp/lever-hostile";
  return {
      Wrong("an absolute path", File(outside), "is absolute"),
      Wrong("an absolute path in a PAX record",
            Pax(PaxRecord("path", outside)) + File("innocent"), "is absolute"),
      Wrong("a path that climbs", File("../outside"), "holds \"..\""),
      Wrong("a path that climbs later", Directory("a/") + File("a/../../outside"), "holds \"..\""),
      Wrong("a path that ends in ..", Directory("a/.."), "holds \"..\""),
      Wrong("only ..", Directory(".."), "holds \"..\""),
      Wrong("a path of .", Directory("."), "holds \".\""),
      Wrong("a path with ./", File("./a"), "holds \".\""),
      Wrong("a path that climbs in a PAX record",
            Pax(PaxRecord("path", "a/../../outside")) + File("innocent"), "holds \"..\""),
      Wrong("a path that climbs over the prefix field",
            RawEntry{.name = "b", .content = "x", .prefix = "a/../.."}.Bytes(), "holds \"..\""),
      Wrong("an absolute prefix", RawEntry{.name = "b", .content = "x", .prefix = "/etc"}.Bytes(),
            "is absolute"),
      Wrong("an empty path", File(""), "an empty path"),
      Wrong("an empty name within", File("a//b"), "an empty name"),
      Wrong("a file whose path ends in a slash", File("a/"), "an empty name"),
      Wrong("a NUL in a name", Pax(PaxRecord("path", std::string("a\0b", 3))) + File("a"),
            "holds a NUL"),
      Wrong("a name that is not UTF-8", File("caf\xe9"), "is not UTF-8"),
      Wrong("a name that is not UTF-8 in a PAX record",
            Pax(PaxRecord("path", "caf\xe9")) + File("cafe"), "is not UTF-8"),
      Wrong("a name that is too long",
            Pax(PaxRecord("path", std::string(256, 'n'))) + File("n"), "a name of more than 255"),
      Wrong("a path that is too long",
            Pax(PaxRecord("path", std::string(300, 'a') + "/" + std::string(800, 'b'))) + File("n"),
            "more than 1024 bytes"),
      Wrong("a file before its directory", File("a/b"), "before the directory"),
      Wrong("a file below a file", File("a") + File("a/b"), "what is not a directory"),
      Wrong("the same file twice", File("a") + File("a"), "twice"),
      Wrong("the manifest twice", Manifest(), "twice"),
      Wrong("a directory where a file is", File("a") + Directory("a/"), "twice"),
      Wrong("a file where a directory is", Directory("a/") + File("a"), "twice"),
      Wrong("the same directory twice", Directory("a/") + Directory("a/"), "twice"),
  };
}

std::vector<Case> Links() {
  return {
      Wrong("an absolute link", Link("a", "/etc/passwd"), "its target is absolute"),
      Wrong("a link that climbs out", Link("a", "../../../../etc/passwd"), "leads outside"),
      Wrong("a link to the directory above", Link("a", ".."), "leads outside"),
      Wrong("a link that climbs out and back in", Directory("d/") + Link("d/a", "../../tmp/x"),
            "leads outside"),
      Wrong("a link that leads out through another link",
            Directory("d/") + Link("d/up", "..") + Link("a", "d/up/../x"), "leads outside"),
      Wrong("two links that lead out together",
            Directory("d/") + Directory("d/e/") + Link("d/e/up", "../..") + Link("a", "d/e/up/.."),
            "leads outside"),
      Wrong("a file written through a link to a directory",
            Directory("d/") + Link("l", "d") + File("l/x"), "behind a link"),
      Wrong("a file written through a link that leads out", Link("l", "..") + File("l/x"),
            "behind a link"),
      Wrong("a directory made through a link", Directory("d/") + Link("l", "d") + Directory("l/x/"),
            "behind a link"),
      Wrong("a file in place of a link that leads out", Link("l", "../x") + File("l"), "twice"),
      Wrong("a link in place of a file", File("l") + Link("l", "lever.json"), "twice"),
      Wrong("a link to nothing", Link("a", "nowhere"), "leads to nothing"),
      Wrong("a link to itself", Link("a", "a"), "in a circle"),
      Wrong("links in a circle", Link("a", "b") + Link("b", "a"), "in a circle"),
      Wrong("a link without a target", Link("a", ""), "has no target"),
      Wrong("a link with a NUL in its target",
            Pax(PaxRecord("linkpath", std::string("a\0b", 3))) + Link("l", "x"), "a target with a NUL"),
      Wrong("a link with a target that is too long",
            Pax(PaxRecord("linkpath", std::string(1025, 'a'))) + Link("l", "x"), "too long"),
      Wrong("a link with content",
            RawEntry{.name = "l", .type = '2', .content = "x", .target = "lever.json"}.Bytes(),
            "has content and is not a file"),
      Wrong("too many links",
            Repeated(11, [](int i) { return Link("l" + std::to_string(i), "lever.json"); }),
            "more than 10 links", LEVER_RESOURCE_EXHAUSTED),
      Wrong("a file with a link's target", Pax(PaxRecord("linkpath", "/etc/passwd")) + File("a"),
            "has a link's target"),
  };
}

std::vector<Case> Types() {
  const auto typed = [](char type, std::string target = "") {
    return RawEntry{.name = "thing", .type = type, .target = std::move(target)}.Bytes();
  };
  return {
      Wrong("a hard link", typed('1', "lever.json"), "is a hard link"),
      Wrong("a hard link to a file outside", typed('1', "../../etc/passwd"), "is a hard link"),
      Wrong("a character device", typed('3'), "is a character device"),
      Wrong("a block device", typed('4'), "is a block device"),
      Wrong("a FIFO", typed('6'), "is a FIFO"),
      Wrong("a contiguous file", typed('7'), "unknown type"),
      Wrong("an old tar's file", typed('\0'), "unknown type"),
      Wrong("a GNU sparse file", typed('S'), "GNU extension"),
      Wrong("a GNU long name", typed('L'), "GNU extension"),
      Wrong("a GNU long link", typed('K'), "GNU extension"),
      Wrong("a GNU multi-volume file", typed('M'), "GNU extension"),
      Wrong("a global PAX header", Pax(PaxRecord("path", "x"), 'g') + File("a"), "global PAX header"),
      Wrong("a type that nobody knows", typed('!'), "unknown type"),
      Wrong("setuid", RawEntry{.name = "su", .content = "x", .mode = "0004755"}.Bytes(), "setuid"),
      Wrong("setgid", RawEntry{.name = "su", .content = "x", .mode = "0002755"}.Bytes(), "setgid"),
      Wrong("setgid on a directory", RawEntry{.name = "d/", .type = '5', .mode = "0002755"}.Bytes(),
            "setgid"),
      Wrong("a directory with content",
            RawEntry{.name = "d/", .type = '5', .content = "x", .mode = "0000755"}.Bytes(),
            "has content and is not a file"),
  };
}

std::vector<Case> Headers() {
  const auto raw = [](auto change) {
    RawEntry entry{.name = "a", .content = "x"};
    change(entry);
    return entry.Bytes();
  };
  return {
      Wrong("a wrong checksum", raw([](auto& e) { e.checksum = "0000001"; }), "checksum is wrong"),
      Wrong("a checksum that is no number", raw([](auto& e) { e.checksum = "abcdefgh"; }),
            "checksum is wrong"),
      Wrong("another magic", raw([](auto& e) { e.magic = "ustar  "; }), "not a POSIX tar header"),
      Wrong("no magic", raw([](auto& e) { e.magic = ""; }), "not a POSIX tar header"),
      Wrong("a size in base 256", raw([](auto& e) { e.size = std::string("\x80\0\0\0\0\0\0\0\0\0\0\1", 12); }),
            "a size that is not octal"),
      Wrong("a negative size", raw([](auto& e) { e.size = "-0000000001"; }), "a size that is not octal"),
      Wrong("a size with digits of base ten", raw([](auto& e) { e.size = "00000000009"; }),
            "a size that is not octal"),
      Wrong("a mode that is no number", raw([](auto& e) { e.mode = "rwxr-xr"; }),
            "a mode that is not octal"),
      Wrong("a PAX size beside another one", Pax(PaxRecord("size", "1000")) + File("a", "x"), "two sizes"),
      Wrong("a PAX size that is smaller", Pax(PaxRecord("size", "0")) + File("a", "x"), "two sizes"),
      Wrong("a PAX size with a sign", Pax(PaxRecord("size", "+1")) + File("a", "x"), "two sizes"),
      Wrong("a repeated PAX record", Pax(PaxRecord("path", "a") + PaxRecord("path", "b")) + File("c"),
            "is repeated"),
      Wrong("a sparse PAX record", Pax(PaxRecord("GNU.sparse.major", "1")) + File("a"), "not supported"),
      Wrong("a PAX character set", Pax(PaxRecord("hdrcharset", "BINARY")) + File("a"), "not supported"),
      Wrong("a PAX access list", Pax(PaxRecord("SCHILY.acl.access", "u::rwx")) + File("a"), "not supported"),
      Wrong("a PAX record without an end", Pax("9 path=ab") + File("a"), "a broken record"),
      Wrong("a PAX record with a wrong length", Pax("99 path=a\n") + File("a"), "a broken record"),
      Wrong("a PAX record of length 0", Pax("0 path=a\n") + File("a"), "a broken record"),
      Wrong("a PAX record without a key", Pax("5 =a\n") + File("a"), "a broken record"),
      Wrong("two PAX headers in a row", Pax(PaxRecord("path", "a")) + Pax(PaxRecord("path", "b")) + File("c"),
            "two PAX headers"),
      Wrong("a PAX header that is too large", Pax(PaxRecord("comment", std::string(17 * 1024, 'c'))) + File("a"),
            "more than 16384 bytes"),
      Wrong("a PAX header with nothing behind it", Pax(PaxRecord("path", "a")), "not a POSIX tar header"),
  };
}

std::vector<Case> Ends() {
  const std::string good = Manifest() + File("serve", std::string(3000, 's'));
  const std::string packed = Zstd(good + End());
  std::vector<Case> cases = {
      {"nothing", "", "not a bundle"},
      {"a plain tar", good + End(), "not a bundle"},
      {"a zip", std::string("PK\3\4") + std::string(100, 'z'), "not a bundle"},
      {"two bytes of gzip's magic", "\x1f\x8b", "not a bundle"},
      {"zstd's magic and no more", "\x28\xb5\x2f\xfd", "broken"},
      {"gzip's magic and no more", "\x1f\x8b\x08", "broken"},
      {"compressed noise", Zstd(std::string(5000, '\x7e')), "not a POSIX tar header"},
      {"zstd cut off", packed.substr(0, packed.size() - 9), "broken"},
      {"compressed twice", Zstd(packed), ""},
      {"gzip within zstd", Zstd(Gzip(good + End())), ""},
      {"an empty archive", Zstd(End()), "has no lever.json"},
      {"an archive of nothing", Zstd(""), ""},
      {"no manifest", Zstd(File("serve") + End()), "has no lever.json"},
      {"a manifest below a directory", Zstd(Directory("a/") + File("a/lever.json") + End()),
       "has no lever.json"},
      {"a manifest that is a directory", Zstd(Directory("lever.json/") + End()), "has no lever.json"},
      {"a manifest that is a link", Zstd(File("x") + Link("lever.json", "x") + End()),
       "has no lever.json"},
      {"a manifest that is too large", Zstd(File("lever.json", std::string(300 * 1024, ' ')) + End()),
       "lever.json has more than"},
      {"no end", Zstd(good), "cut off"},
      {"one zero block at the end", Zstd(good + std::string(kBlock, '\0')), "cut off"},
      {"one zero block and more", Zstd(good + std::string(kBlock, '\0') + File("a") + End()),
       "one zero block"},
      {"data after the end", Zstd(good + End() + File("hidden") + End()), "data after the archive's end"},
      {"another bundle after the end", packed + Zstd(File("hidden") + End()), "data after the archive's end"},
      {"a file cut off", Zstd(Manifest() + RawEntry{.name = "a", .content = "x", .size = "00000010000"}.Bytes()),
       "cut off within a file"},
      {"a header cut off", Zstd(Manifest() + File("a").substr(0, 100)), "cut off"},
  };
  std::string damaged = packed;
  damaged[damaged.size() / 2] ^= 0x40;
  cases.push_back({"zstd damaged in the middle", damaged, ""});
  std::string gzip = Gzip(good + End());
  cases.push_back({"gzip cut off", gzip.substr(0, gzip.size() - 12), ""});
  gzip[12] ^= 0x55;
  cases.push_back({"gzip damaged", gzip, ""});
  return cases;
}

std::vector<Case> Amounts() {
  const auto exhausted = [](std::string name, std::string packed, std::string says) {
    return Case{std::move(name), std::move(packed), std::move(says), LEVER_RESOURCE_EXHAUSTED};
  };
  const std::string zeros(64 * kMebibyte, '\0');
  return {
      Wrong("too many entries", Repeated(120, [](int i) { return File("f" + std::to_string(i), ""); }),
            "more than 100 entries", LEVER_RESOURCE_EXHAUSTED),
      Wrong("too deep", Nested(9), "more than 8 directories deep", LEVER_RESOURCE_EXHAUSTED),
      Wrong("a file that says it is huge",
            RawEntry{.name = "a", .content = "x", .size = "77777777777"}.Bytes(),
            "unpacked bytes", LEVER_RESOURCE_EXHAUSTED),
      exhausted("a zstd bomb in one file",
                Zstd(Manifest() + File("bomb", zeros) + End()), "unpacked bytes"),
      exhausted("a gzip bomb in one file",
                Gzip(Manifest() + File("bomb", zeros) + End()), "unpacked bytes"),
      exhausted("a bomb of many files",
                Zstd(Manifest() + Repeated(90, [](int i) {
                       return File("f" + std::to_string(i), std::string(50'000, 'f'));
                     }) + End()),
                "unpacked bytes"),
      exhausted("a bomb of zeros after the end", Zstd(Manifest() + End() + zeros), "unpacked bytes"),
      exhausted("more packed bytes than allowed", std::string(256 * 1024 + 1, 'p'), "packed"),
  };
}

std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (auto* make : {Paths, Links, Types, Headers, Ends, Amounts}) {
    for (Case& made : make()) all.push_back(std::move(made));
  }
  return all;
}

class HostileBundle : public ::testing::Test {
 protected:
  HostileBundle() {
    char path[] = "/tmp/lever-hostile-XXXXXX";
    around_ = ::mkdtemp(path);
    fs::create_directory(around_ + "/data");
    std::ofstream(around_ + "/x") << "outside";
    auto store = BundleStore::Open(around_ + "/data", SmallLimits());
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    store_ = std::move(store).value();
    clean_ = Everything();
  }
  ~HostileBundle() override { fs::remove_all(around_); }

  Status Upload(const std::string& packed) {
    auto upload = store_->BeginUpload();
    if (!upload.ok()) return upload.status();
    for (size_t at = 0; at < packed.size(); at += 10'000) {
      if (Status status = (*upload)->Append(std::string_view(packed).substr(at, 10'000)); !status.ok()) {
        return status;
      }
    }
    return (*upload)->Commit().status();
  }

  // Every path there is, with what it is and how large.
  std::map<std::string, std::string> Everything() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(around_)) {
      const auto type = entry.symlink_status().type();
      all[entry.path()] = type == fs::file_type::regular ? std::to_string(entry.file_size())
                                                         : std::to_string(static_cast<int>(type));
    }
    return all;
  }

  std::string around_;
  std::unique_ptr<BundleStore> store_;
  std::map<std::string, std::string> clean_;
};

TEST_F(HostileBundle, EachIsRefusedByNameAndLeavesNothing) {
  const std::vector<Case> cases = AllCases();
  EXPECT_GE(cases.size(), 60u);
  std::set<std::string> names;
  for (const Case& hostile : cases) {
    EXPECT_TRUE(names.insert(hostile.name).second) << hostile.name;
    const Status status = Upload(hostile.packed);
    EXPECT_EQ(status.code(), hostile.code) << hostile.name << ": " << status.ToString();
    EXPECT_FALSE(status.message().empty()) << hostile.name;
    EXPECT_LT(status.message().size(), 1000u) << hostile.name;
    EXPECT_THAT(status.message(), HasSubstr(hostile.says)) << hostile.name;
    for (const char c : status.message()) {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << hostile.name << ": " << status.message();
    }
    ASSERT_EQ(Everything(), clean_) << hostile.name;
  }
  EXPECT_FALSE(fs::exists("/tmp/lever-hostile"));
}

// The maker makes good ones too, or every refusal above could be for another reason.
TEST_F(HostileBundle, AGoodOneOfTheSameMakeIsTaken) {
  const std::string entries =
      Manifest() + Directory("a/") + Pax(PaxRecord("path", "a/\xc3\xa4") + PaxRecord("mtime", "1.5")) +
      File("short", "content") + Link("a/up", "../lever.json") + Link("l", "a") +
      RawEntry{.name = "run", .content = "#!", .mode = "0000755"}.Bytes();
  for (const std::string& packed : {Zstd(entries + End()), Gzip(entries + End() + std::string(5000, '\0'))}) {
    EXPECT_TRUE(Upload(packed).ok()) << Upload(packed).ToString();
  }
  EXPECT_GT(Everything().size(), clean_.size());
}

TEST_F(HostileBundle, AGoodOneCutAtEachByteIsRefused) {
  const std::string tar = Manifest() + Directory("a/") + File("a/b", "content") + End();
  for (const std::string& packed : {Zstd(tar), Gzip(tar)}) {
    for (size_t size = 0; size < packed.size(); ++size) {
      ASSERT_FALSE(Upload(packed.substr(0, size)).ok()) << "packed, cut to " << size;
      ASSERT_EQ(Everything(), clean_) << size;
    }
  }
  for (size_t size = 0; size < tar.size(); size += 64) {
    ASSERT_FALSE(Upload(Zstd(tar.substr(0, size))).ok()) << "unpacked, cut to " << size;
    ASSERT_EQ(Everything(), clean_) << size;
  }
}

TEST_F(HostileBundle, WithAnyByteOfItsHeadersChangedNothingLiesOutside) {
  const std::string tar = Manifest() + Directory("a/") + File("a/b", "content") + Link("l", "a/b") +
                          Pax(PaxRecord("path", "a/c")) + File("c", "more") + End();
  Random random(20240607);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string changed = tar;
    const size_t at = random.Below(static_cast<uint32_t>(changed.size()));
    changed[at] = static_cast<char>(random.Below(256));
    // With a checksum that is right, so that what lies behind that check is reached.
    const size_t block = at / kBlock * kBlock;
    if (changed.compare(block + 257, 5, "ustar") == 0) {
      std::fill_n(changed.begin() + static_cast<ptrdiff_t>(block) + 148, 8, ' ');
      uint64_t sum = 0;
      for (size_t i = block; i < block + kBlock; ++i) sum += static_cast<unsigned char>(changed[i]);
      changed.replace(block + 148, 8, Octal(sum, 6) + std::string("\0 ", 2));
    }
    if (!Upload(Zstd(changed)).ok()) {
      ++refused;
      continue;
    }
    // What was taken lies below its tree, and is removed before the next.
    ASSERT_TRUE(store_->CollectGarbage({}).ok());
    ASSERT_EQ(Everything(), clean_) << "byte " << at;
  }
  ASSERT_EQ(Everything(), clean_);
  EXPECT_GT(refused, 300);
  EXPECT_LT(refused, 2900);
}

}  // namespace
}  // namespace lever::deploy
