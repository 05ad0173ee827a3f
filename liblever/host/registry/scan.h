// All keys of a prefix, page after page.
//
// Threads: `done` runs, once, where the registry's completions run.
#ifndef LIBLEVER_HOST_REGISTRY_SCAN_H_
#define LIBLEVER_HOST_REGISTRY_SCAN_H_

#include <string>
#include <vector>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

// Each page is of its own moment: a key that comes or goes meanwhile may be missed.
void ScanPrefix(Registry* registry, std::string prefix, Done<std::vector<Entry>> done);

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_SCAN_H_
