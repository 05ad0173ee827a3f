#include "liblever/host/gateway/upstream.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lever::gateway {
namespace {

bool IsLetter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }

// A full name of a protobuf service: identifiers with dots between them.
bool IsServiceName(std::string_view text) {
  bool begins = true;
  for (const char c : text) {
    if (c == '.' ? begins : !IsLetter(c) && (begins || c < '0' || c > '9')) return false;
    begins = c == '.';
  }
  return !begins;
}

bool IsHostsOwn(std::string_view service) {
  constexpr std::array<std::string_view, 3> kPackages = {"lever.", "grpc.health.",
                                                         "grpc.reflection."};
  return std::any_of(kPackages.begin(), kPackages.end(),
                     [&](std::string_view package) { return service.starts_with(package); });
}

}  // namespace

StatusOr<UpstreamOptions> ParseUpstream(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string where = "upstream '" + std::string(text) + "': ";
  if (equals == std::string_view::npos) return InvalidArgument(where + "not SERVICE=ENDPOINT");
  UpstreamOptions options{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
  if (!IsServiceName(options.service)) {
    return InvalidArgument(where + "'" + options.service + "' is not the full name of a gRPC service");
  }
  if (IsHostsOwn(options.service)) {
    return InvalidArgument(where + "the host serves " + options.service + " itself");
  }
  const StatusOr<rpc::Endpoint> endpoint = rpc::Endpoint::Parse(options.address);
  if (!endpoint.ok()) return InvalidArgument(where + endpoint.status().message());
  return options;
}

Upstream::Upstream(Loop* loop, const UpstreamOptions& options, rpc::Endpoint endpoint,
                   std::shared_ptr<rpc::TlsClientContext> tls)
    : loop_(loop),
      endpoint_(std::move(endpoint)),
      tls_(std::move(tls)),
      name_(options.service + " at " + options.address) {}

rpc::Connection* Upstream::Least() const {
  rpc::Connection* least = nullptr;
  for (const auto& channel : channels_) {
    rpc::Connection* const connection = channel->ready_connection();
    if (connection == nullptr || !connection->TakesStreams()) continue;
    // A full one only where all are: the limits need not be the same.
    const bool better = least == nullptr || (least->Full() && !connection->Full()) ||
                        (least->Full() == connection->Full() &&
                         connection->open_streams() < least->open_streams());
    if (better) least = connection;
  }
  return least;
}

rpc::Connection* Upstream::Free() const {
  rpc::Connection* const least = Least();
  if (least == nullptr || !least->Full() || channels_.size() == kConnectionsMax) return least;
  // Full: one more connection is waited for, unless the last attempt to make one has failed.
  const bool backing_off = std::any_of(channels_.begin(), channels_.end(), [](const auto& channel) {
    return channel->state() == rpc::Channel::State::kBackoff;
  });
  return backing_off ? least : nullptr;
}

void Upstream::Find(UpstreamWaiter* waiter) {
  if (rpc::Connection* const connection = Free()) return waiter->OnUpstream(connection);
  if (waiting_ >= kWaitingMax) {
    waiter->OnNoUpstream(ResourceExhausted("more than " + std::to_string(kWaitingMax) +
                                           " calls wait for a connection to " + name_)
                             .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  waiters_.push_back(*waiter);
  ++waiting_;
  Grow();
}

void Upstream::Cancel(UpstreamWaiter* waiter) {
  if (!waiter->is_linked()) return;
  waiter->unlink();
  --waiting_;
}

void Upstream::Grow() {
  bool all_full = true;
  for (const auto& channel : channels_) {
    if (channel->state() != rpc::Channel::State::kReady) return channel->ConnectSoon();
    rpc::Connection* const connection = channel->ready_connection();
    // One that takes no streams is about to say so, and to be replaced.
    all_full = all_full && connection->TakesStreams() && connection->Full();
  }
  if (!all_full || channels_.size() == kConnectionsMax) return;
  rpc::ConnectionOptions options;
  options.keepalive_time_ns = kKeepaliveTimeNs;
  channels_.push_back(rpc::Channel::To(loop_, endpoint_, options, 0, tls_));
  rpc::Channel* const channel = channels_.back().get();
  using State = rpc::Channel::State;
  channel->OnStateChange([this, before = State::kIdle](State state, const Status& status) mutable {
    OnState(std::exchange(before, state), state, status);
  });
  channel->ConnectSoon();
}

void Upstream::OnState(rpc::Channel::State before, rpc::Channel::State state,
                       const Status& status) {
  using State = rpc::Channel::State;
  if (waiters_.empty()) return;
  if (state == State::kReady) return GiveOut();
  // Its back-off is over, or its connection is, which it may have had for long.
  if (state == State::kIdle) return Grow();
  // An attempt has failed; from any other state it only waits until the next may begin.
  if (state == State::kBackoff && before == State::kConnecting) Refuse(status);
}

void Upstream::GiveOut() {
  while (!waiters_.empty()) {
    rpc::Connection* const connection = Free();
    if (connection == nullptr) return Grow();
    UpstreamWaiter& waiter = waiters_.front();
    Cancel(&waiter);
    waiter.OnUpstream(connection);
  }
}

void Upstream::Refuse(const Status& status) {
  WaiterList waiters;
  waiters.swap(waiters_);
  while (!waiters.empty()) {
    UpstreamWaiter& waiter = waiters.front();
    Cancel(&waiter);
    // Only one more has failed: the call waits for its turn on those that are there.
    if (rpc::Connection* const least = Least()) {
      waiter.OnUpstream(least);
    } else {
      waiter.OnNoUpstream(Unavailable("no connection to " + name_ + ": " + status.message())
                              .WithExecuted(LEVER_EXECUTED_NO));
    }
  }
}

Status Upstreams::Add(const UpstreamOptions& options) {
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint endpoint, rpc::Endpoint::Parse(options.address));
  if (by_service_.contains(options.service)) {
    return InvalidArgument("upstream " + options.service + ": there are two of it");
  }
  std::shared_ptr<rpc::TlsClientContext> tls;
  if (endpoint.tls) {
    LEVER_ASSIGN_OR_RETURN(tls, rpc::TlsClientContext::Open());
  }
  by_service_.emplace(options.service, std::make_unique<Upstream>(
                                           loop_, options, std::move(endpoint), std::move(tls)));
  return Status::Ok();
}

Upstream* Upstreams::Find(std::string_view path) const {
  if (by_service_.empty() || !path.starts_with('/')) return nullptr;
  const size_t end = path.find('/', 1);
  if (end == std::string_view::npos) return nullptr;
  const auto found = by_service_.find(path.substr(1, end - 1));
  return found == by_service_.end() ? nullptr : found->second.get();
}

}  // namespace lever::gateway
