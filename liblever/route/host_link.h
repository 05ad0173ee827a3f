// The way to one host: the channel that carries calls and sessions, the introduction sockets, and the
// router that is fed by the host's watch. Or the ways to the services of the loop itself (in_process.h),
// without a host: a channel for each.
//
// A service has one; clients of the same loop share it, others have their own.
//
// Threads: used only by who holds the loop's word.
//
// Invariants
//  1. A link lives as long as anybody shares it. Its destruction ends what its own sessions still have
//     open, so it is let go of outside of their callbacks.
//  2. A link without a host is told by in_process(): nothing is routed there, calls go by ChannelTo().
//  3. An introduction to us is handed to the acceptor; without one it is refused by its id.
#ifndef LIBLEVER_ROUTE_HOST_LINK_H_
#define LIBLEVER_ROUTE_HOST_LINK_H_

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/ids.h"
#include "liblever/base/loop.h"
#include "liblever/base/random.h"
#include "liblever/base/status.h"
#include "liblever/route/introduction.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/tls.h"

namespace lever::route {

class InProcess;
class Router;

// Takes the connections of callers: the service runtime.
class IncomingAcceptor {
 public:
  virtual ~IncomingAcceptor() = default;
  // False: it cannot be taken; the host is told.
  virtual bool OnIncomingConnection(const Introduction& introduction, UniqueFd socket) = 0;
};

class HostLink final : private IntroductionHandler {
 public:
  // To a host's endpoint ("127.0.0.1:8080", "unix:/path", "tls:host:8443"); it reconnects. `tls` is for an
  // endpoint with "tls:".
  static StatusOr<std::shared_ptr<HostLink>> To(Loop* loop, std::string_view endpoint,
                                                const rpc::TlsClientOptions& tls = {},
                                                uint64_t seed = RandomSeed());
  // Over what a started instance has inherited; it does not reconnect. `introductions` may be invalid.
  static StatusOr<std::shared_ptr<HostLink>> Over(Loop* loop, UniqueFd socket,
                                                  UniqueFd introductions,
                                                  uint64_t seed = RandomSeed());
  // To the services of the loop, without a host. `caller` is told to them: "lever://env/service" or "".
  static StatusOr<std::shared_ptr<HostLink>> InProcessOnly(Loop* loop,
                                                           std::shared_ptr<InProcess> services,
                                                           std::string caller);
  ~HostLink() override;

  Loop* loop() const { return loop_; }
  rpc::Channel& channel() { return *channel_; }
  Router& router() { return *router_; }
  Random& random() { return random_; }

  bool in_process() const { return in_process_ != nullptr; }
  // The way to one of the loop's services; to who answers NOT_FOUND if there is none.
  rpc::Channel& ChannelTo(const std::string& environment, const std::string& service);

  // Connects to the introduction socket that a session's welcome names; nothing with an empty path.
  // Without it calls go through the host, and nobody is introduced to this program.
  Status OpenIntroductions(const std::string& path, std::string_view nonce);
  // Whether connections can be handed to this program.
  bool introducible() const { return !introductions_.empty(); }
  void set_acceptor(IncomingAcceptor* acceptor) { acceptor_ = acceptor; }

 private:
  // Introduction sockets: an attached program may have one for each of its two sessions, and for a
  // moment those of sessions that have just ended.
  static constexpr size_t kIntroductionSocketsMax = 8;

  HostLink(Loop* loop, uint64_t seed);
  StatusOr<std::unique_ptr<rpc::Channel>> OpenInProcess(const std::string& environment,
                                                        const std::string& service);
  void OnIntroduction(IntroductionSocket& from, Introduction introduction,
                      UniqueFd socket) override;
  void OnIntroductionLost(IntroductionSocket& from, uint64_t id) override;
  void OnIntroductionsClosed(IntroductionSocket& from) override;

  Loop* loop_;
  Random random_;
  std::unique_ptr<rpc::Channel> channel_;
  std::vector<std::unique_ptr<IntroductionSocket>> introductions_;
  IncomingAcceptor* acceptor_ = nullptr;
  std::unique_ptr<Router> router_;

  // Without a host.
  std::shared_ptr<InProcess> in_process_;
  std::string caller_;
  struct ToService {
    uint64_t number = 0;  // InProcess::Find()'s: another service of the name has another way
    std::unique_ptr<rpc::Channel> channel;
  };
  std::unordered_map<std::string, ToService> to_services_;
  // Whose service is gone: until their calls have ended and no callback of theirs is on the stack.
  std::vector<std::unique_ptr<rpc::Channel>> ending_;
  FunctionTimer ending_timer_{
      [this] { std::erase_if(ending_, [](const auto& each) { return each->open_calls() == 0; }); }};
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_HOST_LINK_H_
