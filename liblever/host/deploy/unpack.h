// From a bundle's file to a tree of files, checked.
//
// Blocks on the disk and computes: to be called on a disk thread. Functions are safe from any
// thread, on different names.
//
// 1. The tree is whole or it is not there: whatever goes wrong, `name` is removed again.
// 2. Every file and directory is made at a path that the kernel resolved beneath the tree without
//    meeting a link, and was not there before. Every link was followed by the kernel, once the
//    tree was complete, and led to something inside.
// 3. Files are 0644 or 0755, directories 0755, all owned by the caller: readable by every user,
//    writable by none but the caller.
#ifndef LIBLEVER_HOST_DEPLOY_UNPACK_H_
#define LIBLEVER_HOST_DEPLOY_UNPACK_H_

#include <cstdint>
#include <string>

#include "liblever/base/status.h"
#include "liblever/host/deploy/codec.h"
#include "liblever/host/deploy/limits.h"

namespace lever::deploy {

struct BundleInfo {
  std::string hash;  // ContentHash of the tar stream
  int64_t entries = 0;
  int64_t unpacked_bytes = 0;  // of the tar stream
  std::string manifest;        // the text of lever.json, not yet parsed
};

// Unpacks the bundle in `bundle_fd` (read from its beginning; not closed) into the new directory
// `name` of `parent_fd`. INVALID_ARGUMENT and RESOURCE_EXHAUSTED say what is wrong with the bundle
// or which limit it breaks; ALREADY_EXISTS if `name` is there; otherwise the disk's trouble.
StatusOr<BundleInfo> UnpackBundle(int bundle_fd, int parent_fd, const std::string& name,
                                  const BundleLimits& limits);
// The same of a bundle whose packed size its reader bounds.
StatusOr<BundleInfo> UnpackBundle(ReadAt read, int parent_fd, const std::string& name,
                                  const BundleLimits& limits);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_UNPACK_H_
