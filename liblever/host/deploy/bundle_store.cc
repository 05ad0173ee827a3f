#include "liblever/host/deploy/bundle_store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "liblever/base/ids.h"
#include "liblever/host/deploy/content_hash.h"
#include "liblever/host/deploy/file_tree.h"

namespace lever::deploy {
namespace {

constexpr std::string_view kBundleSuffix = ".lvb";
constexpr std::string_view kMarkerSuffix = ".complete";
constexpr std::string_view kTemporaryPrefix = "tmp-";

std::string BundleName(const std::string& hash) { return hash + std::string(kBundleSuffix); }
std::string MarkerName(const std::string& hash) { return hash + std::string(kMarkerSuffix); }
std::string TemporaryName() { return std::string(kTemporaryPrefix) + Id128::Random().ToHex(); }

std::string ReadBootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  // Without /proc no two starts are known to be of one boot: every tree is made anew then.
  return id.empty() ? Id128::Random().ToHex() : id;
}

std::string ReadSmallFile(int directory_fd, const std::string& name) {
  const UniqueFd file(::openat(directory_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return "";
  char bytes[128];
  const ssize_t size = ::read(file.get(), bytes, sizeof(bytes));
  return size <= 0 ? "" : std::string(bytes, static_cast<size_t>(size));
}

bool Exists(int directory_fd, const std::string& name) {
  return ::faccessat(directory_fd, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

StatusOr<UniqueFd> Folder(int parent_fd, const std::string& name, mode_t mode) {
  LEVER_ASSIGN_OR_RETURN(UniqueFd folder, MakeDirectory(parent_fd, name, mode));
  return folder;
}

// Tells ext4 that the folders in this one have nothing to do with each other (chattr(1), attribute T):
// each gets a part of the disk of its own. Beside each other, the files of a new tree are made past the
// inodes of those that were just removed, which without a journal it looks at one by one, for each file,
// for a minute. Other file systems do not know it.
void SpreadFolders(int folder_fd) {
  int flags = 0;
  if (::ioctl(folder_fd, FS_IOC_GETFLAGS, &flags) != 0) return;
  flags |= FS_TOPDIR_FL;
  (void)::ioctl(folder_fd, FS_IOC_SETFLAGS, &flags);
}

}  // namespace

BundleStore::BundleStore(std::string data_dir, const BundleLimits& limits, std::string boot_id)
    : data_dir_(std::move(data_dir)), limits_(limits), boot_id_(std::move(boot_id)) {}

StatusOr<std::unique_ptr<BundleStore>> BundleStore::Open(const std::string& data_dir,
                                                         const BundleLimits& limits) {
  const UniqueFd root(::open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, "the data directory " + data_dir);
  std::unique_ptr<BundleStore> store(new BundleStore(data_dir, limits, ReadBootId()));
  LEVER_ASSIGN_OR_RETURN(store->uploads_, Folder(root.get(), "uploads", 0700));
  LEVER_ASSIGN_OR_RETURN(store->bundles_, Folder(root.get(), "bundles", 0700));
  // Services read their files in it, each under a user id of its own.
  LEVER_ASSIGN_OR_RETURN(store->trees_, Folder(root.get(), "trees", 0755));
  SpreadFolders(store->trees_.get());
  LEVER_RETURN_IF_ERROR(store->RemoveLeftovers());
  return store;
}

Status BundleStore::RemoveLeftovers() {
  LEVER_ASSIGN_OR_RETURN(const std::vector<std::string> uploads, ListDirectory(uploads_.get()));
  for (const std::string& name : uploads) {
    LEVER_RETURN_IF_ERROR(RemoveTree(uploads_.get(), name));
  }
  LEVER_ASSIGN_OR_RETURN(const std::vector<std::string> trees, ListDirectory(trees_.get()));
  for (const std::string& name : trees) {
    if (name.starts_with(kTemporaryPrefix)) {
      LEVER_RETURN_IF_ERROR(RemoveTree(trees_.get(), name));
    }
  }
  return Status::Ok();
}

StatusOr<std::unique_ptr<BundleStore::Upload>> BundleStore::BeginUpload() {
  std::string name = TemporaryName();
  UniqueFd file(::openat(uploads_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "a file for the upload");
  return std::unique_ptr<Upload>(new Upload(this, std::move(name), std::move(file)));
}

BundleStore::Upload::Upload(BundleStore* store, std::string name, UniqueFd file)
    : store_(store), name_(std::move(name)), tree_(TemporaryName()), file_(std::move(file)) {
  if (store->unpacks_early_.exchange(true)) return;
  try {
    early_ = std::make_unique<EarlyUnpack>(file_.get(), store->trees_.get(), tree_, store->limits_);
  } catch (const std::system_error&) {
    store->unpacks_early_ = false;  // without a thread, Commit() does it
  }
}

BundleStore::Upload::~Upload() {
  EndEarly();
  // After a commit both names are gone already.
  (void)RemoveTree(store_->trees_.get(), tree_);
  ::unlinkat(store_->uploads_.get(), name_.c_str(), 0);
}

void BundleStore::Upload::EndEarly() {
  if (early_ == nullptr) return;
  early_.reset();
  store_->unpacks_early_ = false;
}

Status BundleStore::Upload::Append(std::string_view bytes) {
  if (bytes_ + static_cast<int64_t>(bytes.size()) > store_->limits_.packed_bytes_max) {
    return ResourceExhausted("the bundle is larger than " +
                             std::to_string(store_->limits_.packed_bytes_max) + " bytes packed");
  }
  LEVER_RETURN_IF_ERROR(WriteAll(file_.get(), bytes, "the upload"));
  bytes_ += static_cast<int64_t>(bytes.size());
  if (early_ != nullptr) early_->Grown(bytes_);
  return Status::Ok();
}

StatusOr<BundleInfo> BundleStore::Upload::Commit() {
  if (early_ != nullptr) early_->End();
  // While the rest of it is unpacked.
  LEVER_RETURN_IF_ERROR(Sync(file_.get(), "the bundle"));
  LEVER_ASSIGN_OR_RETURN(BundleInfo info, Unpack());
  const std::lock_guard<std::mutex> lock(store_->trees_mutex_);
  LEVER_RETURN_IF_ERROR(Keep(info.hash));
  LEVER_RETURN_IF_ERROR(store_->AdoptTree(tree_, info.hash));
  return info;
}

// Unpacking is the check; its result is the tree that the first instance needs.
StatusOr<BundleInfo> BundleStore::Upload::Unpack() {
  if (early_ != nullptr) {
    StatusOr<BundleInfo> info = early_->Finish();
    EndEarly();
    return info;
  }
  const std::lock_guard<std::mutex> lock(store_->trees_mutex_);
  return UnpackBundle(file_.get(), store_->trees_.get(), tree_, store_->limits_);
}

Status BundleStore::Upload::Keep(const std::string& hash) {
  const std::string name = BundleName(hash);
  if (Exists(store_->bundles_.get(), name)) return Status::Ok();
  if (::renameat(store_->uploads_.get(), name_.c_str(), store_->bundles_.get(), name.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming the bundle");
  }
  return Sync(store_->bundles_.get(), "the folder of bundles");
}

bool BundleStore::TreeIsWhole(const std::string& hash) const {
  return ReadSmallFile(trees_.get(), MarkerName(hash)) == boot_id_ && Exists(trees_.get(), hash);
}

Status BundleStore::AdoptTree(const std::string& temporary, const std::string& hash) {
  if (TreeIsWhole(hash)) return RemoveTree(trees_.get(), temporary);
  const std::string marker = MarkerName(hash);
  LEVER_RETURN_IF_ERROR(RemoveTree(trees_.get(), marker));
  LEVER_RETURN_IF_ERROR(RemoveTree(trees_.get(), hash));
  if (::renameat(trees_.get(), temporary.c_str(), trees_.get(), hash.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming the tree");
  }
  const std::string marker_temporary = TemporaryName();
  const UniqueFd file(::openat(trees_.get(), marker_temporary.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "the marker of a tree");
  LEVER_RETURN_IF_ERROR(WriteAll(file.get(), boot_id_, "the marker of a tree"));
  if (::renameat(trees_.get(), marker_temporary.c_str(), trees_.get(), marker.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming the marker of a tree");
  }
  return Status::Ok();
}

StatusOr<std::string> BundleStore::EnsureUnpacked(const std::string& hash) {
  if (!IsContentHash(hash)) return InvalidArgument("not the hash of a bundle");
  const std::string path = data_dir_ + "/trees/" + hash;
  const std::lock_guard<std::mutex> lock(trees_mutex_);
  if (TreeIsWhole(hash)) return path;
  const UniqueFd bundle(::openat(bundles_.get(), BundleName(hash).c_str(),
                                 O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!bundle.valid()) return ErrnoStatus(errno, "the bundle " + hash);
  const std::string temporary = TemporaryName();
  LEVER_ASSIGN_OR_RETURN(const BundleInfo info,
                         UnpackBundle(bundle.get(), trees_.get(), temporary, limits_));
  if (info.hash != hash) {
    (void)RemoveTree(trees_.get(), temporary);
    return DataLoss("the bundle " + hash + " is damaged: its content has another hash");
  }
  LEVER_RETURN_IF_ERROR(AdoptTree(temporary, hash));
  return path;
}

Status BundleStore::CollectGarbage(const std::set<std::string>& live) {
  const std::lock_guard<std::mutex> lock(trees_mutex_);
  const auto dead = [&](const std::string& name) {
    const std::string hash = name.substr(0, name.find('.'));
    return IsContentHash(hash) && !live.contains(hash);
  };
  for (const int folder : {trees_.get(), bundles_.get()}) {
    LEVER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
    for (const std::string& name : names) {
      if (dead(name)) LEVER_RETURN_IF_ERROR(RemoveTree(folder, name));
    }
  }
  return Status::Ok();
}

}  // namespace lever::deploy
