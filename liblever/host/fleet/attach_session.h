// The host's side of one instance's Attach stream (lever.v1.Host/Attach).
//
// Threads: its own loop, the one of the instance's connection, but for the AttachPeer functions,
// which may be called from any thread. It is kept alive by its call, and by whoever holds it as an
// AttachPeer.
#ifndef LIBLEVER_HOST_FLEET_ATTACH_SESSION_H_
#define LIBLEVER_HOST_FLEET_ATTACH_SESSION_H_

#include <memory>
#include <string>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/rpc/call.h"

namespace lever::v1 {
class FromInstance;
class InstanceHello;
class ToInstance;
}  // namespace lever::v1

namespace lever::fleet {

// The protocol versions of Attach and Watch that this host speaks.
inline constexpr uint32_t kProtocolMin = 1;
inline constexpr uint32_t kProtocolMax = 1;
// How often an instance reports its load while it changes.
inline constexpr int64_t kLoadIntervalNs = 250 * kNanosPerMilli;
// A session message is small; whatever is larger is refused by the transport.
inline constexpr size_t kSessionMessageBytesMax = 64 * 1024;
// Of an attached instance, which may hand over what a resource carries, 1 MiB at most.
inline constexpr size_t kAttachedMessageBytesMax = (size_t{1} << 20) + kSessionMessageBytesMax;

class AttachSession final : public rpc::CallHandler,
                            public AttachPeer,
                            public std::enable_shared_from_this<AttachSession> {
 public:
  // Takes over an incoming Attach call. `caller` is who its connection belongs to.
  static void Accept(Loop* loop, AttachRegistry* registry, Caller caller, rpc::Call& call);

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

  void TellServing() override;
  void RequestDrain(int64_t timeout_ns, std::string reason) override;
  void TellShards(ShardOrdersData orders) override;
  void TellRenewed(uint64_t id) override;
  void TellState(StateAnswerData answer) override;
  void End(Status status) override;

 private:
  enum class Phase : uint8_t { kHello, kWelcoming, kAttached, kEnded };

  AttachSession(Loop* loop, AttachRegistry* registry, Caller caller, rpc::Call& call);
  void OnHello(const lever::v1::InstanceHello& hello);
  void OnWelcome(StatusOr<AttachWelcome> welcome);
  void OnAttachedMessage(const lever::v1::FromInstance& message);
  void Finish(const Status& status);
  void Tell(const lever::v1::ToInstance& message);

  Loop* loop_;
  AttachRegistry* registry_;
  Caller caller_;
  rpc::Call* call_;  // null once the call has ended
  Phase phase_ = Phase::kHello;
  uint64_t instance_key_ = 0;            // once attached
  std::shared_ptr<AttachSession> self_;  // until the call has ended
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_ATTACH_SESSION_H_
