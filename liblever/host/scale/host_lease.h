// The host's lease in the registry: what lives under it is gone when the host is.
//
// Time is counted as policy/grant.h says: from when a keep-alive was sent that was answered, so
// that the host believes itself out before the registry does. One that may have ended is kept and
// asked about; when the registry says that it has, it is replaced by a new one under another id.
//
// Threads: the loop of the registry's executor. It goes when nothing of it is under way at the
// registry, or after that.
#ifndef LIBLEVER_HOST_SCALE_HOST_LEASE_H_
#define LIBLEVER_HOST_SCALE_HOST_LEASE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/registry/registry.h"

namespace lever::scale {

inline constexpr int64_t kHostLeaseTtlNs = 10 * kNanosPerSecond;
inline constexpr int64_t kHostLeaseRenewNs = 3 * kNanosPerSecond;
inline constexpr int64_t kHostLeaseRetryNs = 500 * kNanosPerMilli;

class HostLease {
 public:
  HostLease(Loop* loop, registry::Registry* registry) : loop_(loop), registry_(registry) {}
  ~HostLease() { loop_->Disarm(&timer_); }
  HostLease(const HostLease&) = delete;
  HostLease& operator=(const HostLease&) = delete;

  // The first use asks for the lease.
  void Want();
  // kNoLease: there is none now.
  registry::LeaseId id() const { return id_; }
  // Whether it is surely valid; reads the clock.
  bool Valid() const { return id_ != registry::kNoLease && loop_->clock().NowNs() < end_ns_; }
  // Called when there is a new lease.
  void OnGranted(std::function<void()> observer) { observers_.push_back(std::move(observer)); }

 private:
  void OnTimer();
  void Grant();
  void KeepAlive();

  Loop* const loop_;
  registry::Registry* const registry_;
  bool wanted_ = false;
  registry::LeaseId id_ = registry::kNoLease;
  int64_t ttl_ns_ = 0;
  int64_t end_ns_ = 0;
  std::vector<std::function<void()>> observers_;
  FunctionTimer timer_{[this] { OnTimer(); }};
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_HOST_LEASE_H_
