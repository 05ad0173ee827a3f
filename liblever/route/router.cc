#include "liblever/route/router.h"

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "liblever/base/log.h"
#include "liblever/policy/backoff.h"
#include "liblever/route/host_link.h"
#include "liblever/route/service_key.h"
#include "liblever/route/token_call.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/channel.h"

namespace lever::route {

Router::Router(HostLink* link)
    : link_(link),
      loop_(link->loop()),
      session_(loop_, &link->channel(), kWatchPath, &link->random(), this) {}

Router::~Router() {
  session_.Stop();
  // Peers may be kept by calls that have ended; their connections end here.
  for (auto& [key, route] : routes_) {
    for (const auto& peer : route->table->peers) DropChannel(peer.get());
  }
  for (const auto& peer : retired_) DropChannel(peer.get());
}

// ---- Use ----

std::shared_ptr<ServiceRoute> Router::Find(std::string_view environment,
                                           std::string_view service) {
  const Key key = ServiceKey(environment, service);
  const auto found = routes_.find(key);
  if (found != routes_.end()) return found->second;
  auto route = std::make_shared<ServiceRoute>();
  route->environment = environment;
  route->service = service;
  if (routes_.size() >= kServiceRoutesMax) return route;
  route->known = true;
  route->used_ns = loop_->now_ns();
  routes_.emplace(key, route);
  if (!sweep_timer_.armed()) loop_->Arm(&sweep_timer_, loop_->now_ns() + kRouteSweepNs);
  if (welcomed_) {
    Subscribe(*route);
  } else {
    session_.Start();
  }
  return route;
}

ServiceRoute* Router::Use(std::shared_ptr<ServiceRoute>* route) {
  if (!(*route)->known) *route = Find((*route)->environment, (*route)->service);
  ServiceRoute* used = route->get();
  used->used_ns = loop_->now_ns();
  if (used->next_introduction_ns <= used->used_ns) Introduce(used);
  return used;
}

std::shared_ptr<Peer> Router::Pick(std::shared_ptr<ServiceRoute>* route, const Peer* exclude,
                                   ServiceRoute::Version version) {
  return Use(route)->PickReady(exclude, link_->random().Next(), version);
}

ServiceRoute::Owner Router::PickOwner(std::shared_ptr<ServiceRoute>* route,
                                      uint64_t resource_hash) {
  return Use(route)->OwnerOf(resource_hash);
}

void Router::Subscribe(const ServiceRoute& route) {
  session_.Send(WriteSubscribe(route.environment, route.service));
}

void Router::Sweep() {
  const int64_t now_ns = loop_->now_ns();
  std::vector<std::shared_ptr<ServiceRoute>> idle;
  for (auto& [key, route] : routes_) {
    const bool busy = std::any_of(route->loads.begin(), route->loads.end(),
                                  [](const auto& load) { return load.in_flight > 0; });
    if (!busy && now_ns - route->used_ns >= kRouteIdleNs) idle.push_back(route);
  }
  for (const auto& route : idle) {
    session_.Send(WriteUnsubscribe(route->environment, route->service));
    Drop(route.get());
    routes_.erase(ServiceKey(route->environment, route->service));
  }
  if (routes_.empty()) {
    session_.Stop();
    welcomed_ = false;
  } else {
    loop_->Arm(&sweep_timer_, now_ns + kRouteSweepNs);
  }
}

void Router::Drop(ServiceRoute* route) {
  const auto table = std::exchange(route->table, std::make_shared<RouteTable>());
  route->known = false;
  route->table_is_current = false;
  route->next_introduction_ns = kNever;
  route->canary_version = 0;
  route->canary_share = 0;
  route->shards.clear();
  route->RebuildReady();
  for (const auto& peer : table->peers) Retire(peer);
}

// ---- The watch ----

void Router::OnSessionOpen() {
  session_.Send(WriteWatcherHello(static_cast<uint64_t>(::getpid()), "lever"));
}

void Router::OnSessionMessage(std::string_view message) {
  StatusOr<ToWatcher> parsed = ParseToWatcher(message);
  if (!parsed.ok()) return session_.Fail(parsed.status());
  if (auto* welcome = std::get_if<WatcherWelcome>(&*parsed)) return OnWelcome(*welcome);
  if (auto* routes = std::get_if<Routes>(&*parsed)) return OnRoutes(std::move(*routes));
  if (auto* introduced = std::get_if<Introduced>(&*parsed)) {
    if (!introduced->status.ok()) return OnIntroductionFailed(introduced->id);
    if (!introduced->way.address.empty()) OnAddress(introduced->id, std::move(introduced->way));
  }
}

void Router::OnSessionEnd(const Status& status, bool final) {
  welcomed_ = false;
  for (auto& [key, route] : routes_) route->table_is_current = false;
  const auto pending = std::exchange(introductions_, {});
  for (const auto& [id, peer] : pending) Failed(peer.get());
}

void Router::OnWelcome(const WatcherWelcome& welcome) {
  if (welcome.protocol != kSessionProtocol) {
    return session_.Fail(FailedPrecondition("the host speaks another watch protocol"));
  }
  welcomed_ = true;
  session_.Established();
  const Status introduced = link_->OpenIntroductions(welcome.introduction_path, welcome.nonce);
  if (!introduced.ok()) {
    Log(LogLevel::kWarning,
        "no connections can be handed over, calls go through the host where a service has no address "
        "of its own: " +
            introduced.ToString());
  }
  for (const auto& [key, route] : routes_) Subscribe(*route);
}

void Router::OnRoutes(Routes routes) {
  const auto found = routes_.find(ServiceKey(routes.environment, routes.service));
  if (found == routes_.end()) return;
  ServiceRoute* route = found->second.get();
  if (route->table_is_current && routes.revision <= route->table->revision) return;

  boost::unordered_flat_map<std::string_view, std::shared_ptr<Peer>> known;
  for (const auto& peer : route->table->peers) known.emplace(peer->instance.id, peer);
  auto table = std::make_shared<RouteTable>();
  table->revision = routes.revision;
  for (InstanceRoute& instance : routes.instances) {
    const auto old = known.find(instance.id);
    if (old == known.end()) {
      table->peers.push_back(std::make_shared<Peer>(std::move(instance), route));
      continue;
    }
    std::shared_ptr<Peer> peer = std::move(old->second);
    known.erase(old);  // before the id that its key points to is replaced
    peer->Update(std::move(instance));
    table->peers.push_back(std::move(peer));
  }
  const auto old_table = std::exchange(route->table, std::move(table));
  route->table_is_current = true;
  route->canary_version = routes.canary_version;
  route->canary_share = routes.canary_share;
  route->shards.clear();
  route->shards.reserve(routes.shards.size());
  for (const ShardRoute& shard : routes.shards) {
    // Without an owner it is far beyond every table.
    route->shards.push_back({.peer = shard.owner - 1, .generation = shard.generation});
  }
  route->RebuildReady();
  for (const auto& [id, peer] : known) Retire(peer);
  Introduce(route);
}

// ---- Introductions ----

void Router::Introduce(ServiceRoute* route) {
  route->next_introduction_ns = kNever;
  if (!welcomed_) return;  // the tables come again after the next welcome
  const int64_t now_ns = loop_->now_ns();
  size_t direct = 0;
  for (const auto& peer : route->table->peers) {
    if (peer->phase != PeerPhase::kIdle) ++direct;
  }
  for (const auto& peer : route->table->peers) {
    if (direct >= kDirectPerServiceMax) return;
    const bool reachable =
        peer->instance.listens || (peer->instance.local && link_->introducible());
    if (peer->phase != PeerPhase::kIdle || !reachable) continue;
    if (peer->retry_ns <= now_ns && AskFor(peer)) {
      ++direct;
      continue;
    }
    const int64_t later_ns = std::max(peer->retry_ns, now_ns + kIntroductionRetryMinNs);
    route->next_introduction_ns = std::min(route->next_introduction_ns, later_ns);
  }
}

bool Router::AskFor(const std::shared_ptr<Peer>& peer) {
  if (introductions_.size() >= kIntroductionsUnansweredMax) return false;
  peer->phase = PeerPhase::kIntroducing;
  peer->introduction_id = next_introduction_id_++;
  peer->deadline_ns = loop_->now_ns() + kIntroductionTimeoutNs;
  introductions_.emplace(peer->introduction_id, peer);
  const IntroduceBy by = link_->introducible() ? IntroduceBy::kSocket : IntroduceBy::kAddress;
  session_.Send(WriteIntroduce(peer->introduction_id, peer->instance.id, by));
  if (!introduction_timer_.armed()) loop_->Arm(&introduction_timer_, peer->deadline_ns);
  return true;
}

// The peer that is asked for under the id, which is answered now; null: nobody is.
std::shared_ptr<Peer> Router::TakeIntroduction(uint64_t id) {
  const auto found = introductions_.find(id);
  if (found == introductions_.end()) return nullptr;
  std::shared_ptr<Peer> peer = std::move(found->second);
  introductions_.erase(found);
  return peer;
}

bool Router::OnOutgoing(uint64_t id, UniqueFd socket) {
  const std::shared_ptr<Peer> peer = TakeIntroduction(id);
  return peer != nullptr && Connect(peer, std::move(socket));
}

void Router::OnIntroductionFailed(uint64_t id) {
  if (const std::shared_ptr<Peer> peer = TakeIntroduction(id)) Failed(peer.get());
}

void Router::ExpireIntroductions() {
  const int64_t now_ns = loop_->now_ns();
  int64_t next_ns = kNever;
  std::vector<std::shared_ptr<Peer>> expired;
  for (const auto& [id, peer] : introductions_) {
    if (peer->deadline_ns <= now_ns) {
      expired.push_back(peer);
    } else {
      next_ns = std::min(next_ns, peer->deadline_ns);
    }
  }
  for (const auto& peer : expired) OnIntroductionFailed(peer->introduction_id);
  loop_->Arm(&introduction_timer_, next_ns);
}

// ---- Connections ----

bool Router::Connect(const std::shared_ptr<Peer>& peer, UniqueFd socket) {
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  auto channel = rpc::Channel::Over(loop_, std::move(socket), options);
  if (!channel.ok()) {
    Failed(peer.get());
    return false;
  }
  peer->token.clear();
  Adopt(peer, std::move(channel).value());
  return true;
}

void Router::OnAddress(uint64_t id, AddressWay way) {
  const std::shared_ptr<Peer> peer = TakeIntroduction(id);
  if (peer == nullptr) return;
  auto channel = Dial(way);
  if (!channel.ok()) {
    Log(LogLevel::kWarning, "no direct connection to " + peer->instance.id + " at " + way.address +
                                ": " + channel.status().ToString());
    return Failed(peer.get());
  }
  peer->token = std::move(way.token);
  Adopt(peer, std::move(channel).value());
}

StatusOr<std::unique_ptr<rpc::Channel>> Router::Dial(const AddressWay& way) {
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint endpoint, rpc::Endpoint::Parse(way.address));
  if (!endpoint.tls || way.token.empty()) return InvalidArgument("not an address for a token");
  LEVER_ASSIGN_OR_RETURN(auto tls, rpc::TlsClientContext::OpenForKey(way.key_hash));
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  return rpc::Channel::Once(loop_, std::move(endpoint), options, std::move(tls));
}

