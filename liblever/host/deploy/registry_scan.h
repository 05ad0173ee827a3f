// All keys of a prefix, page after page.
//
// Threads: `done` runs, once, where the registry's completions run.
#ifndef LIBLEVER_HOST_DEPLOY_REGISTRY_SCAN_H_
#define LIBLEVER_HOST_DEPLOY_REGISTRY_SCAN_H_

#include <string>
#include <vector>

#include "liblever/host/registry/registry.h"

namespace lever::deploy {

// Each page is of its own moment: a key that comes or goes meanwhile may be missed.
void ScanPrefix(registry::Registry* registry, std::string prefix,
                registry::Done<std::vector<registry::Entry>> done);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_REGISTRY_SCAN_H_
