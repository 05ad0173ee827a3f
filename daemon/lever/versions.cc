// lever versions SERVICE, lever rollback SERVICE [VERSION], lever promote SERVICE
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
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

// Has the host let another version serve, and says which.
template <typename Reply, typename Request>
int LetServe(const Globals& globals, const std::string& service, const char* method,
             Request request) {
  request.set_environment(globals.environment);
  request.set_service(service);
  Reply reply;
  const Status status = AskHost(globals, method, request, &reply, kNewVersionTimeoutNs);
  if (!status.ok()) return Report(globals, status);
  const std::string address = AddressOf(globals.environment, service);
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{"service", address}, {"version", reply.version()}}));
  }
  return Report(globals,
                Print(address + " version " + std::to_string(reply.version()) + " serves\n"));
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
  request.set_version(arguments.version.value_or(0));
  return LetServe<lever::v1::RollbackReply>(globals, arguments.service, "/lever.v1.Admin/Rollback",
                                            std::move(request));
}

int Promote(const Globals& globals, const std::string& service) {
  return LetServe<lever::v1::PromoteReply>(globals, service, "/lever.v1.Admin/Promote",
                                           lever::v1::PromoteRequest());
}

}  // namespace lever::cli
