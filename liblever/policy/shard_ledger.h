// Who owns each shard of one service, and the steps by which it changes: what the service's controller
// decides with.
//
// The ledger does nothing by itself. It is told what has happened, and TakeActions() gives what is to
// be done: rows to be written durably, messages to instances. One move of a shard:
//
//   the placement wants B, A owns it under generation 7
//     write  {owner B, generation 8, from A under 7}
//     then   B is named for 8 (calls wait there), A is asked to release 7
//     A has released, or its grant has surely ended
//     write  {owner B, generation 8}, unclean if A did not release
//     then   B is granted 8
//
// A shard without an owner takes the first write alone. If B goes before it was granted, the shard is
// named for another under the next generation, and A is still waited for.
//
// An owner that says of itself that it has let go, since another controller had told it so, is given
// the shard anew, under the next generation.
//
// A grant has surely ended when its owner released it, when its process was seen to end, or when the
// term counted from the last answer to it is over. What other controllers may have answered counts as
// answered when this one took its lease.
//
// A value; pure, no clock of its own; not thread-safe.
//
// Invariants
//  1. A row is durable before anybody hears of what it says.
//  2. Generations come from one counter that is written in the same transaction, and only rise.
//  3. At no time do two instances have valid grants for one shard, whatever messages are delayed or
//     lost, whichever of the two sides is paused or dies, as long as the clocks' rates differ by less
//     than kClockRateSlack allows. tests/policy/shard_simulation_test.cc looks for the contrary.
#ifndef LIBLEVER_POLICY_SHARD_LEDGER_H_
#define LIBLEVER_POLICY_SHARD_LEDGER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "liblever/base/clock.h"

namespace lever::policy {

// What is durable of a shard.
struct ShardRow {
  std::string owner;        // an instance's id; empty: nobody
  uint64_t generation = 0;  // that `owner` was named for; 0: nobody ever
  // Who may still hold it, under the generation before; empty: nobody.
  std::string from;
  uint64_t from_generation = 0;
  // An owner went without a release: what was open then is lost.
  bool unclean = false;

  bool operator==(const ShardRow&) const = default;
};

inline constexpr int64_t kLedgerRetryNs = 1 * kNanosPerSecond;

struct LedgerAction {
  enum class Kind : uint8_t {
    kWrite,    // `row` of the shard, together with the counter; OnWritten() follows
    kName,     // tell `instance` that it is the next owner
    kGrant,    // tell `instance` that it is the owner
    // Ask `instance` to let go; `next` is who comes after it. One that has let go already says so
    // again, and one that never had it says that it is not clean.
    kRelease,
    kSynced,   // tell `instance` that it has been told all that is its
  };
  Kind kind = Kind::kWrite;
  uint32_t shard = 0;
  uint64_t generation = 0;
  std::string instance;
  std::string next;
  ShardRow row;
};

class ShardLedger {
 public:
  // `rows`: what is durable, one for each shard. `last_generation`: the counter. `since_ns`: when the
  // controller took its lease.
  ShardLedger(std::vector<ShardRow> rows, uint64_t last_generation, int64_t since_ns);

  const ShardRow& row(uint32_t shard) const { return shards_[shard].row; }
  uint32_t count() const { return static_cast<uint32_t>(shards_.size()); }
  uint64_t last_generation() const { return last_generation_; }
  // Whether its owner has been granted it, and no move is under way.
  bool Settled(uint32_t shard) const { return shards_[shard].stage == Stage::kStable; }

  // Who shall own each shard; empty: nobody. One for each shard.
  void SetTargets(const std::vector<std::string>& owners, int64_t now_ns);

  // A session of the instance has begun: it is told all that is its, and then kSynced.
  void OnSession(const std::string& instance);
  void OnSessionEnd(const std::string& instance);
  // Whether a renewal of the instance may be answered now; if so, it counts as answered at `now_ns`.
  bool AnswerRenewal(const std::string& instance, int64_t now_ns);
  // The instance has let go of the shard; `clean`: and its resources are carried or closed.
  void OnReleased(const std::string& instance, uint32_t shard, uint64_t generation, bool clean,
                  int64_t now_ns);
  // Its process was seen to end.
  void OnEnded(const std::string& instance, int64_t now_ns);
  // The row that a kWrite asked for is durable, or surely is not; it is tried again after
  // kLedgerRetryNs. The ledger is of no use after a write of which that is not known: another has to be
  // made from what is durable.
  void OnWritten(uint32_t shard, bool ok, int64_t now_ns);
  // Time has passed.
  void OnTime(int64_t now_ns);
  // When OnTime() has something to do if nothing else happens; kNever: not at all.
  int64_t WakeAtNs() const;

  std::vector<LedgerAction> TakeActions();

 private:
  enum class Stage : uint8_t {
    kStable,      // nobody but the owner may hold it
    kNaming,      // a row with another owner is being written
    kHandingOff,  // that row is durable: `from` is waited for
    kSettling,    // the row without `from` is being written
  };
  struct Shard {
    ShardRow row;      // durable
    ShardRow writing;  // kNaming, kSettling
    std::string target;
    Stage stage = Stage::kStable;
    bool released = false;  // `from` has let go
    bool clean = false;
    // The owner came back while it was being written off, and was not told that the shard is its.
    bool untold = false;
    // The owner has said that it let go of it, without being asked here: another controller had told
    // it that the shard was not its own any more. `clean` says how.
    bool let_go = false;
    int64_t retry_ns = kNever;  // a write has failed
  };
  struct Known {
    bool in_session = false;
    bool ended = false;
    int64_t surely_ended_ns = 0;
  };

  bool SurelyEnded(const std::string& instance, int64_t now_ns) const;
  bool InSession(const std::string& instance) const;
  void Consider(uint32_t shard, int64_t now_ns);
  void TellAll(uint32_t shard, const std::string& instance);
  void BeginNaming(uint32_t shard, int64_t now_ns);
  void AskRelease(uint32_t shard);
  void Settle(uint32_t shard);
  void Write(uint32_t shard);
  void Tell(LedgerAction::Kind kind, const std::string& instance, uint32_t shard,
            uint64_t generation);

  std::vector<Shard> shards_;
  std::map<std::string, Known, std::less<>> instances_;
  uint64_t last_generation_;
  int64_t others_end_ns_;  // when what other controllers may have granted has surely ended
  std::vector<LedgerAction> actions_;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SHARD_LEDGER_H_
