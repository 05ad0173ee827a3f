// lever-dev: what `lever dev` becomes. A program of its own, so that `lever`, which is started for every
// call, does not load what only a host needs.
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "daemon/lever/command.h"
#include "daemon/lever/command_line.h"
#include "daemon/lever/output.h"

namespace lever::cli {
namespace {

// As many descriptors as it may have: the usual 1,024 are few for a host's connections.
void RaiseDescriptorLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

int Main(int argc, char** argv) {
  const CommandLine line =
      ParseCommandLine(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
  if (line.exit_code) {
    (void)WriteAll(*line.exit_code == 0 ? STDOUT_FILENO : STDERR_FILENO, line.text);
    return *line.exit_code;
  }
  if (line.command != Command::kDev) {
    Note("lever-dev is started by `lever dev`");
    return StatusToExitCode(LEVER_INVALID_ARGUMENT);
  }
  RaiseDescriptorLimit();
  return Dev(line.globals, line.dev);
}

}  // namespace
}  // namespace lever::cli

int main(int argc, char** argv) { return lever::cli::Main(argc, argv); }
