// What every command of `lever` is given and gives back.
//
//   command_line.cc              flags and arguments
//   connection.cc, call_stream.cc  the client: calls, streams, Ctrl-C
//   ask.cc                       the client of the commands that ask the host one thing
//   deploy.cc, environments.cc, init.cc, invoke.cc, list.cc, logs.cc, owners.cc, settings.cc, stream.cc,
//   test.cc, versions.cc                  the commands; that of `dev` is daemon/lever-dev
//
// Results go to standard output, everything else to standard error. The exit codes are those of
// lever/status.h.
#ifndef DAEMON_LEVER_COMMAND_H_
#define DAEMON_LEVER_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"

namespace lever::cli {

// Where the host is if neither --host nor $LEVER_HOST says.
inline constexpr std::string_view kDefaultHost = "127.0.0.1:8080";

enum class Format : uint8_t { kPeople, kJson };

struct Globals {
  std::string host;         // never empty
  std::string environment;  // never empty
  Format format = Format::kPeople;
};

struct DeployArguments {
  std::string directory = ".";
  bool detach = false;
  std::string canary;  // "10%"; empty: the version takes over
  bool sticky = false;
};
struct DevArguments {
  std::vector<std::string> directories;  // at least one
  std::string listen;                    // empty: 127.0.0.1:8080, or a free port
  std::string data_dir;                  // empty: a temporary one
  std::vector<std::string> upstreams;
};
struct InitArguments {
  std::string directory;
  std::string language;  // one of TemplateLanguages()
  std::string name;      // empty: that of the directory
};
struct TestArguments {
  std::string directory = ".";
  std::vector<std::string> extra;  // for the language's own command
};
struct CallArguments {
  std::string address;
  std::vector<std::string> json;
  bool bytes = false;   // invoke: standard input is the one argument
  std::string timeout;  // "5s"; empty: the default
};
struct LogsArguments {
  std::string service;  // empty: all of the environment
  bool follow = false;
  std::optional<uint32_t> tail;
  std::string since;  // "10m" ago, or a time; empty: whenever
  std::string grep;   // a regular expression; empty: every line
};

struct EnvironmentArguments {
  std::string name;
  std::string copy_from;  // empty: a new one is empty
  bool force = false;     // delete: with its services
};

struct SettingsArguments {
  std::string service;
  std::vector<std::string> names;  // config set: KEY=VALUE each
};
struct OwnersArguments {
  std::string service;
  std::string resource;  // decoded; empty: all shards
};
struct OwnerChangeArguments {
  std::string service;
  std::string resource;  // decoded
  std::string instance;  // move: who gets it; empty: another
};
struct RollbackArguments {
  std::string service;
  std::optional<uint64_t> version;  // the one before the current
};

// Each returns the exit code, and has told of errors.
int Deploy(const Globals& globals, const DeployArguments& arguments);
int Dev(const Globals& globals, const DevArguments& arguments);
int Init(const Globals& globals, const InitArguments& arguments);
int Test(const Globals& globals, const TestArguments& arguments);
int Invoke(const Globals& globals, const CallArguments& arguments);
int Stream(const Globals& globals, const CallArguments& arguments);
int Logs(const Globals& globals, const LogsArguments& arguments);
int ListInstances(const Globals& globals, const std::string& service);
int ListServices(const Globals& globals);
int ListOwners(const Globals& globals, const OwnersArguments& arguments);
int MoveResource(const Globals& globals, const OwnerChangeArguments& arguments);
int CloseResource(const Globals& globals, const OwnerChangeArguments& arguments);
int PauseResource(const Globals& globals, const OwnerChangeArguments& arguments);
int ResumeResource(const Globals& globals, const OwnerChangeArguments& arguments);
int ListVersions(const Globals& globals, const std::string& service);
int Rollback(const Globals& globals, const RollbackArguments& arguments);
int Promote(const Globals& globals, const std::string& service);
int SetConfig(const Globals& globals, const SettingsArguments& arguments);
int GetConfig(const Globals& globals, const SettingsArguments& arguments);
int ListConfig(const Globals& globals, const SettingsArguments& arguments);
int UnsetConfig(const Globals& globals, const SettingsArguments& arguments);
int SetSecret(const Globals& globals, const SettingsArguments& arguments);
int ListSecrets(const Globals& globals, const SettingsArguments& arguments);
int UnsetSecret(const Globals& globals, const SettingsArguments& arguments);
int CreateEnvironment(const Globals& globals, const EnvironmentArguments& arguments);
int DeleteEnvironment(const Globals& globals, const EnvironmentArguments& arguments);
int ListEnvironments(const Globals& globals);
int Remove(const Globals& globals, const std::string& service);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_COMMAND_H_
