// What every command of `lever` is given and gives back.
//
//   command_line.cc              flags and arguments
//   connection.cc, call_stream.cc  the client: calls, streams, Ctrl-C
//   deploy.cc, invoke.cc, stream.cc, logs.cc, list.cc  the commands
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
};

// Each returns the exit code, and has told of errors.
int Deploy(const Globals& globals, const DeployArguments& arguments);
int Invoke(const Globals& globals, const CallArguments& arguments);
int Stream(const Globals& globals, const CallArguments& arguments);
int Logs(const Globals& globals, const LogsArguments& arguments);
int ListInstances(const Globals& globals, const std::string& service);
int ListServices(const Globals& globals);
int Remove(const Globals& globals, const std::string& service);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_COMMAND_H_
