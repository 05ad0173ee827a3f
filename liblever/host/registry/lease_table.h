// The leases that are alive, and when each ends. Pure: time comes in with every call.
//
// Not thread-safe: used by the registry's writer alone.
//
// Leases are in memory, like their keys, so whatever ends the process ends them; nothing of them is
// found again after a restart. What is durable is the incarnation, a counter of how often the file
// was opened, with the boot id of the machine at that time. A lease's id begins with the
// incarnation: no id is given twice, and a lease of an earlier incarnation, in this boot or
// another, is known to have ended however little time has passed on its clock.
#ifndef LIBLEVER_HOST_REGISTRY_LEASE_TABLE_H_
#define LIBLEVER_HOST_REGISTRY_LEASE_TABLE_H_

#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

class LeaseTable {
 public:
  LeaseTable(int64_t incarnation, bool machine_rebooted, size_t leases_max)
      : incarnation_(incarnation), machine_rebooted_(machine_rebooted), leases_max_(leases_max) {}

  StatusOr<Lease> Grant(int64_t ttl_ns, int64_t now_ns);
  // `received_ns`: when the request came in, however long it waited for the disk since.
  StatusOr<Lease> KeepAlive(LeaseId lease, int64_t received_ns);
  Status Check(LeaseId lease) const;  // OK, or NOT_FOUND
  void End(LeaseId lease);
  std::vector<LeaseId> DueAt(int64_t now_ns) const;
  int64_t NextDeadlineNs() const;  // kNever if there is no lease

 private:
  struct Term {
    int64_t ttl_ns;
    int64_t deadline_ns;
  };

  int64_t incarnation_;
  bool machine_rebooted_;
  size_t leases_max_;
  uint32_t last_ = 0;
  std::unordered_map<LeaseId, Term> terms_;
  std::set<std::pair<int64_t, LeaseId>> by_deadline_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_LEASE_TABLE_H_
