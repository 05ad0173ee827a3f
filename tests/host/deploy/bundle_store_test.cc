// The store keeps a bundle wholly or not at all, and its trees can be made anew.
#include "liblever/host/deploy/bundle_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/host/deploy/codec.h"
#include "liblever/host/deploy/tar.h"

namespace lever::deploy {
namespace {

namespace fs = std::filesystem;

// A bundle with lever.json and one file with `content`.
std::string MakeBundle(const std::string& content) {
  std::string tar;
  const auto add = [&](const std::string& path, const std::string& bytes) {
    TarEntry entry;
    entry.path = path;
    entry.size = static_cast<int64_t>(bytes.size());
    AppendTarEntry(entry, &tar);
    tar += bytes;
    tar.append(TarPadding(entry.size), '\0');
  };
  add("lever.json", R"({"name": "hello"})");
  add("serve", content);
  AppendTarEnd(&tar);
  std::string packed;
  auto compressor = Compressor::Open(&packed);
  EXPECT_TRUE(compressor.ok() && (*compressor)->Write(tar).ok() && (*compressor)->Finish().ok());
  return packed;
}

class BundleStoreTest : public ::testing::Test {
 protected:
  BundleStoreTest() {
    char path[] = "/tmp/lever-bundles-XXXXXX";
    data_dir_ = ::mkdtemp(path);
  }
  ~BundleStoreTest() override { fs::remove_all(data_dir_); }

  std::unique_ptr<BundleStore> Open(const BundleLimits& limits = {}) {
    auto store = BundleStore::Open(data_dir_, limits);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    return std::move(store).value();
  }
  static StatusOr<BundleInfo> Store(BundleStore& store, const std::string& packed) {
    auto upload = store.BeginUpload();
    if (!upload.ok()) return upload.status();
    const Status appended = (*upload)->Append(packed);
    if (!appended.ok()) return appended;
    return (*upload)->Commit();
  }
  size_t Count(const std::string& folder) const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(data_dir_ + "/" + folder),
                                             fs::directory_iterator()));
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string data_dir_;
};

TEST_F(BundleStoreTest, ACommittedBundleIsUnpackedAndSurvivesAReopen) {
  std::string hash;
  {
    const auto store = Open();
    const auto info = Store(*store, MakeBundle("one"));
    ASSERT_TRUE(info.ok()) << info.status().ToString();
    EXPECT_EQ(info->manifest, R"({"name": "hello"})");
    hash = info->hash;
  }
  const auto store = Open();
  const auto tree = store->EnsureUnpacked(hash);
  ASSERT_TRUE(tree.ok()) << tree.status().ToString();
  EXPECT_EQ(Read(*tree + "/serve"), "one");
}

TEST_F(BundleStoreTest, TheSameContentAgainIsTheSameBundle) {
  const auto store = Open();
  const auto first = Store(*store, MakeBundle("same"));
  const auto second = Store(*store, MakeBundle("same"));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->hash, second->hash);
  EXPECT_EQ(Count("bundles"), 1u);
  EXPECT_EQ(Count("uploads"), 0u);
}

// Whether there is such a file below trees/, whatever its tree is called.
bool HasInATree(const std::string& data_dir, const std::string& name) {
  const auto trees = fs::directory_iterator(data_dir + "/trees");
  return std::any_of(begin(trees), end(trees),
                     [&](const auto& tree) { return fs::exists(tree.path() / name); });
}

// Of what does not compress, so that its beginning says nothing of its end.
std::string Noise(size_t size) {
  std::mt19937 random(1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST_F(BundleStoreTest, ABundleIsUnpackedWhileItComesIn) {
  const auto store = Open();
  const std::string content = Noise(2 * kMebibyte);
  const std::string packed = MakeBundle(content);
  auto upload = store->BeginUpload();
  ASSERT_TRUE(upload.ok());
  ASSERT_TRUE((*upload)->Append(packed.substr(0, packed.size() / 2)).ok());
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!HasInATree(data_dir_, "serve")) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    std::this_thread::yield();
  }
  ASSERT_TRUE((*upload)->Append(packed.substr(packed.size() / 2)).ok());
  const auto info = (*upload)->Commit();
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(Read(data_dir_ + "/trees/" + info->hash + "/serve"), content);
  EXPECT_EQ(Count("trees"), 2u) << "the tree and its marker";
}

