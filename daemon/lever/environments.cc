// lever env create|list|delete
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/lever/ask.h"
#include "daemon/lever/command.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"

namespace lever::cli {
namespace {

using nlohmann::json;

std::string CountText(uint32_t services) {
  return std::to_string(services) + (services == 1 ? " service" : " services");
}

int ReportDone(const Globals& globals, const std::string& name, const std::string& what,
               uint32_t services, bool say_services) {
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{what, name}, {"services", services}}));
  }
  std::string text = "environment " + name + " " + what;
  if (say_services) text += " with " + CountText(services);
  return Report(globals, Print(text + "\n"));
}

}  // namespace

int CreateEnvironment(const Globals& globals, const EnvironmentArguments& arguments) {
  lever::v1::CreateEnvironmentRequest request;
  request.set_environment(arguments.name);
  request.set_copy_from(arguments.copy_from);
  lever::v1::CreateEnvironmentReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/CreateEnvironment", request, &reply);
  if (!status.ok()) return Report(globals, status);
  return ReportDone(globals, arguments.name, "created", reply.services(),
                    !arguments.copy_from.empty());
}

int DeleteEnvironment(const Globals& globals, const EnvironmentArguments& arguments) {
  lever::v1::DeleteEnvironmentRequest request;
  request.set_environment(arguments.name);
  request.set_force(arguments.force);
  lever::v1::DeleteEnvironmentReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/DeleteEnvironment", request, &reply);
  if (!status.ok()) return Report(globals, status);
  return ReportDone(globals, arguments.name, "deleted", reply.services(), reply.services() > 0);
}

int ListEnvironments(const Globals& globals) {
  lever::v1::ListEnvironmentsReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/ListEnvironments",
                                lever::v1::ListEnvironmentsRequest(), &reply);
  if (!status.ok()) return Report(globals, status);
  if (globals.format == Format::kJson) {
    json rows = json::array();
    for (const auto& row : reply.environments()) {
      rows.push_back({{"environment", row.environment()}, {"services", row.services()}});
    }
    return Report(globals, PrintJson(rows));
  }
  std::vector<std::vector<std::string>> rows = {{"ENVIRONMENT", "SERVICES"}};
  for (const auto& row : reply.environments()) {
    rows.push_back({Plain(row.environment()), std::to_string(row.services())});
  }
  return Report(globals, Print(Table(rows)));
}

}  // namespace lever::cli
