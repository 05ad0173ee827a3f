#include "liblever/route/host_link.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/route/in_process.h"
#include "liblever/route/router.h"
#include "liblever/route/service_key.h"
#include "liblever/rpc/channel.h"

namespace lever::route {

HostLink::HostLink(Loop* loop, uint64_t seed) : loop_(loop), random_(seed) {}

HostLink::~HostLink() {
  to_services_.clear();
  ending_.clear();
  router_.reset();
  introductions_.clear();
}

StatusOr<std::shared_ptr<HostLink>> HostLink::To(Loop* loop, std::string_view endpoint,
                                                 const rpc::TlsClientOptions& tls,
                                                 uint64_t seed) {
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint parsed, rpc::Endpoint::Parse(endpoint));
  std::shared_ptr<rpc::TlsClientContext> context;
  if (parsed.tls) {
    LEVER_ASSIGN_OR_RETURN(context, rpc::TlsClientContext::Open(tls));
  }
  std::shared_ptr<HostLink> link(new HostLink(loop, seed));
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  link->channel_ = rpc::Channel::To(loop, std::move(parsed), options, 0, std::move(context));
  link->router_ = std::make_unique<Router>(link.get());
  return link;
}

StatusOr<std::shared_ptr<HostLink>> HostLink::Over(Loop* loop, UniqueFd socket,
                                                   UniqueFd introductions, uint64_t seed) {
  std::shared_ptr<HostLink> link(new HostLink(loop, seed));
  LEVER_RETURN_IF_ERROR(SetNonBlocking(socket.get()));
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  LEVER_ASSIGN_OR_RETURN(link->channel_, rpc::Channel::Over(loop, std::move(socket), options));
  link->router_ = std::make_unique<Router>(link.get());
  if (introductions.valid()) {
    LEVER_ASSIGN_OR_RETURN(
        auto opened, IntroductionSocket::Over(loop, std::move(introductions), link.get()));
    link->introductions_.push_back(std::move(opened));
  }
  return link;
}

StatusOr<std::shared_ptr<HostLink>> HostLink::InProcessOnly(Loop* loop,
                                                            std::shared_ptr<InProcess> services,
                                                            std::string caller) {
  std::shared_ptr<HostLink> link(new HostLink(loop, RandomSeed()));
  link->in_process_ = std::move(services);
  link->caller_ = std::move(caller);
  // No service has an empty name: this is the way to who answers NOT_FOUND.
  LEVER_ASSIGN_OR_RETURN(link->channel_, link->OpenInProcess("", ""));
  link->router_ = std::make_unique<Router>(link.get());
  return link;
}

StatusOr<std::unique_ptr<rpc::Channel>> HostLink::OpenInProcess(const std::string& environment,
                                                                const std::string& service) {
  LEVER_ASSIGN_OR_RETURN(UniqueFd socket, in_process_->Connect(environment, service, caller_));
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  return rpc::Channel::Over(loop_, std::move(socket), options);
}

rpc::Channel& HostLink::ChannelTo(const std::string& environment, const std::string& service) {
  if (!ending_.empty()) loop_->Arm(&ending_timer_, loop_->now_ns());
  const std::string key = ServiceKey(environment, service);
  const uint64_t number = in_process_->Find(environment, service);
  const auto known = to_services_.find(key);
  if (known != to_services_.end()) {
    rpc::Channel& channel = *known->second.channel;
    if (known->second.number == number && channel.state() != rpc::Channel::State::kClosed) {
      return channel;
    }
    ending_.push_back(std::move(known->second.channel));
    to_services_.erase(known);
  }
  // Names that no service has are not kept.
  if (number == 0) return *channel_;
  auto opened = OpenInProcess(environment, service);
  if (!opened.ok()) {
    Log(LogLevel::kWarning,
        "no way to the in_process service " + service + ": " + opened.status().ToString());
    return *channel_;
  }
  ToService& way = to_services_[key];
  way = {number, std::move(opened).value()};
  return *way.channel;
}

Status HostLink::OpenIntroductions(const std::string& path, std::string_view nonce) {
  if (path.empty()) return Status::Ok();
  if (introductions_.size() >= kIntroductionSocketsMax) introductions_.erase(introductions_.begin());
  LEVER_ASSIGN_OR_RETURN(auto opened, IntroductionSocket::Connect(loop_, path, nonce, this));
  introductions_.push_back(std::move(opened));
  return Status::Ok();
}

void HostLink::OnIntroduction(IntroductionSocket& from, Introduction introduction,
                              UniqueFd socket) {
  bool taken;
  if (introduction.direction == Introduction::Direction::kOutgoing) {
    taken = router_->OnOutgoing(introduction.id, std::move(socket));
  } else {
    taken = acceptor_ != nullptr &&
            acceptor_->OnIncomingConnection(introduction, std::move(socket));
  }
  if (!taken) from.Refuse(introduction.id);
}

void HostLink::OnIntroductionLost(IntroductionSocket& from, uint64_t id) {
  Log(LogLevel::kWarning, "an introduction of the host's could not be taken: no descriptor came");
  router_->OnIntroductionFailed(id);
}

void HostLink::OnIntroductionsClosed(IntroductionSocket& from) {
  std::erase_if(introductions_, [&](const auto& socket) { return socket.get() == &from; });
}

}  // namespace lever::route
