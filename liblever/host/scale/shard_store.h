// Where the owners of a service's shards are durable: rows in the registry, in pages of 256, and the
// counter of generations.
//
//   owner/<env>/<service>/<page>   {"ids":["i-1","i-2"],"rows":[[0,7,-1,0,0],...]}
//   generation/<env>/<service>     {"last":7,"shards":256}; outlives the service, so that no generation
//                                  comes again, and its resources stay in their shards
//
// Writes that come while one is under way go together in the next: one transaction at a time, which
// holds only as long as the controller's lease does.
//
// Threads: the registry's executor; what it calls is called there. It goes only when nothing that was
// asked of the registry is under way, or together with the registry.
//
// Invariants
//  1. A row and the counter that its generation came from are written in one transaction.
//  2. Each Write() is answered once. After kUnknown and kNotHolder everything is refused: what is
//     durable has to be read anew by whoever holds the lease.
#ifndef LIBLEVER_HOST_SCALE_SHARD_STORE_H_
#define LIBLEVER_HOST_SCALE_SHARD_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/host/registry/registry.h"
#include "liblever/policy/shard_ledger.h"

namespace lever::scale {

// One page's text, and back. DATA_LOSS for what EncodeShardPage() has not written for so many rows.
std::string EncodeShardPage(const std::vector<policy::ShardRow>& rows);
StatusOr<std::vector<policy::ShardRow>> ParseShardPage(std::string_view text, size_t rows);

// The value of generation/<env>/<service>.
struct ShardCounter {
  uint64_t last = 0;  // generation that was given
  uint64_t shards = 0;
};
std::string EncodeShardCounter(ShardCounter counter);
StatusOr<ShardCounter> ParseShardCounter(std::string_view text);
// FAILED_PRECONDITION unless both are the same.
Status CheckShardCount(uint64_t there, uint64_t wanted);

class ShardStore {
 public:
  enum class Result : uint8_t {
    kDurable,
    kNotDone,    // nothing has changed; it may be tried again
    kUnknown,    // the registry cannot say
    kNotHolder,  // the lease is another's
  };
  struct Loaded {
    std::vector<policy::ShardRow> rows;
    uint64_t last_generation = 0;
  };

  // `holder` is what must hold for a write: that the controller's lease is ours. The registry outlives
  // the store.
  ShardStore(registry::Registry* registry, std::string environment, std::string service,
             uint32_t shards, registry::Compare holder);
  ShardStore(const ShardStore&) = delete;
  ShardStore& operator=(const ShardStore&) = delete;

  // First, and once. A service that never had owners has rows without. DATA_LOSS: what is there cannot
  // be read; FAILED_PRECONDITION: it has another number of shards.
  void Load(std::function<void(StatusOr<Loaded>)> done);
  // Nothing is under way.
  bool idle() const { return !loading_ && !under_way_ && pending_.empty(); }
  void Write(uint32_t shard, policy::ShardRow row, uint64_t last_generation,
             std::function<void(Result)> done);

 private:
  struct Pending {
    policy::ShardRow row;
    std::function<void(Result)> done;
  };
  using Changes = std::map<uint32_t, Pending>;  // by shard

  uint32_t RowsOf(uint32_t page) const;
  Status ReadCounter(const StatusOr<registry::GetResult>& counter);
  Status ReadPages(const StatusOr<std::vector<registry::Entry>>& pages);
  void Flush();
  // Takes as many of the pending pages as one transaction may hold.
  Changes TakeBatch(registry::Transaction* transaction);
  void OnCommitted(const std::shared_ptr<Changes>& changes,
                   const StatusOr<registry::TransactionResult>& result);

  registry::Registry* registry_;
  const std::string environment_;
  const std::string service_;
  const registry::Compare holder_;
  std::vector<policy::ShardRow> rows_;  // durable
  uint64_t last_generation_ = 0;
  Changes pending_;
  bool loading_ = false;
  bool under_way_ = false;
  Result broken_ = Result::kDurable;  // what everything is answered, if not this
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_SHARD_STORE_H_
