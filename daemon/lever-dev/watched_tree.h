// A directory that is watched: says that something may have changed, and what has.
//
// inotify(7) only wakes: what has changed is found by comparing two looks at the tree, so that a queue of
// the kernel's that overflows, a directory that appears with files in it already, and an editor that
// replaces a file by a rename are all alike.
//
// One thread at a time.
//
// Invariants
//  1. A directory is watched before its entries are read: no change falls between two looks unseen.
//  2. Where the kernel gives no more watches, polls() says why, and the tree has to be looked at now and
//     then.
#ifndef DAEMON_LEVER_DEV_WATCHED_TREE_H_
#define DAEMON_LEVER_DEV_WATCHED_TREE_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/lever-dev/watch_scope.h"
#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::cli {

// What of a file is compared. Not the inode and its change time: package managers make files anew that
// are the same.
struct FileState {
  mode_t mode = 0;
  int64_t bytes = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileState&) const = default;
};

// Files and links by their paths relative to the root, and directories, of which only that they are there
// counts.
using TreeState = std::map<std::string, FileState>;

// The paths that are in one of the two, or differ.
std::vector<std::string> ChangedPaths(const TreeState& before, const TreeState& after);

class WatchedTree {
 public:
  explicit WatchedTree(std::string root);
  WatchedTree(const WatchedTree&) = delete;
  WatchedTree& operator=(const WatchedTree&) = delete;

  // Readable when something may have changed; -1 if there is no inotify to be had.
  int fd() const { return inotify_.get(); }
  // Takes the events that have come. Whether there were any.
  bool TakeEvents();
  // NOT_FOUND: the root is gone. RESOURCE_EXHAUSTED: more files than a bundle may have.
  StatusOr<TreeState> Look(const WatchScope& scope);
  // Why changes do not wake, at least not all; empty if they do.
  const std::string& polls() const { return polls_; }

 private:
  Status LookInto(int directory_fd, const std::string& prefix, const WatchScope& scope, int depth,
                  TreeState* state);
  void Watch(const std::string& path);

  std::string root_;
  UniqueFd inotify_;
  std::string polls_;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_WATCHED_TREE_H_
