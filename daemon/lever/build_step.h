// The `build` of lever.json, run before the directory is packed.
#ifndef DAEMON_LEVER_BUILD_STEP_H_
#define DAEMON_LEVER_BUILD_STEP_H_

#include <string>
#include <vector>

#include "liblever/base/status.h"

namespace lever::cli {

// Runs `argv` in `directory` with its output on standard error, and waits for it.
// FAILED_PRECONDITION says how it failed.
Status RunBuild(const std::string& directory, const std::vector<std::string>& argv);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_BUILD_STEP_H_
