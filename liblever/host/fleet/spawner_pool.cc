#include "liblever/host/fleet/spawner_pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "liblever/base/fd.h"

// After linux/mount.h, which has some of the same names.
#include <sys/mount.h>

namespace lever::fleet {
namespace {

// Folders and nothing in them: a page each.
constexpr const char* kFileSystem = "mode=0755,size=16m,nr_inodes=65536";

int Mount(const char* source, const char* target, const char* type, unsigned long flags,
          const char* data) {
  return mount(source, target, type, flags, data) == 0 ? 0 : errno;
}

// A copy of what is at `path` that is mounted nowhere yet, read-only.
int CloneReadOnly(const std::string& path, UniqueFd* tree) {
  tree->reset(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree->valid()) return errno;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  return syscall(SYS_mount_setattr, tree->get(), "", AT_EMPTY_PATH, &attributes,
                 sizeof attributes) == 0
             ? 0
             : errno;
}

int MoveTo(const UniqueFd& tree, const std::string& target) {
  return syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, target.c_str(),
                 MOVE_MOUNT_F_EMPTY_PATH) == 0
             ? 0
             : errno;
}

}  // namespace

void PoolFolders::Open(const std::string& directory) {
  error_ = Try(directory);
  works_ = error_.empty();
}

std::string PoolFolders::Try(const std::string& directory) {
  const auto failed = [](const char* what, int error) {
    return std::string(what) + ": " + strerror(error);
  };
  if (unshare(CLONE_NEWNS) != 0) return failed("a mount namespace of its own", errno);
  // What the machine mounts still arrives here; what is mounted here does not leave.
  if (int error = Mount("none", "/", nullptr, MS_SLAVE | MS_REC, nullptr); error != 0) {
    return failed("its mounts apart from the machine's", error);
  }
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
  if (int error = Mount("lever-pool", directory.c_str(), "tmpfs", kFlags, kFileSystem);
      error != 0) {
    return failed("a file system for its folders", error);
  }
  if (int error = Mount("none", directory.c_str(), nullptr, MS_SHARED, nullptr); error != 0) {
    return failed("a file system whose mounts propagate", error);
  }
  root_ = directory;
  std::string folder;
  if (int error = Make(&folder); error != 0) return failed("a folder", error);
  const int error = Show(folder, "/usr");
  Remove(folder);
  return error == 0 ? "" : failed("a mount in a folder", error);
}

int PoolFolders::Make(std::string* folder) {
  *folder = root_ + "/" + std::to_string(++made_);
  // The process's mask may be any.
  return mkdir(folder->c_str(), 0755) == 0 && chmod(folder->c_str(), 0755) == 0 ? 0 : errno;
}

int PoolFolders::Show(const std::string& folder, const std::string& bundle) {
  UniqueFd tree;
  if (int error = CloneReadOnly(bundle, &tree); error != 0) return error;
  const std::string target = folder + bundle.substr(bundle.rfind('/'));
  if (mkdir(target.c_str(), 0755) != 0) return errno;
  return MoveTo(tree, target);
}

void PoolFolders::Remove(const std::string& folder) {
  DIR* directory = opendir(folder.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const std::string path = folder + "/" + entry->d_name;
    umount2(path.c_str(), MNT_DETACH);
    rmdir(path.c_str());
  }
  closedir(directory);
  rmdir(folder.c_str());
}

}  // namespace lever::fleet
