// lever resources SERVICE [--of NAME]
#include <algorithm>
#include <map>
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

json OwnerJson(const lever::v1::OwnerRow& row) {
  return {{"shard", row.shard()},     {"instance", row.instance()}, {"generation", row.generation()},
          {"version", row.version()}, {"settled", row.settled()},   {"age_ns", row.age_ns()},
          {"paused", row.paused()},
          {"calls", row.calls()},     {"streams", row.streams()}};
}

std::string StateText(const lever::v1::OwnerRow& row) {
  if (!row.settled()) return "moving";
  if (row.paused()) return "paused";
  return row.instance().empty() ? "nobody's" : "owned";
}

// "-" for nobody, and for a program that attached itself.
std::string VersionText(uint64_t version) { return version == 0 ? "-" : std::to_string(version); }

std::string OwnerText(const lever::v1::OwnerRow& row) {
  return row.instance().empty() ? "-" : Plain(row.instance());
}

std::string OneShard(const lever::v1::OwnerRow& row, uint32_t shards) {
  return Table({{"SHARD", "INSTANCE", "VERSION", "GENERATION", "AGE", "STATE"},
                {std::to_string(row.shard()) + " of " + std::to_string(shards), OwnerText(row),
                 VersionText(row.version()), std::to_string(row.generation()), Age(row.age_ns()),
                 StateText(row)}});
}

// A row an instance: the shards of a service are many, and alike.
std::string AllShards(const lever::v1::ListOwnersReply& reply) {
  struct Owned {
    uint32_t shards = 0;
    uint32_t moving = 0;
    const lever::v1::OwnerRow* newest = nullptr;
  };
  std::map<std::string, Owned> owners;
  for (const auto& row : reply.owners()) {
    Owned& owned = owners[row.instance()];
    ++owned.shards;
    if (!row.settled()) ++owned.moving;
    if (owned.newest == nullptr || row.age_ns() < owned.newest->age_ns()) owned.newest = &row;
  }
  std::vector<std::vector<std::string>> rows = {
      {"INSTANCE", "VERSION", "SHARDS", "MOVING", "CALLS", "STREAMS", "LAST CHANGE"}};
  for (const auto& [instance, owned] : owners) {
    rows.push_back({OwnerText(*owned.newest), VersionText(owned.newest->version()),
                    std::to_string(owned.shards), std::to_string(owned.moving),
                    std::to_string(owned.newest->calls()), std::to_string(owned.newest->streams()),
                    Age(owned.newest->age_ns())});
  }
  return Table(rows);
}

}  // namespace

int ListOwners(const Globals& globals, const OwnersArguments& arguments) {
  lever::v1::ListOwnersRequest request;
  request.set_environment(globals.environment);
  request.set_service(arguments.service);
  request.set_resource(arguments.resource);
  lever::v1::ListOwnersReply reply;
  const Status status = AskHost(globals, "/lever.v1.Admin/ListOwners", request, &reply);
  if (!status.ok()) return Report(globals, status);
  if (globals.format == Format::kJson) {
    json rows = json::array();
    for (const auto& row : reply.owners()) rows.push_back(OwnerJson(row));
    return Report(globals, PrintJson({{"shards", reply.shards()}, {"owners", rows}}));
  }
  const bool one = !arguments.resource.empty() && reply.owners_size() == 1;
  return Report(globals,
                Print(one ? OneShard(reply.owners(0), reply.shards()) : AllShards(reply)));
}

}  // namespace lever::cli
