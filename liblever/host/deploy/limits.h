// What a bundle may be at most. The packer and the host check the same numbers, so that a user is
// told before the upload.
#ifndef LIBLEVER_HOST_DEPLOY_LIMITS_H_
#define LIBLEVER_HOST_DEPLOY_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace lever::deploy {

inline constexpr int64_t kMebibyte = 1024 * 1024;

// A host may be told other values for these.
struct BundleLimits {
  int64_t packed_bytes_max = 250 * kMebibyte;
  // Of the whole tar stream, headers and padding included: the one number that bounds what a
  // compressed bomb can make of a host's disk and time.
  int64_t unpacked_bytes_max = 1024 * kMebibyte;
  int64_t entries_max = 200 * 1000;
  // Links are remembered until the tree is complete: links_max x kPathBytesMax = 20 MiB at worst.
  int64_t links_max = 20 * 1000;
  int64_t depth_max = 64;
};

// Below PATH_MAX (4096) by far, so that the path of a file is valid below any data directory.
inline constexpr size_t kPathBytesMax = 1024;
inline constexpr size_t kNameBytesMax = 255;  // NAME_MAX of Linux's file systems
// A PAX header holds a path, a link's target and a few times and numbers.
inline constexpr int64_t kPaxBytesMax = 16 * 1024;
static_assert(kPaxBytesMax > static_cast<int64_t>(4 * kPathBytesMax));

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_LIMITS_H_
