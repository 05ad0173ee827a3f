#include "liblever/host/deploy/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "liblever/host/deploy/codec.h"
#include "liblever/host/deploy/file_tree.h"
#include "liblever/host/deploy/manifest.h"
#include "liblever/host/deploy/quoted.h"
#include "liblever/host/deploy/tar.h"

namespace lever::deploy {
namespace {

constexpr size_t kCopyBytes = 256 * 1024;
constexpr mode_t kDirectoryMode = 0755;

class Unpacker {
 public:
  Unpacker(TarReader* reader, int root_fd)
      : reader_(reader), root_fd_(root_fd), buffer_(std::make_unique<char[]>(kCopyBytes)) {}

  StatusOr<BundleInfo> Run() {
    TarEntry entry;
    while (true) {
      LEVER_ASSIGN_OR_RETURN(bool more, reader_->Next(&entry));
      if (!more) break;
      LEVER_RETURN_IF_ERROR(Make(entry));
    }
    LEVER_RETURN_IF_ERROR(CheckLinks());
    if (!has_manifest_) {
      return InvalidArgument("the bundle has no " + std::string(kManifestFile) + " at its root");
    }
    info_.hash = reader_->FinishHash();
    info_.entries = reader_->entries();
    info_.unpacked_bytes = reader_->bytes_read();
    return std::move(info_);
  }

 private:
  Status Make(const TarEntry& entry) {
    switch (entry.type) {
      case EntryType::kFile:
        return MakeFile(entry);
      case EntryType::kDirectory:
        return MakeDirectoryAt(entry.path);
      case EntryType::kLink:
        return MakeLink(entry);
    }
    return Internal("an entry of no type");
  }

  Status MakeFile(const TarEntry& entry) {
    UniqueFd fd = OpenBeneath(root_fd_, entry.path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW,
                              Links::kRefuse, 0600);
    if (!fd.valid()) return Refused(entry.path, errno);
    bool is_manifest = entry.path == kManifestFile;
    if (is_manifest) {
      if (entry.size > static_cast<int64_t>(kManifestBytesMax)) {
        return InvalidArgument(std::string(kManifestFile) + " has more than " +
                               std::to_string(kManifestBytesMax) + " bytes");
      }
      has_manifest_ = true;
    }
    while (true) {
      LEVER_ASSIGN_OR_RETURN(size_t count, reader_->ReadContent(buffer_.get(), kCopyBytes));
      if (count == 0) break;
      std::string_view piece(buffer_.get(), count);
      LEVER_RETURN_IF_ERROR(WriteAll(fd.get(), piece, Quoted(entry.path)));
      if (is_manifest) info_.manifest.append(piece);
    }
    // After the content, and by fchmod: the umask takes nothing away.
    if (fchmod(fd.get(), entry.executable ? 0755 : 0644) != 0) {
      return ErrnoStatus(errno, "set the mode of " + Quoted(entry.path));
    }
    return Status::Ok();
  }

  Status MakeDirectoryAt(const std::string& path) {
    LEVER_ASSIGN_OR_RETURN(Place place, Resolve(path));
    if (mkdirat(place.fd(), place.name.c_str(), 0700) != 0) return Refused(path, errno);
    // By descriptor, without following a link that somebody put there since.
    LEVER_ASSIGN_OR_RETURN(UniqueFd made, OpenDirectory(place.fd(), place.name));
    if (fchmod(made.get(), kDirectoryMode) != 0) {
      return ErrnoStatus(errno, "set the mode of " + Quoted(path));
    }
    return Status::Ok();
  }

  Status MakeLink(const TarEntry& entry) {
    LEVER_ASSIGN_OR_RETURN(Place place, Resolve(entry.path));
    if (symlinkat(entry.target.c_str(), place.fd(), place.name.c_str()) != 0) {
      return Refused(entry.path, errno);
    }
    links_.push_back(entry.path);
    return Status::Ok();
  }

  // The directory in which a path's last name lies.
  struct Place {
    int root_fd;
    UniqueFd parent;  // empty for the root
    std::string name;
    int fd() const { return parent.valid() ? parent.get() : root_fd; }
  };

