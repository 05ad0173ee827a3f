// lever ps [SERVICE], lever ls, lever rm SERVICE
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/lever/ask.h"
#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"

namespace lever::cli {
namespace {

using nlohmann::json;

// "node /usr/bin/node 20.20.2": what the host runs services with, or why it cannot.
std::string RuntimeText(const lever::v1::Runtime& runtime) {
  std::string text = runtime.name();
  if (!runtime.path().empty()) text += " " + runtime.path();
  text +=
      runtime.error().empty() ? " " + runtime.version() : " (not usable: " + runtime.error() + ")";
  return Plain(text);
}

std::string HostText(const Globals& globals, const lever::v1::HostDetails& host) {
  std::string text = "host " + globals.host + " (lever " + host.version() + ")";
  for (const auto& runtime : host.runtimes()) text += "; " + RuntimeText(runtime);
  return Plain(text);
}

json InstanceJson(const lever::v1::InstanceRow& row) {
  return {{"environment", row.environment()},
          {"service", row.service()},
          {"id", row.id()},
          {"version", row.version()},
          {"phase", row.phase()},
          {"attached", row.attached()},
          {"canary", row.canary()},
          {"pid", row.pid()},
          {"runtime", row.runtime()},
          {"address", row.address()},
          {"calls", row.calls()},
          {"streams", row.streams()},
          {"calls_total", row.calls_total()},
          {"age_ns", row.age_ns()},
          {"driver", row.driver()}};
}

std::vector<std::string> InstanceCells(const lever::v1::InstanceRow& row) {
  return {Plain(row.service()),
          row.version() == 0 ? "-" : std::to_string(row.version()) + (row.canary() ? " canary" : ""),
          Plain(row.id()),
          Plain(row.phase()) + (row.attached() ? ", attached" : ""),
          row.pid() == 0 ? "-" : std::to_string(row.pid()),
          std::to_string(row.calls()),
          std::to_string(row.streams()),
          std::to_string(row.calls_total()),
          Age(row.age_ns()),
          row.runtime().empty() ? "-" : Plain(row.runtime()),
          row.driver().empty() ? "-" : Plain(row.driver())};
}

json ServiceJson(const lever::v1::ServiceRow& row) {
  return {{"environment", row.environment()}, {"service", row.service()},
          {"version", row.version()},         {"description", row.description()},
          {"instances", row.instances()},     {"private", row.private_()},
          {"last_error", row.last_error()},   {"backoff_ns", row.backoff_ns()},
          {"instances_wanted", row.instances_wanted()}};
}

std::vector<std::string> ServiceCells(const lever::v1::ServiceRow& row) {
  std::string notes = Plain(row.description());
  if (!row.last_error().empty()) {
    notes += (notes.empty() ? "" : "; ") + ("last error: " + Plain(row.last_error()));
  }
  if (row.backoff_ns() > 0) {
    notes += "; next start in " + std::to_string(row.backoff_ns() / 1'000'000) + " ms";
  }
  return {AddressOf(row.environment(), row.service()),
          row.version() == 0 ? "-" : std::to_string(row.version()), std::to_string(row.instances()),
          row.private_() ? "yes" : "no", notes};
}

Status ShowInstances(const Globals& globals, const std::string& service) {
  lever::v1::ListInstancesRequest request;
  request.set_environment(globals.environment);
  request.set_service(service);
  lever::v1::ListInstancesReply reply;
  lever::v1::HostDetails host;
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, Connection::Open(globals));
  LEVER_RETURN_IF_ERROR(connection->CallHost("/lever.v1.Admin/ListInstances", request, &reply));
  if (globals.format == Format::kJson) {
    json rows = json::array();
    for (const auto& row : reply.instances()) rows.push_back(InstanceJson(row));
    return PrintJson(rows);
  }
  LEVER_RETURN_IF_ERROR(
      connection->CallHost("/lever.v1.Admin/GetHost", lever::v1::GetHostRequest(), &host));
  std::vector<std::vector<std::string>> rows = {{"SERVICE", "VERSION", "INSTANCE", "PHASE", "PID",
                                                 "CALLS", "STREAMS", "TOTAL", "AGE", "RUNTIME",
                                                 "DRIVER"}};
  for (const auto& row : reply.instances()) rows.push_back(InstanceCells(row));
  return Print(Table(rows) + "\n" + HostText(globals, host) + "\n");
}

}  // namespace

int ListInstances(const Globals& globals, const std::string& service) {
  return Report(globals, ShowInstances(globals, service));
}

int ListServices(const Globals& globals) {
  lever::v1::ListServicesRequest request;
  request.set_environment(globals.environment);
  lever::v1::ListServicesReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/ListServices", request, &reply);
  if (!status.ok()) return Report(globals, status);
  if (globals.format == Format::kJson) {
    json rows = json::array();
    for (const auto& row : reply.services()) rows.push_back(ServiceJson(row));
    return Report(globals, PrintJson(rows));
  }
  std::vector<std::vector<std::string>> rows = {
      {"SERVICE", "VERSION", "INSTANCES", "PRIVATE", "DESCRIPTION"}};
  for (const auto& row : reply.services()) rows.push_back(ServiceCells(row));
  return Report(globals, Print(Table(rows)));
}

int Remove(const Globals& globals, const std::string& service) {
  lever::v1::RemoveRequest request;
  request.set_environment(globals.environment);
  request.set_service(service);
  lever::v1::RemoveReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/Remove", request, &reply);
  if (!status.ok()) return Report(globals, status);
  const std::string address = AddressOf(globals.environment, service);
  if (globals.format == Format::kJson) return Report(globals, PrintJson({{"removed", address}}));
  return Report(globals, Print(address + " removed\n"));
}

}  // namespace lever::cli
