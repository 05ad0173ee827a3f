#include "liblever/host/deploy/pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "liblever/host/deploy/codec.h"
#include "liblever/host/deploy/file_tree.h"
#include "liblever/host/deploy/ignore.h"
#include "liblever/host/deploy/manifest.h"
#include "liblever/host/deploy/quoted.h"
#include "liblever/host/deploy/tar.h"
#include "liblever/value/utf8.h"

namespace lever::deploy {
namespace {

constexpr size_t kCopyBytes = 256 * 1024;
constexpr size_t kPieceBytes = 128 * 1024;  // at least, of what is given on
constexpr size_t kIgnoreBytesMax = 256 * 1024;

// Takes the tar stream: compresses it, and keeps count of what the host will count.
class BundleWriter {
 public:
  BundleWriter(const BundleSink& sink, const BundleLimits& limits) : sink_(sink), limits_(limits) {}

  Status Open() {
    LEVER_ASSIGN_OR_RETURN(compressor_, Compressor::Open(&packed_));
    return Status::Ok();
  }
  Status Write(std::string_view bytes) {
    bundle_.unpacked_bytes += static_cast<int64_t>(bytes.size());
    if (bundle_.unpacked_bytes > limits_.unpacked_bytes_max) {
      return ResourceExhausted("the directory has more than " +
                               std::to_string(limits_.unpacked_bytes_max / kMebibyte) +
                               " MiB to pack; " + std::string(kIgnoreFile) + " leaves files out");
    }
    LEVER_RETURN_IF_ERROR(compressor_->Write(bytes));
    return packed_.size() >= kPieceBytes ? Flush() : Status::Ok();
  }
  Status Entry(const TarEntry& entry) {
    if (++bundle_.entries > limits_.entries_max) {
      return ResourceExhausted("the directory has more than " +
                               std::to_string(limits_.entries_max) + " files; " +
                               std::string(kIgnoreFile) + " leaves files out");
    }
    std::string header;
    AppendTarEntry(entry, &header);
    return Write(header);
  }
  StatusOr<PackedBundle> Finish() {
    std::string end;
    AppendTarEnd(&end);
    LEVER_RETURN_IF_ERROR(Write(end));
    LEVER_RETURN_IF_ERROR(compressor_->Finish());
    LEVER_RETURN_IF_ERROR(Flush());
    return bundle_;
  }

 private:
  Status Flush() {
    bundle_.packed_bytes += static_cast<int64_t>(packed_.size());
    if (bundle_.packed_bytes > limits_.packed_bytes_max) {
      return ResourceExhausted("the bundle has more than " +
                               std::to_string(limits_.packed_bytes_max / kMebibyte) +
                               " MiB packed; " + std::string(kIgnoreFile) + " leaves files out");
    }
    LEVER_RETURN_IF_ERROR(sink_(packed_));
    packed_.clear();
    return Status::Ok();
  }

  const BundleSink& sink_;
  BundleLimits limits_;
  std::string packed_;
  std::unique_ptr<Compressor> compressor_;
  PackedBundle bundle_;
};

class Packer {
 public:
  Packer(UniqueFd root, BundleWriter* writer, const BundleLimits& limits)
      : root_(std::move(root)), writer_(writer), limits_(limits), buffer_(kCopyBytes, '\0') {}

