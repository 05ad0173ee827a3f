#include "liblever/route/in_process.h"

#include <optional>
#include <utility>

#include "liblever/route/host_link.h"
#include "liblever/route/service_key.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"

namespace lever::route {

InProcess::InProcess(Loop* loop) : nobody_(rpc::Server::Make(loop, this)) {}

Status InProcess::Add(std::string_view environment, std::string_view service,
                      IncomingAcceptor* acceptor) {
  const auto [at, added] = services_.try_emplace(ServiceKey(environment, service));
  if (added) {
    at->second = {acceptor, ++last_number_};
    return Status::Ok();
  }
  return AlreadyExists("this queue has an in_process service lever://" + std::string(environment) +
                       "/" + std::string(service) + " already");
}

void InProcess::Remove(const IncomingAcceptor* acceptor) {
  for (auto at = services_.begin(); at != services_.end(); ++at) {
    if (at->second.acceptor != acceptor) continue;
    services_.erase(at);
    return;
  }
}

uint64_t InProcess::Find(std::string_view environment, std::string_view service) const {
  const auto found = services_.find(ServiceKey(environment, service));
  return found == services_.end() ? 0 : found->second.number;
}

StatusOr<UniqueFd> InProcess::Connect(std::string_view environment, std::string_view service,
                                      std::string_view caller) {
  LEVER_ASSIGN_OR_RETURN(auto ends, SocketPair(SOCK_STREAM));
  const auto found = services_.find(ServiceKey(environment, service));
  if (found == services_.end()) {
    LEVER_RETURN_IF_ERROR(nobody_->Adopt(std::move(ends.second)));
    return std::move(ends.first);
  }
  Introduction introduction;
  introduction.direction = Introduction::Direction::kIncoming;
  introduction.caller = caller;
  if (!found->second.acceptor->OnIncomingConnection(introduction, std::move(ends.second))) {
    return Unavailable("the in_process service takes no connections").WithExecuted(LEVER_EXECUTED_NO);
  }
  return std::move(ends.first);
}

void InProcess::OnCall(rpc::Call& call) {
  const std::optional<std::string_view> url = call.headers().Find(kUrlHeader);
  call.Finish(NotFound("no in_process service of this queue is meant by '" +
                       std::string(url.value_or(call.path())) + "'")
                  .WithExecuted(LEVER_EXECUTED_NO));
}

}  // namespace lever::route
