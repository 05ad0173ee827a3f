// Who gets at which instance, and how: over a socket that both are handed, or at the instance's own address,
// with a token.
#include <sys/socket.h>

#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/scale/answer.h"
#include "liblever/host/scale/control_loop.h"

namespace lever::scale {

StatusOr<UniqueFd> ControlLoop::SocketTo(Instance* instance, const std::string& caller,
                                         fleet::Introducer::CallerIs kind, uint64_t id) {
  LEVER_ASSIGN_OR_RETURN(auto ends, SocketPair(SOCK_STREAM));
  const Status sent = introducer_->SendIncoming(instance->key, id, caller, kind, ends.first);
  if (sent.ok()) return std::move(ends.second);
  // Out of the directories before the answer is there: whoever asked then looks for another one.
  if (sent.code() != LEVER_RESOURCE_EXHAUSTED) OnUnreachable(instance);
  return sent;
}

StatusOr<route::AddressWay> ControlLoop::AddressOf(const Instance& instance,
                                                   const std::string& caller,
                                                   fleet::Introducer::CallerIs kind) const {
  if (instance.key_hash.empty()) {
    return Unavailable("the instance " + instance.id + " has no address of its own with tls:");
  }
  route::TokenClaims claims;
  claims.issuer = options_.host_id;
  claims.caller = caller;
  claims.audience = instance.id;
  claims.issued_s = route::UnixNowSeconds();
  claims.expires_s = claims.issued_s + options_.token_lifetime_s;
  claims.host = kind == fleet::Introducer::CallerIs::kHost;
  return route::AddressWay{instance.address, instance.key_hash, signer_->Sign(claims)};
}

// ---- The host's own connections ----

StatusOr<HostWay> ControlLoop::WayTo(uint64_t instance_key) {
  constexpr auto kHost = fleet::Introducer::CallerIs::kHost;
  Instance* instance = FindInstance(instance_key);
  if (instance == nullptr || instance->phase != InstancePhase::kReady) {
    return Unavailable("the instance is not ready");
  }
  if (!instance->key_hash.empty() && !introducer_->Reachable(instance_key)) {
    LEVER_ASSIGN_OR_RETURN(route::AddressWay way, AddressOf(*instance, "", kHost));
    return HostWay(std::move(way));
  }
  LEVER_ASSIGN_OR_RETURN(UniqueFd socket, SocketTo(instance, "", kHost, next_key_++));
  return HostWay(std::move(socket));
}

void ControlLoop::Connect(uint64_t instance_key, Loop* loop,
                          std::function<void(StatusOr<HostWay>)> done) {
  this->loop().Post([this, instance_key, loop, done = std::move(done)]() mutable {
    Answer(loop, std::move(done), WayTo(instance_key));
  });
}

// ---- Between two others ----

void ControlLoop::AddWatcher(fleet::Caller caller, Loop* loop,
                             std::function<void(WatcherTicket)> done) {
  this->loop().Post([this, caller = std::move(caller), loop, done = std::move(done)]() mutable {
    WatcherTicket ticket;
    if (watchers_.size() < kWatchersMax) {
      ticket.key = next_key_++;
      Watcher& watcher = watchers_[ticket.key];
      // An instance that the host started has an introduction socket already.
      if (caller.instance_key != 0) {
        watcher.peer_key = caller.instance_key;
      } else {
        watcher.peer_key = ticket.key;
        ticket.introduction_path = introducer_->path();
        ticket.nonce = introducer_->ExpectPeer(ticket.key);
      }
      watcher.caller = std::move(caller);
    }
    Answer(loop, std::move(done), std::move(ticket));
  });
}

void ControlLoop::RemoveWatcher(uint64_t watcher_key) {
  loop().Post([this, watcher_key] {
    const auto found = watchers_.find(watcher_key);
    if (found == watchers_.end()) return;
    if (found->second.peer_key == watcher_key) introducer_->RemovePeer(watcher_key);
    watchers_.erase(found);
  });
}

StatusOr<route::AddressWay> ControlLoop::IntroduceNow(uint64_t watcher_key, uint64_t id,
                                                      const std::string& instance,
                                                      route::IntroduceBy by) {
  constexpr auto kOther = fleet::Introducer::CallerIs::kOther;
  const auto watcher = watchers_.find(watcher_key);
  if (watcher == watchers_.end()) return NotFound("the watch has ended");
  Instance* callee = FindInstanceById(instance);
  if (callee == nullptr) return NotFound("there is no instance " + instance);
  const fleet::Caller& caller = watcher->second.caller;
  const ServiceController& controller = *callee->controller;
  if (controller.IsPrivate() && caller.environment != controller.name().environment) {
    return PermissionDenied(controller.name().ToString() + " is private");
  }
  if (callee->phase != InstancePhase::kReady) return Unavailable("the instance is not ready");
  const bool out_of_reach = !callee->key_hash.empty() && !introducer_->Reachable(callee->key);
  if (by == route::IntroduceBy::kAddress || out_of_reach) {
    LEVER_ASSIGN_OR_RETURN(route::AddressWay way, AddressOf(*callee, caller.identity, kOther));
    introductions_.fetch_add(1, std::memory_order_relaxed);
    return way;
  }
  if (!introducer_->Reachable(watcher->second.peer_key)) {
    return Unavailable("the caller has no introduction socket");
  }
  LEVER_ASSIGN_OR_RETURN(UniqueFd end, SocketTo(callee, caller.identity, kOther, id));
  LEVER_RETURN_IF_ERROR(introducer_->SendOutgoing(watcher->second.peer_key, id, instance, end));
  introductions_.fetch_add(1, std::memory_order_relaxed);
  return route::AddressWay();
}

void ControlLoop::Introduce(uint64_t watcher_key, uint64_t id, std::string instance,
                            route::IntroduceBy by, Loop* loop,
                            std::function<void(StatusOr<route::AddressWay>)> done) {
  this->loop().Post([this, watcher_key, id, instance = std::move(instance), by, loop,
                     done = std::move(done)]() mutable {
    Answer(loop, std::move(done), IntroduceNow(watcher_key, id, instance, by));
  });
}

}  // namespace lever::scale