  Status Run() {
    LEVER_RETURN_IF_ERROR(ReadRules());
    struct stat info;
    if (::fstatat(root_.get(), std::string(kManifestFile).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return NotFound("there is no " + std::string(kManifestFile) + " in the directory");
    }
    if (!S_ISREG(info.st_mode)) {
      return InvalidArgument(std::string(kManifestFile) + " is not a file of its own");
    }
    LEVER_RETURN_IF_ERROR(Directory(root_.get(), "", 1));
    return CheckLinks();
  }

 private:
  using Identity = std::pair<dev_t, ino_t>;

  Status ReadRules() {
    const UniqueFd file =
        OpenBeneath(root_.get(), std::string(kIgnoreFile), O_RDONLY | O_NONBLOCK, Links::kFollow);
    if (!file.valid()) return errno == ENOENT ? Status::Ok() : OpenBeneathStatus(errno, kIgnoreFile);
    std::string text;
    while (text.size() <= kIgnoreBytesMax) {
      const ssize_t count = ::read(file.get(), buffer_.data(), buffer_.size());
      if (count < 0) return ErrnoStatus(errno, "read " + std::string(kIgnoreFile));
      if (count == 0) break;
      text.append(buffer_.data(), static_cast<size_t>(count));
    }
    if (text.size() > kIgnoreBytesMax) {
      return InvalidArgument(std::string(kIgnoreFile) + " has more than 256 KiB");
    }
    rules_ = IgnoreRules::Parse(text);
    return Status::Ok();
  }

  Status Directory(int directory_fd, const std::string& prefix, int64_t depth) {
    LEVER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory_fd));
    for (const std::string& name : names) {
      if (IsNeverPacked(name)) continue;
      const std::string path = prefix + name;
      if (path == kIgnoreFile) continue;
      struct stat info;
      if (::fstatat(directory_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoStatus(errno, "look at " + Quoted(path));
      }
      const PathKind kind = S_ISDIR(info.st_mode) ? PathKind::kDirectory : PathKind::kFile;
      if (path != kManifestFile && rules_.Excludes(path, kind)) continue;
      LEVER_RETURN_IF_ERROR(CheckPath(path, depth));
      LEVER_RETURN_IF_ERROR(Entry(directory_fd, name, path, info, depth));
    }
    return Status::Ok();
  }

  Status CheckPath(const std::string& path, int64_t depth) const {
    if (!value::IsUtf8(path)) {
      return InvalidArgument("the path " + Quoted(path) + " is not UTF-8; " +
                             std::string(kIgnoreFile) + " leaves it out");
    }
    if (path.size() > kPathBytesMax) {
      return InvalidArgument("the path " + Quoted(path) + " has more than " +
                             std::to_string(kPathBytesMax) + " bytes");
    }
    if (depth > limits_.depth_max) {
      return ResourceExhausted("the path " + Quoted(path) + " is more than " +
                               std::to_string(limits_.depth_max) + " directories deep");
    }
    return Status::Ok();
  }

  Status Entry(int directory_fd, const std::string& name, const std::string& path,
               const struct stat& info, int64_t depth) {
    if (S_ISREG(info.st_mode)) return File(directory_fd, name, path);
    if (S_ISLNK(info.st_mode)) return SymbolicLink(directory_fd, name, path);
    if (!S_ISDIR(info.st_mode)) {
      const char* what = S_ISFIFO(info.st_mode)   ? "a FIFO"
                         : S_ISSOCK(info.st_mode) ? "a socket"
                                                  : "a device";
      return InvalidArgument(Quoted(path) + " is " + what + ": a bundle holds files, directories " +
                             "and symbolic links; " + std::string(kIgnoreFile) + " leaves it out");
    }
    packed_.insert({info.st_dev, info.st_ino});
    TarEntry entry;
    entry.type = EntryType::kDirectory;
    entry.path = path;
    LEVER_RETURN_IF_ERROR(writer_->Entry(entry));
    LEVER_ASSIGN_OR_RETURN(const UniqueFd directory, OpenDirectory(directory_fd, name));
    return Directory(directory.get(), path + "/", depth + 1);
  }

