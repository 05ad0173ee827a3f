#include "liblever/host/deploy/file_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "liblever/host/deploy/quoted.h"

namespace lever::deploy {
namespace {

// Levels of a tree that are removed by recursion, one descriptor each; a deeper subtree is moved up
// and removed from there.
constexpr int kRemoveDepthMax = 64;

// A walk takes microseconds; so many disturbed in a row mean that something else is wrong.
constexpr int kOpenTriesMax = 1000;

struct DirCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

class TreeRemover {
 public:
  explicit TreeRemover(int top_fd) : top_fd_(top_fd) {}

  Status Remove(const std::string& name) {
    LEVER_RETURN_IF_ERROR(RemoveAt(top_fd_, name, 0));
    while (!moved_up_.empty()) {
      std::string next = std::move(moved_up_.back());
      moved_up_.pop_back();
      LEVER_RETURN_IF_ERROR(RemoveAt(top_fd_, next, 0));
    }
    return Status::Ok();
  }

 private:
  Status RemoveAt(int parent_fd, const std::string& name, int depth) {
    if (unlinkat(parent_fd, name.c_str(), 0) == 0 || errno == ENOENT) return Status::Ok();
    // Linux says EISDIR of a directory; POSIX allows EPERM.
    if (errno != EISDIR && errno != EPERM) return Failed(name);
    if (depth == kRemoveDepthMax) return MoveUp(parent_fd, name);

    LEVER_ASSIGN_OR_RETURN(UniqueFd fd, OpenDirectory(parent_fd, name));
    // A directory without the write bit, as some tools leave them, would keep its contents. If
    // this fails, so does what follows, with the better message.
    (void)fchmod(fd.get(), 0700);
    LEVER_ASSIGN_OR_RETURN(std::vector<std::string> children, ListDirectory(fd.get()));
    for (const std::string& child : children) {
      LEVER_RETURN_IF_ERROR(RemoveAt(fd.get(), child, depth + 1));
    }
    if (unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) != 0) return Failed(name);
    return Status::Ok();
  }

  Status MoveUp(int parent_fd, const std::string& name) {
    // The inode makes a name that no other subtree in removal has.
    struct stat info;
    if (fstatat(parent_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return Failed(name);
    std::string target = ".removing-" + std::to_string(info.st_ino);
    if (renameat(parent_fd, name.c_str(), top_fd_, target.c_str()) != 0) return Failed(name);
    moved_up_.push_back(std::move(target));
    return Status::Ok();
  }

  static Status Failed(const std::string& name) {
    return ErrnoStatus(errno, "remove " + Quoted(name));
  }

  int top_fd_;
  std::vector<std::string> moved_up_;
};

}  // namespace

UniqueFd OpenBeneath(int root_fd, const std::string& path, int flags, Links links, mode_t mode) {
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if (links == Links::kRefuse) how.resolve |= RESOLVE_NO_SYMLINKS;
  // glibc 2.36 has no wrapper. EAGAIN: something on the machine was renamed while ".." was resolved,
  // and the kernel asks to try again.
  long fd = -1;
  for (int tries = 0; tries < kOpenTriesMax; ++tries) {
    fd = syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) break;
  }
  return UniqueFd(static_cast<int>(fd));
}

Status OpenBeneathStatus(int error, std::string_view what) {
  if (error == ENOSYS) {
    return FailedPrecondition(std::string(what) +
                              ": this kernel has no openat2, which Lever needs to handle bundles "
                              "safely; use Linux 5.6 or newer, or let the sandbox pass the call");
  }
  if (error == EXDEV) {
    return InvalidArgument(std::string(what) + ": leads outside the directory");
  }
  return ErrnoStatus(error, what);
}

StatusOr<UniqueFd> OpenDirectory(int parent_fd, const std::string& name) {
  UniqueFd fd(openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "open the directory " + Quoted(name));
  return fd;
}

StatusOr<UniqueFd> MakeDirectory(int parent_fd, const std::string& name, mode_t mode) {
  if (mkdirat(parent_fd, name.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "make the directory " + Quoted(name));
  }
  LEVER_ASSIGN_OR_RETURN(UniqueFd fd, OpenDirectory(parent_fd, name));
  if (fchmod(fd.get(), mode) != 0) {
    return ErrnoStatus(errno, "set the mode of the directory " + Quoted(name));
  }
  return fd;
}

StatusOr<std::vector<std::string>> ListDirectory(int directory_fd) {
  // Opened anew: fdopendir takes the descriptor over, and a copy would share the position.
  int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open a directory");
  std::unique_ptr<DIR, DirCloser> directory(fdopendir(fd));
  if (directory == nullptr) {
    int error = errno;
    close(fd);
    return ErrnoStatus(error, "read a directory");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrnoStatus(errno, "read a directory");
  std::sort(names.begin(), names.end());
  return names;
}

Status RemoveTree(int parent_fd, const std::string& name) {
  return TreeRemover(parent_fd).Remove(name);
}

Status Sync(int fd, std::string_view what) {
  if (fsync(fd) != 0) return ErrnoStatus(errno, "sync " + std::string(what));
  return Status::Ok();
}

Status WriteAll(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "write " + std::string(what));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return Status::Ok();
}

}  // namespace lever::deploy
