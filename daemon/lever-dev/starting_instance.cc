#include "daemon/lever-dev/starting_instance.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

#include "lever/v1/admin.pb.h"
#include "liblever/base/fd.h"

namespace lever::cli {
namespace {

StatusOr<std::optional<lever::v1::InstanceRow>> Find(Connection* connection,
                                                     const std::string& environment,
                                                     const std::string& service,
                                                     uint64_t serving) {
  lever::v1::ListInstancesRequest request;
  request.set_environment(environment);
  request.set_service(service);
  lever::v1::ListInstancesReply reply;
  LEVER_RETURN_IF_ERROR(
      connection->CallHost("/lever.v1.Admin/ListInstances", request, &reply));
  std::optional<lever::v1::InstanceRow> found;
  for (const lever::v1::InstanceRow& row : reply.instances()) {
    if (row.attached() || row.phase() != "starting" || row.pid() <= 0) continue;
    if (row.version() <= (found ? found->version() : serving)) continue;
    found = row;
  }
  return found;
}

}  // namespace

Status KillStartingInstance(Connection* connection, const std::string& environment,
                            const std::string& service, uint64_t serving) {
  LEVER_ASSIGN_OR_RETURN(const std::optional<lever::v1::InstanceRow> found,
                         Find(connection, environment, service, serving));
  if (!found) return Status::Ok();
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, found->pid(), 0)));
  if (!process.valid()) return Status::Ok();  // it has ended
  // Before the descriptor was there the number may have become another's, or the instance ready.
  LEVER_ASSIGN_OR_RETURN(const std::optional<lever::v1::InstanceRow> still,
                         Find(connection, environment, service, serving));
  if (!still || still->id() != found->id()) return Status::Ok();
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  return Status::Ok();
}

}  // namespace lever::cli
