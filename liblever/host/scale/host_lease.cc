#include "liblever/host/scale/host_lease.h"

#include <algorithm>

#include "liblever/base/log.h"
#include "liblever/policy/grant.h"

namespace lever::scale {

void HostLease::Want() {
  if (std::exchange(wanted_, true)) return;
  Grant();
}

void HostLease::OnTimer() {
  if (id_ == registry::kNoLease) {
    Grant();
  } else {
    KeepAlive();
  }
}

void HostLease::Grant() {
  const int64_t asked_ns = loop_->clock().NowNs();
  registry_->GrantLease(kHostLeaseTtlNs, [this, asked_ns](StatusOr<registry::Lease> lease) {
    if (!lease.ok()) {
      // A registry that was closed gives no more.
      if (lease.status().code() == LEVER_CANCELLED) return;
      Log(LogLevel::kWarning, "no lease from the registry: " + lease.status().ToString());
      loop_->Arm(&timer_, DeadlineAfter(loop_->now_ns(), kHostLeaseRetryNs));
      return;
    }
    id_ = lease->id;
    ttl_ns_ = lease->ttl_ns;
    end_ns_ = policy::LeaseEndNs(asked_ns, ttl_ns_);
    loop_->Arm(&timer_, DeadlineAfter(loop_->now_ns(), kHostLeaseRenewNs));
    for (const auto& observer : observers_) observer();
  });
}

void HostLease::KeepAlive() {
  const int64_t asked_ns = loop_->clock().NowNs();
  registry_->KeepAlive(id_, [this, asked_ns](StatusOr<registry::Lease> lease) {
    if (lease.ok()) {
      end_ns_ = std::max(end_ns_, policy::LeaseEndNs(asked_ns, lease->ttl_ns));
      loop_->Arm(&timer_, DeadlineAfter(loop_->now_ns(), kHostLeaseRenewNs));
      return;
    }
    if (lease.status().code() == LEVER_CANCELLED) return;
    if (lease.status().code() == LEVER_NOT_FOUND) {
      Log(LogLevel::kWarning, "the host's lease has ended: another is taken");
      id_ = registry::kNoLease;
    }
    loop_->Arm(&timer_, DeadlineAfter(loop_->now_ns(), kHostLeaseRetryNs));
  });
}

}  // namespace lever::scale
