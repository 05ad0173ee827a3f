// Looks whether somebody listens on an address, until somebody does.
//
// Threads: those of its loop. Destroying it gives up.
#ifndef LIBLEVER_HOST_FLEET_READY_PROBE_H_
#define LIBLEVER_HOST_FLEET_READY_PROBE_H_

#include <functional>
#include <memory>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/rpc/connector.h"
#include "liblever/rpc/endpoint.h"

namespace lever::fleet {

class ReadyProbe final : private Timer {
 public:
  static constexpr int64_t kIntervalNs = 20 * kNanosPerMilli;
  // A connection that is not refused and not accepted either is tried anew.
  static constexpr int64_t kTryTimeoutNs = 2 * kNanosPerSecond;

  // `ready` is called once, from the loop; it may destroy the probe.
  ReadyProbe(Loop* loop, rpc::Endpoint endpoint, std::function<void()> ready)
      : loop_(loop), endpoint_(std::move(endpoint)), ready_(std::move(ready)) {}

  void Start();

 private:
  void Try();
  void OnResult(StatusOr<UniqueFd> result);
  void OnTimer() override;

  Loop* const loop_;
  const rpc::Endpoint endpoint_;
  const std::function<void()> ready_;
  std::unique_ptr<rpc::Connector> connector_;
  bool answered_ = false;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_READY_PROBE_H_
