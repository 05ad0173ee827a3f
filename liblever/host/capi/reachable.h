// Whether other users of the machine can reach a file: services run under users of their own, and what
// they need has to be open to them.
//
// Functions without state; any thread. They look at files, and are for the time before loops run.
#ifndef LIBLEVER_HOST_CAPI_REACHABLE_H_
#define LIBLEVER_HOST_CAPI_REACHABLE_H_

#include <string>

#include "liblever/base/status.h"

namespace lever::host {

// FAILED_PRECONDITION names the first folder on the way to `path` (absolute), or `path` itself if it is a
// folder, that is closed to a user who owns nothing of it, and what opens it.
Status CheckReachable(const std::string& path);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_REACHABLE_H_
