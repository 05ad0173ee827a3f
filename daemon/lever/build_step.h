// The `build` of lever.json, run before the directory is packed.
#ifndef DAEMON_LEVER_BUILD_STEP_H_
#define DAEMON_LEVER_BUILD_STEP_H_

#include <string>
#include <vector>

#include "liblever/base/status.h"

namespace lever::cli {

struct BuildOptions {
  // "NAME=value", in place of what this process has under the name.
  std::vector<std::string> environment;
  // Not -1: a descriptor that is readable when the build is to be given up. The build has a process
  // group of its own then, and no standard input, so that the keyboard does not reach it: it is ended
  // by this.
  int cancel_fd = -1;
};

// Runs `argv` in `directory` with its output on standard error, and waits for it.
// FAILED_PRECONDITION says how it failed; CANCELLED: it was given up.
Status RunBuild(const std::string& directory, const std::vector<std::string>& argv,
                const BuildOptions& options = {});

// The strings of `environ` with `changes` in it, each "NAME=value".
std::vector<std::string> EnvironmentWith(const std::vector<std::string>& changes);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_BUILD_STEP_H_
