// The lock of a data directory: two hosts never have one open at the same time.
//
// It is a flock() on the file `lock` in the directory, which the kernel gives back however the
// holder goes; the file says who holds it. Not thread-safe; move it between threads as you like.
#ifndef LIBLEVER_HOST_REGISTRY_DATA_DIR_LOCK_H_
#define LIBLEVER_HOST_REGISTRY_DATA_DIR_LOCK_H_

#include <memory>
#include <string>

#include "liblever/base/status.h"

namespace lever::registry {

class DataDirLock {
 public:
  // Makes the directory (mode 0700) if it is missing; its parent must be there.
  // FAILED_PRECONDITION, with the holder's pid where it is known: somebody has it open.
  static StatusOr<std::unique_ptr<DataDirLock>> Take(const std::string& directory);
  DataDirLock(const DataDirLock&) = delete;
  DataDirLock& operator=(const DataDirLock&) = delete;
  ~DataDirLock();

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_DATA_DIR_LOCK_H_
