// What the command was told to do: the command line and the environment variables, checked.
//
// Pure but for reading $LEVER_HOST and $LEVER_ENV.
#ifndef DAEMON_LEVER_COMMAND_LINE_H_
#define DAEMON_LEVER_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/lever/command.h"

namespace lever::cli {

enum class Command : uint8_t {
  kDeploy,
  kDev,
  kInit,
  kTest,
  kInvoke,
  kStream,
  kLogs,
  kListInstances,
  kListServices,
  kRemove,
  kListOwners,
  kMoveResource,
  kCloseResource,
  kPauseResource,
  kResumeResource,
  kListVersions,
  kRollback,
  kPromote,
  kSetConfig,
  kGetConfig,
  kListConfig,
  kUnsetConfig,
  kSetSecret,
  kListSecrets,
  kUnsetSecret,
  kCreateEnvironment,
  kDeleteEnvironment,
  kListEnvironments,
  kVersion
};

struct CommandLine {
  // Set: nothing is to be run. Help goes to standard output (exit code 0), an error to standard
  // error.
  std::optional<int> exit_code;
  std::string text;

  Command command = Command::kVersion;
  Globals globals;
  DeployArguments deploy;
  DevArguments dev;
  InitArguments init;
  TestArguments test;
  CallArguments call;
  LogsArguments logs;
  EnvironmentArguments environment;
  SettingsArguments settings;
  RollbackArguments rollback;
  OwnersArguments owners;
  OwnerChangeArguments owner_change;
  std::string service;  // of ps (empty: all), versions, promote and rm
};

// `arguments` without the program's own name.
CommandLine ParseCommandLine(std::vector<std::string> arguments);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_COMMAND_LINE_H_