  Status File(int directory_fd, const std::string& name, const std::string& path) {
    const UniqueFd file(
        ::openat(directory_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info;
    if (!file.valid() || ::fstat(file.get(), &info) != 0) {
      return ErrnoStatus(errno, "read " + Quoted(path));
    }
    packed_.insert({info.st_dev, info.st_ino});
    TarEntry entry;
    entry.path = path;
    entry.size = info.st_size;
    entry.executable = (info.st_mode & 0111) != 0;
    LEVER_RETURN_IF_ERROR(writer_->Entry(entry));
    int64_t left = entry.size;
    while (left > 0) {
      const size_t wanted = static_cast<size_t>(std::min<int64_t>(left, kCopyBytes));
      const ssize_t count = ::read(file.get(), buffer_.data(), wanted);
      if (count < 0) return ErrnoStatus(errno, "read " + Quoted(path));
      if (count == 0) return Aborted(Quoted(path) + " became shorter while it was packed");
      LEVER_RETURN_IF_ERROR(
          writer_->Write(std::string_view(buffer_.data(), static_cast<size_t>(count))));
      left -= count;
    }
    return writer_->Write(std::string(TarPadding(entry.size), '\0'));
  }

  Status SymbolicLink(int directory_fd, const std::string& name, const std::string& path) {
    const ssize_t count =
        ::readlinkat(directory_fd, name.c_str(), buffer_.data(), kPathBytesMax + 1);
    if (count < 0) return ErrnoStatus(errno, "read the link " + Quoted(path));
    if (static_cast<size_t>(count) > kPathBytesMax) {
      return InvalidArgument("the link " + Quoted(path) + " has a target that is too long");
    }
    TarEntry entry;
    entry.type = EntryType::kLink;
    entry.path = path;
    entry.target.assign(buffer_.data(), static_cast<size_t>(count));
    if (!value::IsUtf8(entry.target)) {
      return InvalidArgument("the link " + Quoted(path) + " has a target that is not UTF-8");
    }
    if (entry.target.starts_with('/')) {
      return InvalidArgument("the link " + Quoted(path) +
                             " leads outside the bundle: its target is absolute");
    }
    if (static_cast<int64_t>(links_.size()) >= limits_.links_max) {
      return ResourceExhausted("the directory has more than " + std::to_string(limits_.links_max) +
                               " links");
    }
    links_.push_back(path);
    return writer_->Entry(entry);
  }

  // Only now is it known which files are in the bundle.
  Status CheckLinks() {
    struct stat root;
    if (::fstat(root_.get(), &root) == 0) packed_.insert({root.st_dev, root.st_ino});
    for (const std::string& path : links_) {
      const std::string link = "the link " + Quoted(path);
      const UniqueFd target = OpenBeneath(root_.get(), path, O_PATH, Links::kFollow);
      struct stat info;
      if (target.valid() && ::fstat(target.get(), &info) == 0) {
        if (packed_.contains({info.st_dev, info.st_ino})) continue;
        return InvalidArgument(link + " leads to what is not packed");
      }
      switch (errno) {
        case EXDEV: return InvalidArgument(link + " leads outside the bundle");
        case ENOENT:
        case ENOTDIR: return InvalidArgument(link + " leads to nothing in the bundle");
        case ELOOP: return InvalidArgument(link + " leads in a circle");
        default: return OpenBeneathStatus(errno, link);
      }
    }
    return Status::Ok();
  }

  UniqueFd root_;
  BundleWriter* writer_;
  BundleLimits limits_;
  std::string buffer_;
  IgnoreRules rules_;
  std::set<Identity> packed_;
  std::vector<std::string> links_;
};

}  // namespace

bool IsNeverPacked(std::string_view name) {
  return name == ".git" || name == ".hg" || name == ".svn" || name == ".DS_Store";
}

StatusOr<PackedBundle> PackDirectory(const std::string& directory, const BundleSink& sink,
                                     const BundleLimits& limits) {
  UniqueFd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, "the directory " + directory);
  BundleWriter writer(sink, limits);
  LEVER_RETURN_IF_ERROR(writer.Open());
  LEVER_RETURN_IF_ERROR(Packer(std::move(root), &writer, limits).Run());
  return writer.Finish();
}

}  // namespace lever::deploy
