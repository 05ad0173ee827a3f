// Who owns the shards of one service: the shell round policy/shard_ledger.h. It holds the
// controller's key under the host's lease, writes rows, talks to the instances' attach sessions,
// and tells who owns what for the route tables.
//
//   kAway     another host has the key, or the registry does not answer: it is tried again
//   kLoading  the key is ours; the rows are being read
//   kLeading  it decides
//
// Threads: the control loop, on which the registry answers, too. It lives as long as the registry
// may answer it.
//
// Invariants
//  1. Renewals are answered, instances told of their shards, and rows written, only by the holder of the
//     key: the host's lease is valid by the clock as read then, and each write compares the key's create
//     revision.
//  2. After a write of which the outcome is not known, or another's key, everything begins anew
//     from what is durable.
#ifndef LIBLEVER_HOST_SCALE_SHARD_CONTROLLER_H_
#define LIBLEVER_HOST_SCALE_SHARD_CONTROLLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/registry/registry.h"
#include "liblever/host/scale/host_lease.h"
#include "liblever/host/scale/shard_store.h"
#include "liblever/host/scale/state_store.h"
#include "liblever/policy/carried_account.h"
#include "liblever/policy/placement.h"
#include "liblever/policy/shard_balance.h"
#include "liblever/policy/shard_ledger.h"
#include "liblever/policy/shard_wishes.h"

namespace lever::scale {

struct ShardOwner {
  std::string instance;     // empty: nobody
  uint64_t generation = 0;  // that it was named for
  bool settled = false;     // it has been granted it
  int64_t since_ns = 0;     // when this host learned of it
  bool paused = false;      // somebody has asked that nobody has it
};

// An instance that may have shards, and its weight (policy/placement.h).
struct ShardTaker {
  std::string instance;
  double weight = 1;
};

class ShardControllerShell {
 public:
  virtual ~ShardControllerShell() = default;
  virtual void TellShards(const std::string& instance, fleet::ShardOrdersData orders) = 0;
  virtual void TellRenewed(const std::string& instance, uint64_t id) = 0;
  virtual void TellState(const std::string& instance, fleet::StateAnswerData answer) = 0;
  // Why `from` lets go of a shard.
  virtual fleet::ShardCloseReason WhyItMoves(const std::string& from) = 0;
  // Owners() has changed; the instances hear of it after this has returned.
  virtual void OnOwnersChanged() = 0;
};

class ShardController {
 public:
  // How long after it was not had the controller's key is asked for again.
  static constexpr int64_t kRetryNs = 1 * kNanosPerSecond;
  // How often the loads of shards are looked at while they are reported.
  static constexpr int64_t kConsiderLoadsNs = 1 * kNanosPerSecond;

  // `carried_bytes_max`: what all its resources together may carry.
  ShardController(Loop* loop, registry::Registry* registry, HostLease* lease, std::string host,
                  std::string environment, std::string service, uint32_t shards,
                  uint64_t carried_bytes_max = policy::kServiceCarriedBytesMax);
  ~ShardController();
  ShardController(const ShardController&) = delete;
  ShardController& operator=(const ShardController&) = delete;

  uint32_t shards() const { return shards_; }
  bool leading() const { return ledger_ != nullptr; }
  // Null: nobody is told anything. The shell outlives its being here.
  void set_shell(ShardControllerShell* shell) { shell_ = shell; }
  ShardControllerShell* shell() const { return shell_; }
  // The service was removed: what its resources carry is not kept.
  void set_discards(bool discards) { discards_ = discards; }
  // Empty while it does not lead.
  std::vector<ShardOwner> Owners() const;
  // That its owner was named for; while it leads.
  uint64_t generation(uint32_t shard) const { return ledger_->row(shard).generation; }
  // Nothing is being written or handed over.
  bool Quiet() const;

