// The folders of pooled runtimes, inside lever-spawner: where a runtime that is started already, in
// its sandbox, later finds the bundle of the service that takes it over.
//
// Single-threaded, as the spawner is.
//
//  1. Each member has an empty folder, which its sandbox shows where bundles lie. What is mounted
//     into a folder appears in that sandbox and in no other: all folders are in one file system in
//     memory whose mounts propagate (mount_namespaces(7)), into sandboxes and not back.
//  2. The file system, and what is mounted in it, is in a mount namespace of the spawner's own. The
//     machine does not see it, and it is gone with the spawner, however that goes.
//  3. A bundle is mounted read-only, without devices and set-id programs, before it is moved to
//     where a member sees it.
//
// It needs a spawner that may mount (CAP_SYS_ADMIN), and Linux 5.12.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_POOL_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_POOL_H_

#include <cstdint>
#include <string>

namespace lever::fleet {

class PoolFolders {
 public:
  // Makes the file system on `directory`, which is there. Once, before anything is started.
  void Open(const std::string& directory);
  bool works() const { return works_; }
  // Why not.
  const std::string& error() const { return error_; }

  // An empty folder of its own. 0 or an errno.
  int Make(std::string* folder);
  // Shows `bundle` in the member's sandbox, under its own last name. 0 or an errno.
  static int Show(const std::string& folder, const std::string& bundle);
  // Takes both away.
  static void Remove(const std::string& folder);

 private:
  std::string Try(const std::string& directory);

  std::string root_;
  uint64_t made_ = 0;
  bool works_ = false;
  std::string error_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_POOL_H_
