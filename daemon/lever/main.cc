// lever: deploys services, calls them, and shows what runs.
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "daemon/lever/command.h"
#include "daemon/lever/command_line.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"
#include "daemon/standard_descriptors.h"
#include "lever/lever.h"

namespace lever::cli {
namespace {

int PrintVersion(const Globals& globals) {
  const std::string version = lever_version();
  return Report(globals,
                Print(globals.format == Format::kJson ? "{\"version\":\"" + version + "\"}\n"
                                                      : "lever " + version + "\n"));
}

// The command becomes lever-dev, which reads the same command line again.
int BecomeDev(const Globals& globals, char** argv) {
  const std::string program = FindInstallation().programs + "/lever-dev";
  ::execv(program.c_str(), argv);
  return Report(globals, ErrnoStatus(errno, program));
}

int Run(const CommandLine& line, char** argv) {
  switch (line.command) {
    case Command::kDev:
      return BecomeDev(line.globals, argv);
    case Command::kInit:
      return Init(line.globals, line.init);
    case Command::kTest:
      return Test(line.globals, line.test);
    case Command::kDeploy:
      return Deploy(line.globals, line.deploy);
    case Command::kInvoke:
      return Invoke(line.globals, line.call);
    case Command::kStream:
      return Stream(line.globals, line.call);
    case Command::kLogs:
      return Logs(line.globals, line.logs);
    case Command::kListInstances:
      return ListInstances(line.globals, line.service);
    case Command::kListServices:
      return ListServices(line.globals);
    case Command::kRemove:
      return Remove(line.globals, line.service);
    case Command::kListOwners:
      return ListOwners(line.globals, line.owners);
    case Command::kMoveResource:
      return MoveResource(line.globals, line.owner_change);
    case Command::kCloseResource:
      return CloseResource(line.globals, line.owner_change);
    case Command::kPauseResource:
      return PauseResource(line.globals, line.owner_change);
    case Command::kResumeResource:
      return ResumeResource(line.globals, line.owner_change);
    case Command::kListVersions:
      return ListVersions(line.globals, line.service);
    case Command::kRollback:
      return Rollback(line.globals, line.rollback);
    case Command::kPromote:
      return Promote(line.globals, line.service);
    case Command::kSetConfig:
      return SetConfig(line.globals, line.settings);
    case Command::kGetConfig:
      return GetConfig(line.globals, line.settings);
    case Command::kListConfig:
      return ListConfig(line.globals, line.settings);
    case Command::kUnsetConfig:
      return UnsetConfig(line.globals, line.settings);
    case Command::kSetSecret:
      return SetSecret(line.globals, line.settings);
    case Command::kListSecrets:
      return ListSecrets(line.globals, line.settings);
    case Command::kUnsetSecret:
      return UnsetSecret(line.globals, line.settings);
    case Command::kCreateEnvironment:
      return CreateEnvironment(line.globals, line.environment);
    case Command::kDeleteEnvironment:
      return DeleteEnvironment(line.globals, line.environment);
    case Command::kListEnvironments:
      return ListEnvironments(line.globals);
    case Command::kVersion:
      break;
  }
  return PrintVersion(line.globals);
}

int Main(int argc, char** argv) {
  if (!OpenStandardDescriptors()) return StatusToExitCode(LEVER_INTERNAL);
  const CommandLine line =
      ParseCommandLine(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
  if (!line.exit_code) return Run(line, argv);
  (void)WriteAll(*line.exit_code == 0 ? STDOUT_FILENO : STDERR_FILENO, line.text);
  return *line.exit_code;
}

}  // namespace
}  // namespace lever::cli

int main(int argc, char** argv) { return lever::cli::Main(argc, argv); }