  StatusOr<Place> Resolve(const std::string& path) {
    size_t slash = path.rfind('/');
    if (slash == path.npos) return Place{root_fd_, UniqueFd(), path};
    UniqueFd parent =
        OpenBeneath(root_fd_, path.substr(0, slash), O_PATH | O_DIRECTORY, Links::kRefuse);
    if (!parent.valid()) return Refused(path, errno);
    return Place{root_fd_, std::move(parent), path.substr(slash + 1)};
  }

  // Only now is each link's whole way known: its target may come later in the archive, and lead on
  // through further links. A link to nothing is refused, because what it would lead to, once
  // something is there, is unknown.
  Status CheckLinks() {
    for (const std::string& path : links_) {
      if (OpenBeneath(root_fd_, path, O_PATH, Links::kFollow).valid()) continue;
      std::string link = "the link " + Quoted(path);
      switch (errno) {
        case EXDEV:
          return InvalidArgument(link + " leads outside the bundle");
        case ENOENT:
        case ENOTDIR:
          return InvalidArgument(link + " leads to nothing in the bundle");
        case ELOOP:
          return InvalidArgument(link + " leads in a circle");
        default:
          return OpenBeneathStatus(errno, link);
      }
    }
    return Status::Ok();
  }

  static Status Refused(const std::string& path, int error) {
    switch (error) {
      case EEXIST:
        return InvalidArgument(Quoted(path) + " is twice in the bundle");
      case ENOENT:
        return InvalidArgument(Quoted(path) + " comes before the directory that it is in");
      case ENOTDIR:
        return InvalidArgument(Quoted(path) + " lies in what is not a directory");
      case ELOOP:
        return InvalidArgument(Quoted(path) + " lies behind a link");
      case EXDEV:
        return InvalidArgument(Quoted(path) + " leads outside the bundle");
      default:
        return OpenBeneathStatus(error, "make " + Quoted(path));
    }
  }

  TarReader* reader_;
  int root_fd_;
  std::unique_ptr<char[]> buffer_;
  std::vector<std::string> links_;
  bool has_manifest_ = false;
  BundleInfo info_;
};

StatusOr<BundleInfo> UnpackInto(ReadAt read, int parent_fd, const std::string& name,
                                const BundleLimits& limits) {
  LEVER_ASSIGN_OR_RETURN(UniqueFd root, MakeDirectory(parent_fd, name, kDirectoryMode));
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Decompressor> source, Decompressor::Open(std::move(read)));
  TarReader reader(source.get(), limits);
  return Unpacker(&reader, root.get()).Run();
}

}  // namespace

StatusOr<BundleInfo> UnpackBundle(int bundle_fd, int parent_fd, const std::string& name,
                                  const BundleLimits& limits) {
  struct stat info;
  if (fstat(bundle_fd, &info) != 0) return ErrnoStatus(errno, "look at the bundle's file");
  if (info.st_size > limits.packed_bytes_max) {
    return ResourceExhausted("the bundle has more than " + std::to_string(limits.packed_bytes_max) +
                             " packed bytes");
  }
  const auto read = [bundle_fd](char* buffer, size_t size, off_t offset) {
    return pread(bundle_fd, buffer, size, offset);
  };
  return UnpackBundle(read, parent_fd, name, limits);
}

StatusOr<BundleInfo> UnpackBundle(ReadAt read, int parent_fd, const std::string& name,
                                  const BundleLimits& limits) {
  struct stat info;
  if (fstatat(parent_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    return AlreadyExists(Quoted(name) + " is there already");
  }
  StatusOr<BundleInfo> unpacked = UnpackInto(std::move(read), parent_fd, name, limits);
  if (!unpacked.ok()) {
    Status removed = RemoveTree(parent_fd, name);
    if (!removed.ok()) {
      return Status(unpacked.status().code(),
                    unpacked.status().message() +
                        "; and what was unpacked cannot be removed: " + removed.message());
    }
  }
  return unpacked;
}

}  // namespace lever::deploy
