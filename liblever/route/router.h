// The route table, its watch on the host, and the direct connections.
//
// Each service that is called has a ServiceRoute. The first use subscribes to it on the watch stream;
// the host answers with the service's whole table, each time that it changes. For instances on this
// machine the router asks the host to introduce a connection; for those that listen at an address of their
// own, where no connection can be handed over, for that address and a token, which is shown there once.
// Nothing here waits: who finds no direct way calls through the host.
//
// Threads: used only by who holds the loop's word.
//
// Invariants
//  1. A service's table is an immutable snapshot, replaced whole; within one watch session its revision
//     only rises, older ones are dropped.
//  2. At most kIntroductionsUnansweredMax introductions are unanswered. One that fails, or takes longer
//     than kIntroductionTimeoutNs, is tried again with back-off when the service is next used.
//  3. A connection is dropped when its instance has left the table and its calls have ended, or when it
//     drains or breaks.
//  4. A service that was not used for kRouteIdleNs is unsubscribed, and its connections are dropped.
#ifndef LIBLEVER_ROUTE_ROUTER_H_
#define LIBLEVER_ROUTE_ROUTER_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/route/host_session.h"
#include "liblever/route/peer.h"
#include "liblever/route/watch_messages.h"

namespace lever::route {

class HostLink;

inline constexpr size_t kServiceRoutesMax = 4096;     // beyond it calls go through the host
inline constexpr size_t kDirectPerServiceMax = 32;    // direct connections to instances of one service
inline constexpr int64_t kRouteIdleNs = 300 * kNanosPerSecond;
inline constexpr int64_t kRouteSweepNs = 60 * kNanosPerSecond;
inline constexpr int64_t kIntroductionTimeoutNs = 5 * kNanosPerSecond;
// After a failure: 100 ms, doubling to 30 s.
inline constexpr int64_t kIntroductionRetryMinNs = 100 * kNanosPerMilli;
inline constexpr int64_t kIntroductionRetryMaxNs = 30 * kNanosPerSecond;

class Router final : private HostSessionHandler {
 public:
  explicit Router(HostLink* link);
  ~Router() override;

  // The route of a service; the first use of it subscribes.
  std::shared_ptr<ServiceRoute> Find(std::string_view environment, std::string_view service);
  // The instance that the next call should go to directly, never `exclude`; null: go through the host.
  // `*route` is replaced if it was dropped as idle meanwhile.
  std::shared_ptr<Peer> Pick(std::shared_ptr<ServiceRoute>* route, const Peer* exclude,
                             ServiceRoute::Version version = ServiceRoute::Version::kServing);

  // The same for a call of a resource: its owner.
  ServiceRoute::Owner PickOwner(std::shared_ptr<ServiceRoute>* route, uint64_t resource_hash);

  // A call over a direct connection has ended.
  void AttemptEnded();

  size_t direct_connections() const { return direct_connections_; }
  size_t subscriptions() const { return routes_.size(); }

  // From the introduction socket. False: nobody asked for it, or it cannot be used.
  bool OnOutgoing(uint64_t id, UniqueFd socket);
  void OnIntroductionFailed(uint64_t id);

 private:
  using Key = std::string;  // environment, NUL, service

  void OnSessionOpen() override;
  void OnSessionMessage(std::string_view message) override;
  void OnSessionEnd(const Status& status, bool final) override;

  ServiceRoute* Use(std::shared_ptr<ServiceRoute>* route);
  void Subscribe(const ServiceRoute& route);
  void OnWelcome(const WatcherWelcome& welcome);
  void OnRoutes(Routes routes);
  void Introduce(ServiceRoute* route);
  bool AskFor(const std::shared_ptr<Peer>& peer);
  std::shared_ptr<Peer> TakeIntroduction(uint64_t id);
  bool Connect(const std::shared_ptr<Peer>& peer, UniqueFd socket);
  void OnAddress(uint64_t id, AddressWay way);
  StatusOr<std::unique_ptr<rpc::Channel>> Dial(const AddressWay& way);
  void Adopt(const std::shared_ptr<Peer>& peer, std::unique_ptr<rpc::Channel> channel);
  void OnChannelChange(Peer* peer);
  void ShowTokenOf(Peer* peer);
  void BecomeReady(Peer* peer);
  // `made` is a channel of the peer's, and still its own: what has come of it is of interest.
  static std::shared_ptr<Peer> HeldWith(const std::weak_ptr<Peer>& peer, const rpc::Channel* made);
  void Failed(Peer* peer);
  void Retire(const std::shared_ptr<Peer>& peer);
  void DropChannel(Peer* peer);
  void SetPhase(Peer* peer, PeerPhase phase);
  void Drop(ServiceRoute* route);
  void Sweep();
  void ExpireIntroductions();
  void EmptyTrash();

  HostLink* link_;
  Loop* loop_;
  HostSession session_;
  bool welcomed_ = false;
  boost::unordered_flat_map<Key, std::shared_ptr<ServiceRoute>> routes_;
  // Introductions that are unanswered, by id.
  boost::unordered_flat_map<uint64_t, std::shared_ptr<Peer>> introductions_;
  uint64_t next_introduction_id_ = 1;
  size_t direct_connections_ = 0;
  // Instances that left their table while calls were open on them.
  std::vector<std::shared_ptr<Peer>> retired_;
  // Channels that are no way any more, until their calls have ended and no callback of theirs is on
  // the stack.
  std::vector<std::unique_ptr<rpc::Channel>> trash_;
  FunctionTimer sweep_timer_{[this] { Sweep(); }};
  FunctionTimer introduction_timer_{[this] { ExpireIntroductions(); }};
  FunctionTimer trash_timer_{[this] { EmptyTrash(); }};
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_ROUTER_H_