TEST_F(BundleStoreTest, BundlesThatComeInAtTheSameTimeAreAllStored) {
  const auto store = Open();
  std::vector<std::unique_ptr<BundleStore::Upload>> uploads;
  for (int i = 0; i < 3; ++i) {
    auto upload = store->BeginUpload();
    ASSERT_TRUE(upload.ok());
    uploads.push_back(std::move(*upload));
  }
  for (size_t i = 0; i < uploads.size(); ++i) {
    ASSERT_TRUE(uploads[i]->Append(MakeBundle(std::to_string(i))).ok());
  }
  for (size_t i = uploads.size(); i-- > 0;) {
    const auto info = uploads[i]->Commit();
    ASSERT_TRUE(info.ok()) << info.status().ToString();
    EXPECT_EQ(Read(data_dir_ + "/trees/" + info->hash + "/serve"), std::to_string(i));
  }
}

TEST_F(BundleStoreTest, AnUploadThatIsDroppedAtAnyByteLeavesNothing) {
  const auto store = Open();
  const std::string packed = MakeBundle("content");
  for (size_t size = 0; size <= packed.size(); ++size) {
    auto upload = store->BeginUpload();
    ASSERT_TRUE(upload.ok());
    ASSERT_TRUE((*upload)->Append(packed.substr(0, size)).ok());
    if (size % 2 == 0 && size < packed.size()) {
      EXPECT_EQ((*upload)->Commit().status().code(), LEVER_INVALID_ARGUMENT) << size;
    }
    upload->reset();
    EXPECT_EQ(Count("uploads") + Count("trees") + Count("bundles"), 0u) << size;
  }
  EXPECT_TRUE(Store(*store, packed).ok());
}

TEST_F(BundleStoreTest, ATreeWithoutItsMarkerIsMadeAnew) {
  const auto store = Open();
  const auto info = Store(*store, MakeBundle("content"));
  ASSERT_TRUE(info.ok());
  const std::string tree = data_dir_ + "/trees/" + info->hash;
  fs::remove(tree + ".complete");
  fs::remove(tree + "/serve");
  ASSERT_TRUE(store->EnsureUnpacked(info->hash).ok());
  EXPECT_EQ(Read(tree + "/serve"), "content");
}

TEST_F(BundleStoreTest, ATreeOfAnEarlierBootIsMadeAnew) {
  const auto store = Open();
  const auto info = Store(*store, MakeBundle("content"));
  ASSERT_TRUE(info.ok());
  const std::string tree = data_dir_ + "/trees/" + info->hash;
  std::ofstream(tree + ".complete") << "another boot";
  std::ofstream(tree + "/serve") << "torn";
  ASSERT_TRUE(store->EnsureUnpacked(info->hash).ok());
  EXPECT_EQ(Read(tree + "/serve"), "content");
}

