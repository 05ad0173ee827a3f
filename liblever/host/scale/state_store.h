// What closed resources carry to their next owners, durable in the registry: one key a resource,
// with what it carries, or that it is lost.
//
//   state/<env>/<service>/<resource>   `v7 ...` a value, `r7 ...` bytes, `l7 ` lost; 7: generation
//   carried/<env>/<service>            {"bytes":N}, what these take with their keys
//
// What a service may have stored is bounded (policy/carried_account.h). The account is written in
// the transaction that changes what it counts, so that it is right whichever host writes, and is
// there after a restart without reading what it counts; where it is missing it is summed once. For
// that there is one transaction at a time: what comes meanwhile goes together in the next.
//
// Threads: the registry's executor; what it calls is called there. It goes only when it is idle, or
// together with the registry.
//
// Invariants
//  1. A record and the account that counts it are written in one transaction, by whoever holds the
//     lease.
//  2. Each request is answered once, but for those that Abandon() drops. What was refused with
//     LEVER_EXECUTED_NO has changed nothing.
//  3. After Abandon() it writes nothing more but what the registry has been given already.
#ifndef LIBLEVER_HOST_SCALE_STATE_STORE_H_
#define LIBLEVER_HOST_SCALE_STATE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/registry/registry.h"
#include "liblever/policy/carried_account.h"

namespace lever::scale {

class StateStore {
 public:
  // Waiting to be stored. What comes beyond is refused, RESOURCE_EXHAUSTED.
  static constexpr size_t kPendingMax = 4096;
  static constexpr size_t kPendingBytesMax = size_t{64} << 20;

  // `holder` is what must hold for a write: that the controller's key has that create revision.
  // `bytes_max`: of all resources of the service.
  StateStore(registry::Registry* registry, std::string environment, std::string service,
             registry::Compare holder, uint64_t bytes_max = policy::kServiceCarriedBytesMax);
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  // What the resource is opened with, as far as its record tells: kNew without one.
  void Read(const std::string& resource, std::function<void(fleet::StateAnswerData)> done);
  // Durable when it is answered. One that finds no room is OK, too: it is stored that the resource
  // is lost. RESOURCE_EXHAUSTED: not even that.
  void Carry(const std::string& resource, uint64_t generation, uint32_t kind,
             const std::string& payload, std::function<void(Status)> done);
  void Lose(const std::string& resource, uint64_t generation, std::function<void(Status)> done);
  void Forget(const std::string& resource, std::function<void(Status)> done);

  // Whoever asked asks again, of the next one: what waited until after that would be too late.
  void Abandon();
  // Nothing that it has to hear the answer of is under way.
  bool idle() const { return !busy_ && pending_.empty(); }

 private:
  struct Change {
    std::string key;
    std::string record;     // kCarry
    std::string tombstone;  // kCarry, kLose; of none of both: it is deleted
    std::function<void(Status)> done;
    uint64_t there = 0;  // bytes that are stored of it
    Status refused;  // by itself: it is not in the transaction

    size_t bytes() const { return key.size() + record.size() + tombstone.size(); }
  };

  std::string KeyOf(const std::string& resource) const;
  void Enqueue(Change change);
  // ---- One batch: what is stored of its resources is read, then all is written ----
  void Next();
  void TakeBatch();
  void LoadAccount();
  void SumRecords(std::string after, uint64_t bytes);
  void ReadWhatIsThere();
  void OnRead(size_t index, const StatusOr<registry::GetResult>& read);
  void Commit();
  void AddTo(registry::Transaction* transaction, Change* change,
             policy::CarriedAccount* account) const;
  void OnCommitted(const policy::CarriedAccount& account,
                   const StatusOr<registry::TransactionResult>& result);
  void OnOvertaken(const registry::TransactionResult& result);
  // Answers the batch; `status` is for those that were not refused by themselves.
  void Finish(const Status& status);
  bool Dropped();
  void LogNotice();

  registry::Registry* const registry_;
  const std::string environment_;
  const std::string service_;
  const registry::Compare holder_;
  const std::string account_key_;
  const uint64_t bytes_max_;
  policy::CarriedAccount account_;
  bool account_known_ = false;
  registry::Revision account_revision_ = 0;  // of its key; 0: there is none
  std::deque<Change> pending_;
  size_t pending_bytes_ = 0;   // with those of the batch
  std::vector<Change> batch_;  // under way
  size_t unread_ = 0;
  int overtaken_ = 0;    // times for this batch
  size_t singly_ = 0;    // that many go one by one: together they were refused
  bool busy_ = false;
  bool closed_ = false;  // the registry
  bool abandoned_ = false;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_STATE_STORE_H_
