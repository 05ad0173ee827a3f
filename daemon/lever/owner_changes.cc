// lever resource move|close|pause|resume SERVICE NAME [INSTANCE]
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "daemon/lever/ask.h"
#include "daemon/lever/command.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"
#include "liblever/policy/address.h"

namespace lever::cli {
namespace {

using Change = lever::v1::ChangeOwnerRequest;
using Row = lever::v1::OwnerRow;

// What runs has drainTimeout, at most an hour, and closing comes after.
constexpr auto kWaitMax = std::chrono::seconds(3700);
constexpr auto kLookAgain = std::chrono::milliseconds(50);

StatusOr<Row> OwnerOf(const Globals& globals, const OwnerChangeArguments& arguments) {
  lever::v1::ListOwnersRequest request;
  request.set_environment(globals.environment);
  request.set_service(arguments.service);
  request.set_resource(arguments.resource);
  lever::v1::ListOwnersReply reply;
  LEVER_RETURN_IF_ERROR(AskHost(globals, "/lever.v1.Admin/ListOwners", request, &reply));
  if (reply.owners_size() != 1) return Internal("the host did not say who owns it");
  return reply.owners(0);
}

StatusOr<Row> Await(const Globals& globals, const OwnerChangeArguments& arguments,
                    const std::function<bool(const Row&)>& done) {
  const auto give_up = std::chrono::steady_clock::now() + kWaitMax;
  for (;;) {
    LEVER_ASSIGN_OR_RETURN(Row row, OwnerOf(globals, arguments));
    if (done(row)) return row;
    if (std::chrono::steady_clock::now() >= give_up) {
      return DeadlineExceeded("it was begun, and is not done; `lever resources` shows it");
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

int ChangeOwner(const Globals& globals, const OwnerChangeArguments& arguments,
                Change::Change change, const std::string& what) {
  Change request;
  request.set_environment(globals.environment);
  request.set_service(arguments.service);
  request.set_resource(arguments.resource);
  request.set_change(change);
  request.set_instance(arguments.instance);
  lever::v1::ChangeOwnerReply begun;
  const Status asked = AskHost(globals, "/lever.v1.Admin/ChangeOwner", request, &begun);
  if (!asked.ok()) return Report(globals, asked);
  const auto done = [&](const Row& row) {
    if (!row.settled()) return false;
    switch (change) {
      case Change::MOVE: return row.instance() == begun.instance();
      case Change::CLOSE:
        return row.generation() != begun.generation_before() && !row.instance().empty();
      case Change::PAUSE: return row.instance().empty();
      default: return true;  // without an instance nobody gets it before it is called
    }
  };
  const StatusOr<Row> row = Await(globals, arguments, done);
  if (!row.ok()) return Report(globals, row.status());
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{"done", what},
                                      {"shard", row->shard()},
                                      {"instance", row->instance()},
                                      {"generation", row->generation()}}));
  }
  std::string text = AddressOf(globals.environment, arguments.service) + "/" +
                     policy::EncodeResource(arguments.resource) + " " + what;
  if (change == Change::MOVE) text += " to " + row->instance();
  text += ", with shard " + std::to_string(row->shard());
  return Report(globals, Print(Plain(text) + "\n"));
}

}  // namespace

int MoveResource(const Globals& globals, const OwnerChangeArguments& arguments) {
  return ChangeOwner(globals, arguments, Change::MOVE, "moved");
}

int CloseResource(const Globals& globals, const OwnerChangeArguments& arguments) {
  return ChangeOwner(globals, arguments, Change::CLOSE, "closed");
}

int PauseResource(const Globals& globals, const OwnerChangeArguments& arguments) {
  return ChangeOwner(globals, arguments, Change::PAUSE, "paused");
}

int ResumeResource(const Globals& globals, const OwnerChangeArguments& arguments) {
  return ChangeOwner(globals, arguments, Change::RESUME, "resumed");
}

}  // namespace lever::cli
