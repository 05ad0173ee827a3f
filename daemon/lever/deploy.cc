// lever deploy [DIR]: build, pack and upload, wait until it serves.
#include <sys/resource.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/deployment.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"
#include "liblever/policy/canary.h"

namespace lever::cli {
namespace {

// Added to the command's nice value.
constexpr int kPackingNice = 5;

Status PrintResult(const Globals& globals, const lever::v1::DeployProgress& result) {
  const std::string service = "lever://" + globals.environment + "/" + result.service();
  for (const std::string& note : result.notes()) Note(Plain(note));
  if (globals.format == Format::kJson) {
    const nlohmann::json object = {
        {"service", service},
        {"version", result.version()},
        {"unchanged", result.unchanged()},
        {"canary_percent", result.canary_share() * 100.0 / policy::kShareParts}};
    return Print(object.dump() + "\n");
  }
  std::string canary;
  if (result.canary_share() > 0) {
    canary = ", a canary with " + policy::FormatShare(result.canary_share()) + " of the calls";
  }
  return Print(service + " version " + std::to_string(result.version()) + canary +
               (result.unchanged() ? " (unchanged)\n" : "\n"));
}

Status BuildPackUpload(const Globals& globals, const DeployArguments& arguments) {
  lever::v1::DeployBegin terms;
  if (!arguments.canary.empty()) {
    LEVER_ASSIGN_OR_RETURN(const uint32_t share, policy::ParseShare(arguments.canary));
    terms.set_canary_share(share);
    terms.set_canary_sticky(arguments.sticky);
  }
  terms.set_watch(arguments.detach ? lever::v1::DeployBegin::DETACH
                                   : lever::v1::DeployBegin::AWAIT);
  const BuildOptions options{BuildEnvironment(FindInstallation())};
  LEVER_RETURN_IF_ERROR(BuildService(arguments.directory, options).status());
  // On one machine with its host, as on a laptop, packing takes what running services leave.
  ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + kPackingNice);
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, Connection::Open(globals));
  LEVER_ASSIGN_OR_RETURN(
      const lever::v1::DeployProgress result,
      PackAndUpload(connection.get(), arguments.directory, globals.environment, terms));
  return PrintResult(globals, result);
}

}  // namespace

int Deploy(const Globals& globals, const DeployArguments& arguments) {
  return Report(globals, BuildPackUpload(globals, arguments));
}

}  // namespace lever::cli
