// The host's side of one client's Watch stream (lever.v1.Host/Watch): tells where the instances of the
// services are that the client calls, and introduces it to them.
//
// Threads: those of its loop. It owns itself until its call has ended.
//
// Invariants
//  1. Nothing is said of a service that the client may not call: its routes are empty.
//  2. A client that does not read gets the newest table of each service once it reads again, not every
//     one in between.
#ifndef LIBLEVER_HOST_GATEWAY_WATCH_SESSION_H_
#define LIBLEVER_HOST_GATEWAY_WATCH_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/directory.h"
#include "liblever/rpc/call.h"

namespace lever::v1 {
class FromWatcher;
class ToWatcher;
}  // namespace lever::v1

namespace lever::gateway {

class WatchSession final : public rpc::CallHandler,
                           private scale::DirectoryObserver,
                           public std::enable_shared_from_this<WatchSession> {
 public:
  static constexpr size_t kSubscriptionsMax = 10'000;

  struct Context {
    Loop* loop = nullptr;
    scale::Directory* directory = nullptr;
    scale::Control* control = nullptr;
    std::string host_id;
  };

  static void Accept(const Context& context, fleet::Caller caller, rpc::Call& call);
  ~WatchSession() override;

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnWritable(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

 private:
  using Name = std::pair<std::string, std::string>;  // environment, service
  enum class Phase : uint8_t { kHello, kWelcoming, kWatching };

  WatchSession(const Context& context, fleet::Caller caller, rpc::Call& call);
  void OnHello(const lever::v1::FromWatcher& message);
  void OnTicket(const scale::Control::WatcherTicket& ticket);
  void OnWatchingMessage(const lever::v1::FromWatcher& message);
  void OnIntroduced(uint64_t id, const StatusOr<route::AddressWay>& way);
  void Subscribe(Name name);
  void SendRoutes(const Name& name);
  void Send(const lever::v1::ToWatcher& message);

  void OnServiceChanged(const std::shared_ptr<const scale::ServiceView>& view) override;
  void OnServiceRemoved(scale::ServiceName name) override;

  Context context_;
  fleet::Caller caller_;
  rpc::Call* call_;
  Phase phase_ = Phase::kHello;
  uint64_t watcher_key_ = 0;
  std::map<Name, uint64_t> subscribed_;  // to the revision that was sent last
  std::set<Name> owed_;  // changed while the client did not read
  std::shared_ptr<WatchSession> self_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_WATCH_SESSION_H_
