// lever versions SERVICE, lever rollback SERVICE [VERSION], lever promote SERVICE
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/lever/ask.h"
#include "daemon/lever/command.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"
#include "liblever/policy/canary.h"

namespace lever::cli {
namespace {

using nlohmann::json;

// Characters of a bundle's hash that people tell bundles apart by.
constexpr size_t kHashShown = 12;

int64_t UnixNowNs() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

std::string State(const lever::v1::VersionRow& row) {
  if (row.current()) return "serves";
  if (row.canary_share() == 0) return "";
  return "canary, " + policy::FormatShare(row.canary_share()) +
         (row.canary_sticky() ? ", sticky" : "");
}

}  // namespace

int ListVersions(const Globals& globals, const std::string& service) {
  lever::v1::ListVersionsRequest request;
  request.set_environment(globals.environment);
  request.set_service(service);
  lever::v1::ListVersionsReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/ListVersions", request, &reply);
  if (!status.ok()) return Report(globals, status);
  if (globals.format == Format::kJson) {
    json rows = json::array();
    for (const auto& row : reply.versions()) {
      rows.push_back({{"version", row.version()},
                      {"current", row.current()},
                      {"deployed_unix_ns", row.deployed_unix_ns()},
                      {"bundle", row.bundle()},
                      {"reason", row.reason()},
                      {"canary_percent", row.canary_share() * 100.0 / policy::kShareParts},
                      {"canary_sticky", row.canary_sticky()}});
    }
    return Report(globals, PrintJson(rows));
  }
  std::vector<std::vector<std::string>> rows = {{"VERSION", "", "AGE", "BY", "BUNDLE"}};
  for (const auto& row : reply.versions()) {
    rows.push_back({std::to_string(row.version()), State(row),
                    Age(UnixNowNs() - row.deployed_unix_ns()), Plain(row.reason()),
                    Plain(row.bundle()).substr(0, kHashShown)});
  }
  return Report(globals, Print(Table(rows)));
}

int Rollback(const Globals& globals, const RollbackArguments& arguments) {
  lever::v1::RollbackRequest request;
  request.set_environment(globals.environment);
  request.set_service(arguments.service);
  request.set_version(arguments.version.value_or(0));
  lever::v1::RollbackReply reply;
  const Status status =
      AskHost(globals, "/lever.v1.Admin/Rollback", request, &reply, kNewVersionTimeoutNs);
  if (!status.ok()) return Report(globals, status);
  const std::string address = AddressOf(globals.environment, arguments.service);
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{"service", address}, {"version", reply.version()}}));
  }
  return Report(globals,
                Print(address + " version " + std::to_string(reply.version()) + " serves\n"));
}

int Promote(const Globals& globals, const std::string& service) {
  lever::v1::PromoteRequest request;
  request.set_environment(globals.environment);
  request.set_service(service);
  lever::v1::PromoteReply reply;
  const Status status =
      AskHost(globals, "/lever.v1.Admin/Promote", request, &reply, kNewVersionTimeoutNs);
  if (!status.ok()) return Report(globals, status);
  const std::string address = AddressOf(globals.environment, service);
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{"service", address}, {"version", reply.version()}}));
  }
  return Report(globals,
                Print(address + " version " + std::to_string(reply.version()) + " serves\n"));
}

}  // namespace lever::cli