std::shared_ptr<Peer> Router::HeldWith(const std::weak_ptr<Peer>& peer, const rpc::Channel* made) {
  std::shared_ptr<Peer> held = peer.lock();
  return held != nullptr && held->channel.get() == made ? held : nullptr;
}

void Router::Adopt(const std::shared_ptr<Peer>& peer, std::unique_ptr<rpc::Channel> channel) {
  peer->phase = PeerPhase::kConnecting;
  peer->channel = std::move(channel);
  peer->channel->OnStateChange([this, made = peer->channel.get(), weak = std::weak_ptr<Peer>(peer)](
                                   rpc::Channel::State, const Status&) {
    if (const auto held = HeldWith(weak, made)) OnChannelChange(held.get());
  });
  OnChannelChange(peer.get());
}

void Router::ShowTokenOf(Peer* peer) {
  const std::string token = std::exchange(peer->token, {});
  ShowToken(loop_, peer->channel.get(), token,
            [this, made = peer->channel.get(), weak = peer->weak_from_this()](const Status& shown) {
              const auto held = HeldWith(weak, made);
              if (held == nullptr || held->phase == PeerPhase::kGone) return;
              if (shown.ok()) return BecomeReady(held.get());
              Log(LogLevel::kWarning, "no direct connection to " + held->instance.id + ": " +
                                          shown.ToString());
              Failed(held.get());
            });
}

