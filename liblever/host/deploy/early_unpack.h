// Unpacks a bundle on a thread of its own while the bundle's file is still being written.
//
// Threads: those of its user, one at a time; the thread that it starts touches only what it shares
// under its mutex. It has the priority of the thread that made it.
//
// Invariants
//  1. No byte is read before it is said to be there.
//  2. Destroying it ends the unpacking, whatever it waits for; no thread is left. A tree that was
//     unpacked stays, one that was not wholly unpacked does not.
#ifndef LIBLEVER_HOST_DEPLOY_EARLY_UNPACK_H_
#define LIBLEVER_HOST_DEPLOY_EARLY_UNPACK_H_

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "liblever/base/status.h"
#include "liblever/host/deploy/limits.h"
#include "liblever/host/deploy/unpack.h"

namespace lever::deploy {

class EarlyUnpack {
 public:
  // To the new directory `name` of `parent_fd`. Both descriptors must outlive the object.
  EarlyUnpack(int bundle_fd, int parent_fd, std::string name, const BundleLimits& limits);
  ~EarlyUnpack();
  EarlyUnpack(const EarlyUnpack&) = delete;
  EarlyUnpack& operator=(const EarlyUnpack&) = delete;

  // The file has `bytes` now, all of them written.
  void Grown(int64_t bytes);
  // No more will come.
  void End();
  // Waits for the result, once, after End(): that of UnpackBundle().
  StatusOr<BundleInfo> Finish();

 private:
  // pread(2) that waits for the file to grow; ECANCELED when the result is not wanted any more.
  ssize_t ReadAt(char* buffer, size_t size, off_t offset);

  const int bundle_fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t bytes_ = 0;
  bool ended_ = false;
  bool unwanted_ = false;
  std::optional<StatusOr<BundleInfo>> result_;  // the thread's until it is joined
  std::thread thread_;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_EARLY_UNPACK_H_
