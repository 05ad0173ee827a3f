// The host's data directory: made if it is missing, and looked at before anything is put there.
//
//   <data-dir>/registry/           the registry's files, for the host alone
//   <data-dir>/uploads, bundles    bundles (deploy/bundle_store.h), for the host alone
//   <data-dir>/trees/              unpacked bundles: services run in there
//   <data-dir>/pool/               bundles of runtimes that wait (fleet/spawner_pool.h)
//   <data-dir>/introduction.sock   where programs on this machine get their introductions
#ifndef LIBLEVER_HOST_CAPI_DATA_DIR_H_
#define LIBLEVER_HOST_CAPI_DATA_DIR_H_

#include <cstdint>
#include <string>

#include "liblever/base/status.h"

namespace lever::host {

enum class ServiceUsers : uint8_t {
  kSame,      // services run as the host's own user
  kSeparate,  // each under a user of its own, who must be able to reach its tree
};

// FAILED_PRECONDITION says which folder keeps the services' users out.
Status PrepareDataDir(const std::string& data_dir, ServiceUsers users);

// The folder of runtimes that are started ahead, which only a host with such has.
Status PreparePoolDir(const std::string& data_dir);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_DATA_DIR_H_
