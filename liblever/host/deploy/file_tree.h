// Directories and descriptors: opening below a directory, removing a tree, making a rename durable.
//
// Everything here blocks on the disk. Functions are safe from any thread.
#ifndef LIBLEVER_HOST_DEPLOY_FILE_TREE_H_
#define LIBLEVER_HOST_DEPLOY_FILE_TREE_H_

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::deploy {

enum class Links {
  kRefuse,  // ELOOP where the path meets a symbolic link, in its last part too
  kFollow,  // followed as long as they stay below the root
};

// open(2) of `path` below `root_fd`, resolved by the kernel (openat2 with RESOLVE_BENEATH and
// RESOLVE_NO_MAGICLINKS), so that nothing done to the tree meanwhile leads outside. Close-on-exec.
// Empty with errno on failure: EXDEV where the path leads out, ENOSYS where the kernel has no
// openat2.
UniqueFd OpenBeneath(int root_fd, const std::string& path, int flags, Links links, mode_t mode = 0);

// The status of a failed OpenBeneath, which says of ENOSYS what is missing.
Status OpenBeneathStatus(int error, std::string_view what);

// A directory for reading, without following a link at its end.
StatusOr<UniqueFd> OpenDirectory(int parent_fd, const std::string& name);

// Makes the directory if it is not there, with exactly `mode` whatever the umask, and opens it.
StatusOr<UniqueFd> MakeDirectory(int parent_fd, const std::string& name, mode_t mode);

// The names in the directory, sorted by their bytes, without "." and "..".
StatusOr<std::vector<std::string>> ListDirectory(int directory_fd);

// Removes the file or tree `name`, however deep, with a bounded number of descriptors; OK if there
// is none. Follows no links. `parent_fd` takes subtrees under names of RemoveTree's own for the
// moment, if the tree is very deep.
Status RemoveTree(int parent_fd, const std::string& name);

Status Sync(int fd, std::string_view what);

// Writes all of `bytes`.
Status WriteAll(int fd, std::string_view bytes, std::string_view what);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_FILE_TREE_H_
