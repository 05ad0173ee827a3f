#include "daemon/lever-dev/watched_tree.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "liblever/host/deploy/file_tree.h"
#include "liblever/host/deploy/limits.h"

namespace lever::cli {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM |
                             IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr size_t kEventBytes = 64 * 1024;

FileState StateOf(const struct stat& info) {
  if (S_ISDIR(info.st_mode)) return {S_IFDIR, 0, 0};
  return {info.st_mode, info.st_size,
          info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec};
}

}  // namespace

std::vector<std::string> ChangedPaths(const TreeState& before, const TreeState& after) {
  std::vector<std::string> changed;
  auto old = before.begin();
  auto now = after.begin();
  while (old != before.end() || now != after.end()) {
    if (now == after.end() || (old != before.end() && old->first < now->first)) {
      changed.push_back((old++)->first);
    } else if (old == before.end() || now->first < old->first) {
      changed.push_back((now++)->first);
    } else {
      if (old->second != now->second) changed.push_back(now->first);
      ++old;
      ++now;
    }
  }
  return changed;
}

WatchedTree::WatchedTree(std::string root)
    : root_(std::move(root)), inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (inotify_.valid()) return;
  polls_ = errno == EMFILE ? "fs.inotify.max_user_instances, or a limit on descriptors, is reached"
                           : ErrnoStatus(errno, "inotify").message();
}

bool WatchedTree::TakeEvents() {
  char buffer[kEventBytes];
  bool any = false;
  while (inotify_.valid() && ::read(inotify_.get(), buffer, sizeof(buffer)) > 0) any = true;
  return any;
}

void WatchedTree::Watch(const std::string& path) {
  if (!inotify_.valid()) return;
  const uint32_t how = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;
  // The root may be a link.
  const uint32_t events = kEvents | (path == root_ ? uint32_t{IN_ONLYDIR} : how);
  if (::inotify_add_watch(inotify_.get(), path.c_str(), events) >= 0) return;
  // One that is gone, or closed to us, is looked at like any other file.
  if (errno == ENOSPC) polls_ = "fs.inotify.max_user_watches is reached";
  if (errno == ENOMEM) polls_ = "there is no memory for more watches";
}

StatusOr<TreeState> WatchedTree::Look(const WatchScope& scope) {
  Watch(root_);
  const UniqueFd root(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, "the directory " + root_);
  TreeState state;
  LEVER_RETURN_IF_ERROR(LookInto(root.get(), "", scope, 1, &state));
  return state;
}

Status WatchedTree::LookInto(int directory_fd, const std::string& prefix, const WatchScope& scope,
                             int depth, TreeState* state) {
  const deploy::BundleLimits limits;
  if (depth > limits.depth_max) return Status::Ok();  // which the packer refuses by name
  const StatusOr<std::vector<std::string>> names = deploy::ListDirectory(directory_fd);
  // What cannot be read now the packer will tell of, if it is still there then.
  if (!names.ok()) return Status::Ok();
  for (const std::string& name : *names) {
    const std::string path = prefix + name;
    struct stat info;
    if (::fstatat(directory_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const bool is_directory = S_ISDIR(info.st_mode);
    const auto kind = is_directory ? deploy::PathKind::kDirectory : deploy::PathKind::kFile;
    if (!scope.Watches(path, kind)) continue;
    (*state)[path] = StateOf(info);
    if (static_cast<int64_t>(state->size()) > limits.entries_max) {
      return ResourceExhausted("there are more than " + std::to_string(limits.entries_max) +
                               " files to watch in " + root_ + "; .leverignore leaves files out");
    }
    if (!is_directory) continue;
    Watch(root_ + "/" + path);
    const StatusOr<UniqueFd> directory = deploy::OpenDirectory(directory_fd, name);
    if (!directory.ok()) continue;
    LEVER_RETURN_IF_ERROR(LookInto(directory->get(), path + "/", scope, depth + 1, state));
  }
  return Status::Ok();
}

}  // namespace lever::cli
