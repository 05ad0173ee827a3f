// A service's directory as a bundle.
//
// The same files give the same bytes, whoever packs them, when and where: entries in the order of their
// names' bytes, no times, no owners, modes 0644 and 0755 (tar.h). What .leverignore excludes is left
// out (ignore.h), and so are .git, .hg, .svn, .DS_Store and .leverignore itself; lever.json never is.
//
// What a host would refuse is refused here, by name: FIFOs, sockets and devices, names that
// are not UTF-8, links that lead outside or to nothing, too much of anything (limits.h).
//
// Blocks on the disk. Safe from any thread.
#ifndef LIBLEVER_HOST_DEPLOY_PACK_H_
#define LIBLEVER_HOST_DEPLOY_PACK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/deploy/limits.h"

namespace lever::deploy {

struct PackedBundle {
  int64_t entries = 0;
  int64_t unpacked_bytes = 0;  // of the tar stream
  int64_t packed_bytes = 0;
};

// Whether files and directories of that name are left out whatever .leverignore says.
bool IsNeverPacked(std::string_view name);

// Takes the next bytes of a bundle. An error ends the packing, with that error.
using BundleSink = std::function<Status(std::string_view packed)>;

// Gives the bundle of `directory` to `sink`, piece by piece as it is made. INVALID_ARGUMENT and
// RESOURCE_EXHAUSTED say what cannot be packed; ABORTED: a file changed meanwhile.
StatusOr<PackedBundle> PackDirectory(const std::string& directory, const BundleSink& sink,
                                     const BundleLimits& limits = {});

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_PACK_H_