void Router::OnChannelChange(Peer* peer) {
  const rpc::Channel::State state = peer->channel->state();
  if (state == rpc::Channel::State::kClosed) return Failed(peer);
  if (peer->phase != PeerPhase::kConnecting || state != rpc::Channel::State::kReady) return;
  if (!peer->token.empty()) return ShowTokenOf(peer);
  BecomeReady(peer);
}

void Router::BecomeReady(Peer* peer) {
  peer->failures = 0;
  SetPhase(peer, PeerPhase::kReady);
  peer->service->RebuildReady();
}

// The peer has no connection, now or any more.
void Router::Failed(Peer* peer) {
  DropChannel(peer);
  if (peer->phase == PeerPhase::kGone) {
    std::erase_if(retired_, [&](const auto& retired) { return retired.get() == peer; });
    return;
  }
  SetPhase(peer, PeerPhase::kIdle);
  peer->retry_ns = loop_->now_ns() + policy::BackoffNs(kIntroductionRetryMinNs, peer->failures++,
                                                       kIntroductionRetryMaxNs);
  ServiceRoute* route = peer->service;
  route->next_introduction_ns = std::min(route->next_introduction_ns, peer->retry_ns);
  route->RebuildReady();
}

void Router::Retire(const std::shared_ptr<Peer>& peer) {
  if (peer->phase == PeerPhase::kIntroducing) introductions_.erase(peer->introduction_id);
  SetPhase(peer.get(), PeerPhase::kGone);
  peer->service = nullptr;
  if (peer->channel == nullptr) return;
  if (peer->channel->open_calls() == 0) return DropChannel(peer.get());
  retired_.push_back(peer);
  peer->channel->Drain();
}

void Router::DropChannel(Peer* peer) {
  if (peer->channel == nullptr) return;
  trash_.push_back(std::move(peer->channel));
  loop_->Arm(&trash_timer_, loop_->now_ns());
}

void Router::AttemptEnded() {
  if (!trash_.empty()) loop_->Arm(&trash_timer_, loop_->now_ns());
}

// A connection that got GOAWAY is no way any more, but its calls go on.
void Router::EmptyTrash() {
  std::erase_if(trash_, [](const auto& channel) { return channel->open_calls() == 0; });
}

void Router::SetPhase(Peer* peer, PeerPhase phase) {
  direct_connections_ += (phase == PeerPhase::kReady) - (peer->phase == PeerPhase::kReady);
  peer->phase = phase;
}

}  // namespace lever::route