TEST_F(BundleStoreTest, WhatIsRefusedOrBrokenOffLeavesNothing) {
  BundleLimits limits;
  limits.packed_bytes_max = 10'000;
  const auto store = Open(limits);
  EXPECT_EQ(Store(*store, "this is no bundle").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Store(*store, std::string(10'001, 'x')).status().code(), LEVER_RESOURCE_EXHAUSTED);
  const std::string packed = MakeBundle("content");
  EXPECT_FALSE(Store(*store, packed.substr(0, packed.size() / 2)).ok());
  { ASSERT_TRUE(store->BeginUpload().ok()); }
  EXPECT_EQ(Count("uploads") + Count("bundles") + Count("trees"), 0u);
}

// Else making a tree takes the longer the more of them were removed in the last minute.
TEST_F(BundleStoreTest, TreesLieApartOnADiskThatCanDoThat) {
  const auto flags = [](const std::string& folder) {
    const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int flags = 0;
    return ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0 ? flags : 0;
  };
  struct statfs disk;
  ASSERT_EQ(::statfs(data_dir_.c_str(), &disk), 0);
  const auto store = Open();
  if (disk.f_type == EXT4_SUPER_MAGIC) {
    EXPECT_TRUE(flags(data_dir_ + "/trees") & FS_TOPDIR_FL);
  }
  ASSERT_TRUE(Store(*store, MakeBundle("content")).ok());
  for (const auto& entry : fs::directory_iterator(data_dir_ + "/trees")) {
    if (!entry.is_directory()) continue;
    EXPECT_FALSE(flags(entry.path()) & FS_TOPDIR_FL);
  }
}

TEST_F(BundleStoreTest, AnUnknownBundleIsNotFound) {
  const auto store = Open();
  EXPECT_EQ(store->EnsureUnpacked(std::string(64, 'a')).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(store->EnsureUnpacked("../../etc").status().code(), LEVER_INVALID_ARGUMENT);
}

TEST_F(BundleStoreTest, GarbageIsWhatNobodyNames) {
  const auto store = Open();
  const auto kept = Store(*store, MakeBundle("kept"));
  const auto dropped = Store(*store, MakeBundle("dropped"));
  ASSERT_TRUE(kept.ok() && dropped.ok());
  ASSERT_TRUE(store->CollectGarbage({kept->hash}).ok());
  EXPECT_TRUE(store->EnsureUnpacked(kept->hash).ok());
  EXPECT_EQ(store->EnsureUnpacked(dropped->hash).status().code(), LEVER_NOT_FOUND);
}

// What a host that was killed between two steps of Commit() or EnsureUnpacked() leaves.
TEST_F(BundleStoreTest, WhatLiesBetweenTwoStepsIsRemovedOrMadeAnew) {
  std::string hash;
  {
    const auto store = Open();
    hash = Store(*store, MakeBundle("content"))->hash;
  }
  const std::string trees = data_dir_ + "/trees/";
  std::ofstream(data_dir_ + "/uploads/tmp-0123") << "half a bundle";
  fs::create_directories(trees + "tmp-4567/deep");
  std::ofstream(trees + "tmp-89ab") << "a marker without its name";
  // Renamed, not yet marked; and a marker whose tree is gone.
  fs::remove(trees + hash + ".complete");
  fs::remove(trees + hash + "/serve");
  std::ofstream(trees + std::string(64, 'b') + ".complete") << "x";
  const auto store = Open();
  EXPECT_EQ(Count("uploads"), 0u);
  EXPECT_FALSE(fs::exists(trees + "tmp-4567"));
  EXPECT_FALSE(fs::exists(trees + "tmp-89ab"));
  ASSERT_TRUE(store->EnsureUnpacked(hash).ok());
  EXPECT_EQ(Read(trees + hash + "/serve"), "content");
  EXPECT_EQ(store->EnsureUnpacked(std::string(64, 'b')).status().code(), LEVER_NOT_FOUND);
  ASSERT_TRUE(store->CollectGarbage({}).ok());
  EXPECT_EQ(Count("bundles") + Count("trees"), 0u);
}

TEST_F(BundleStoreTest, AnEmptyMarkerIsNoMarker) {
  const auto store = Open();
  const auto info = Store(*store, MakeBundle("content"));
  const std::string tree = data_dir_ + "/trees/" + info->hash;
  std::ofstream(tree + ".complete", std::ios::trunc).flush();
  fs::remove(tree + "/serve");
  ASSERT_TRUE(store->EnsureUnpacked(info->hash).ok());
  EXPECT_EQ(Read(tree + "/serve"), "content");
}

TEST_F(BundleStoreTest, ABundleThatWasDamagedOnTheDiskIsNotUnpacked) {
  const auto store = Open();
  const auto info = Store(*store, MakeBundle("content"));
  const auto other = Store(*store, MakeBundle("other"));
  const std::string bundles = data_dir_ + "/bundles/";
  fs::remove_all(data_dir_ + "/trees/" + info->hash);
  fs::copy_file(bundles + other->hash + ".lvb", bundles + info->hash + ".lvb",
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(store->EnsureUnpacked(info->hash).status().code(), LEVER_DATA_LOSS);
  EXPECT_FALSE(fs::exists(data_dir_ + "/trees/" + info->hash));
  EXPECT_TRUE(store->EnsureUnpacked(other->hash).ok());
}

TEST_F(BundleStoreTest, KillNineAtAnyMomentLeavesEachBundleWholeOrAbsent) {
  constexpr int kRounds = 50;
  Random random(7);
  std::set<std::string> acknowledged;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = BundleStore::Open(data_dir_);
      for (int i = 0; store.ok(); ++i) {
        const std::string content = std::to_string(round) + "." + std::to_string(i);
        const auto info = Store(**store, MakeBundle(content + std::string(20'000, 'x')));
        if (!info.ok() || ::write(ends[1], info->hash.data(), 64) != 64) break;
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    ::usleep(random.Below(20'000));
    ::kill(child, SIGKILL);
    char hash[64];
    while (::read(ends[0], hash, sizeof(hash)) == 64) acknowledged.emplace(hash, 64);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
  }
  const auto store = Open();
  EXPECT_EQ(Count("uploads"), 0u);
  for (const auto& file : fs::directory_iterator(data_dir_ + "/bundles")) {
    const std::string hash = file.path().stem();
    acknowledged.erase(hash);
    fs::remove(data_dir_ + "/trees/" + hash + ".complete");
    const auto tree = store->EnsureUnpacked(hash);
    EXPECT_TRUE(tree.ok()) << tree.status().ToString();
  }
  EXPECT_TRUE(acknowledged.empty()) << acknowledged.size() << " acknowledged bundles are lost";
}

}  // namespace
}  // namespace lever::deploy
