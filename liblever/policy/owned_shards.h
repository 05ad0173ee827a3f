// What an instance knows of its shards: which it was named for, which are granted to it, and until
// when; and what becomes of a call to one of them.
//
//   unknown --Name--> named --Grant--> granted --BeginRelease--> releasing --Release--> released
//
// Named means that the shard will be this instance's as soon as its owner has let go: calls that
// arrive wait. A shard that is named again, with a higher generation, starts over. What arrives out of
// order (a name or a grant of a lower generation than is known) changes nothing.
//
// A grant is one term for all shards together, renewed as a whole. So the controller answers no renewal
// of a new session before its resync has ended: it would make valid again what it has given to others.
//
// A value; pure, no clock of its own. Memory: 16 bytes for each of the service's shards.
//
// Invariants
//  1. The generation that is known of a shard never falls.
//  2. Check() says kRun, and MayReply() true, only for the generation that is known, of a shard that is
//     granted (MayReply: or releasing), at a time before the term's end.
#ifndef LIBLEVER_POLICY_OWNED_SHARDS_H_
#define LIBLEVER_POLICY_OWNED_SHARDS_H_

#include <cstdint>
#include <vector>

#include "liblever/base/clock.h"

namespace lever::policy {

// A call that names no generation.
inline constexpr uint64_t kNoGeneration = 0;
// How long a call of a generation that the instance has not heard of is kept for it to be named.
inline constexpr int64_t kAwaitNameNs = 1 * kNanosPerSecond;

enum class ShardPhase : uint8_t { kUnknown, kNamed, kGranted, kReleasing, kReleased };

enum class ShardVerdict : uint8_t {
  kRun,        // now
  kWait,       // until the shard is granted, or its grant renewed
  kAwaitName,  // at most kAwaitNameNs, until the instance is named; then kRefuse
  kRefuse,     // unexecuted: it is another's
};

class OwnedShards {
 public:
  // `shards`: how many the service has.
  explicit OwnedShards(uint32_t shards) : entries_(shards) {}

  uint32_t count() const { return static_cast<uint32_t>(entries_.size()); }
  // All for shards below count(), and generations from 1. False: it changed nothing.
  bool Name(uint32_t shard, uint64_t generation);
  bool Grant(uint32_t shard, uint64_t generation);
  // New calls are refused from now on, running ones may still reply.
  bool BeginRelease(uint32_t shard, uint64_t generation);
  bool Release(uint32_t shard, uint64_t generation);

  // A new session with the controller begins by naming and granting again what is this instance's.
  // What it has not mentioned by the end belongs to others: what was granted is released for good, what
  // was only named is forgotten.
  void BeginResync();
  void EndResync();

  // The controller has answered the renewal that was sent at `asked_ns`.
  void Renewed(int64_t asked_ns);
  int64_t end_ns() const { return end_ns_; }

  ShardPhase phase(uint32_t shard) const { return entries_[shard].phase; }
  // The highest that is known; 0: none.
  uint64_t generation(uint32_t shard) const { return entries_[shard].generation; }

  // `generation`: what the caller believes, or kNoGeneration.
  ShardVerdict Check(uint32_t shard, uint64_t generation, int64_t now_ns) const;
  // Whether the result of a call that ran under `generation` may be sent as a success.
  bool MayReply(uint32_t shard, uint64_t generation, int64_t now_ns) const;

 private:
  struct Entry {
    uint64_t generation = 0;
    ShardPhase phase = ShardPhase::kUnknown;
    bool mentioned = false;
  };

  bool Step(uint32_t shard, uint64_t generation, ShardPhase from, ShardPhase to);

  std::vector<Entry> entries_;
  int64_t end_ns_ = 0;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_OWNED_SHARDS_H_
