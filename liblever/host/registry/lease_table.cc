#include "liblever/host/registry/lease_table.h"

#include "liblever/base/clock.h"

namespace lever::registry {
namespace {

constexpr int kSequenceBits = 32;

}  // namespace

StatusOr<Lease> LeaseTable::Grant(int64_t ttl_ns, int64_t now_ns) {
  if (terms_.size() >= leases_max_ || last_ == UINT32_MAX) {
    return ResourceExhausted("registry: there are " + std::to_string(terms_.size()) + " leases")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  const LeaseId id = incarnation_ << kSequenceBits | ++last_;
  const int64_t deadline_ns = DeadlineAfter(now_ns, ttl_ns);
  terms_[id] = {ttl_ns, deadline_ns};
  by_deadline_.emplace(deadline_ns, id);
  return Lease{id, ttl_ns};
}

StatusOr<Lease> LeaseTable::KeepAlive(LeaseId lease, int64_t received_ns) {
  LEVER_RETURN_IF_ERROR(Check(lease));
  Term& term = terms_[lease];
  if (received_ns >= term.deadline_ns) {
    return NotFound("registry: lease " + std::to_string(lease) + " has run out")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  by_deadline_.erase({term.deadline_ns, lease});
  term.deadline_ns = DeadlineAfter(received_ns, term.ttl_ns);
  by_deadline_.emplace(term.deadline_ns, lease);
  return Lease{lease, term.ttl_ns};
}

Status LeaseTable::Check(LeaseId lease) const {
  if (terms_.contains(lease)) return Status::Ok();
  std::string message = "registry: there is no lease " + std::to_string(lease);
  const int64_t incarnation = lease >> kSequenceBits;
  if (incarnation > 0 && incarnation < incarnation_) {
    message += machine_rebooted_ ? "; it ended when the machine was restarted"
                                 : "; it ended when the registry was closed";
  }
  return NotFound(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

void LeaseTable::End(LeaseId lease) {
  const auto found = terms_.find(lease);
  if (found == terms_.end()) return;
  by_deadline_.erase({found->second.deadline_ns, lease});
  terms_.erase(found);
}

std::vector<LeaseId> LeaseTable::DueAt(int64_t now_ns) const {
  std::vector<LeaseId> due;
  for (const auto& [deadline_ns, lease] : by_deadline_) {
    if (deadline_ns > now_ns) break;
    due.push_back(lease);
  }
  return due;
}

int64_t LeaseTable::NextDeadlineNs() const {
  return by_deadline_.empty() ? kNever : by_deadline_.begin()->first;
}

}  // namespace lever::registry