  // Those that may have shards, in any order.
  void SetEligible(std::vector<ShardTaker> instances);
  // Begins it; Owners() tell when it is done. `to`, of kMove, is the instance that is to have it, or
  // empty: the one with the fewest shards beside its owner. Gives who is to have it. Forgotten when this
  // host leads no more. UNAVAILABLE: this host does not lead; FAILED_PRECONDITION: it cannot be done
  // as it is.
  StatusOr<std::string> Change(uint32_t shard, policy::ShardChange change, const std::string& to);

  // ---- Attach sessions ----
  void OnSession(const std::string& instance);
  void OnSessionEnd(const std::string& instance);
  // Its process was seen to end.
  void OnEnded(const std::string& instance);
  void OnRenew(const std::string& instance, uint64_t id);
  void OnReleased(const std::string& instance, const fleet::ShardReleasedData& released);
  // `stream_load`: what a stream counts for beside a call.
  void OnLoads(const std::string& instance, const fleet::ShardLoadsData& loads,
               double stream_load);
  void OnState(const std::string& instance, fleet::StateRequestData request);

 private:
  void Compete();
  void OnCompeted(const StatusOr<registry::TransactionResult>& result, registry::LeaseId lease);
  void Lead(registry::Revision revision, int64_t since_ns);
  void OnLoaded(StatusOr<ShardStore::Loaded> loaded, int64_t since_ns);
  void Resign(const std::string& why);
  // Whether this host surely decides; reads the clock.
  bool LeaseHolds() const;
  void Changed();
  void Place();
  std::vector<policy::PlacementInstance> Takers() const;
  std::vector<policy::PlacementShard> OwnedBy(int64_t now_ns) const;
  void ConsiderLoads();
  StatusOr<std::string> ChooseFor(uint32_t shard, const std::string& to) const;
  bool AllSettled() const;
  void Act();
  void ActSoon();
  void Do(const policy::LedgerAction& action,
          std::map<std::string, fleet::ShardOrdersData>* orders);
  void ArmTimer();
  void OnTimer();
  bool MayHold(const std::string& instance, uint32_t shard, uint64_t generation) const;
  void Answer(const std::string& instance, uint64_t id, const Status& status);
  void OpenState(const std::string& instance, const fleet::StateRequestData& request);

  Loop* const loop_;
  registry::Registry* const registry_;
  HostLease* const lease_;
  const std::string host_;
  const std::string environment_;
  const std::string service_;
  const uint32_t shards_;
  const uint64_t carried_bytes_max_;
  ShardControllerShell* shell_ = nullptr;

  bool competing_ = false;
  registry::LeaseId led_under_ = registry::kNoLease;
  uint64_t term_ = 0;  // of leading: what was asked in another one is not for this
  std::unique_ptr<policy::ShardLedger> ledger_;  // null unless it leads
  std::unique_ptr<ShardStore> store_;
  std::unique_ptr<StateStore> states_;
  // Of former terms, since the registry may still answer them.
  std::vector<std::unique_ptr<ShardStore>> old_stores_;
  std::vector<std::unique_ptr<StateStore>> old_states_;
  // Instances in session, and the renewal that each has asked for while this did not lead; 0: none.
  std::map<std::string, uint64_t> sessions_;
  std::vector<std::string> eligible_;  // sorted
  std::vector<double> weights_;        // of each of these
  policy::ShardWishes wishes_;
  std::vector<int64_t> since_ns_;  // of each shard's owner
  uint32_t writes_ = 0;  // under way
  bool acting_ = false;
  bool rows_changed_ = false;  // since Changed() was called
  // Loads count for the placement that is under way: it is a new one, or they are the cause of it.
  bool by_load_ = false;
  policy::ShardBalance balance_;
  int64_t loads_considered_ns_ = 0;
  bool unplaced_ = false;  // some shards are to be placed anew when all are settled
  bool discards_ = false;
  FunctionTimer timer_{[this] { OnTimer(); }};
  FunctionTimer act_timer_{[this] { Act(); }};
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_SHARD_CONTROLLER_H_
