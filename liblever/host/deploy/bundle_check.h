// What only the whole bundle can tell: whether it is what its manifest said, and has what it runs.
//
// Blocks on the disk: to be called on a disk thread. Any thread, for different uploads.
#ifndef LIBLEVER_HOST_DEPLOY_BUNDLE_CHECK_H_
#define LIBLEVER_HOST_DEPLOY_BUNDLE_CHECK_H_

#include <string>

#include "liblever/base/status.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/manifest.h"

namespace lever::deploy {

// Makes the upload durable and gives its hash. INVALID_ARGUMENT where the lever.json in it says
// something else than `manifest`, or where what it runs is not in the bundle; a bundle that is
// refused here is stored, named by nobody, and removed with the next garbage.
StatusOr<std::string> CommitChecked(BundleStore* store, BundleStore::Upload* upload,
                                    const Manifest& manifest);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_BUNDLE_CHECK_H_
