// The attempts of one call or stream: where each goes, what it says, and whether another follows.
//
// A value that its call owns and uses again for the next one. Threads: those of the loop.
//
// Invariants
//  1. Between Start() and Ended() one attempt runs, and its peer counts it. No two run at a time.
//  2. The first two attempts go straight to an instance if one is ready, the second to another one; all
//     later ones go through the host, which knows more. Those of a resource go to its owner, also when
//     a refusal has told of a newer one.
//  3. While one of the service's versions is a canary, all attempts go to the same one of the two.
#ifndef LIBLEVER_CLIENT_ATTEMPTS_H_
#define LIBLEVER_CLIENT_ATTEMPTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/client/client.h"
#include "liblever/policy/retry.h"
#include "liblever/policy/shard.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/headers.h"

namespace lever::route {
struct Peer;
}  // namespace lever::route

namespace lever::client {

class ClientImpl;
struct Target;

// How often a call learns that its resource has moved on once more and begins anew; from then on that is a
// refusal as any. More than shards move in the 60 s that a call has.
inline constexpr uint32_t kMovesFollowedMax = 32;

class Attempts {
 public:
  // `target` is null for gRPC pass-through, whose path is the request's address.
  void Begin(ClientImpl* client, std::shared_ptr<Target> target, const Request& request,
             int64_t deadline_ns);
  // Lets go of everything, keeping memory for the next use.
  void Reset();

  int64_t deadline_ns() const { return deadline_ns_; }
  bool bare() const { return target_ == nullptr; }
  bool of_resource() const;
  // Between two attempts: another one is only made if the method surely did not run, or may run twice.
  lever_executed ExecutedSoFar() const {
    return idempotent_ ? LEVER_EXECUTED_UNKNOWN : LEVER_EXECUTED_NO;
  }

  rpc::Call* Start(std::string_view path, uint64_t credit_messages, rpc::CallHandler* handler);
  // The attempt has ended so.
  void Ended(const rpc::CallEnd& end);
  // The stream goes on at another owner, whom the old one has named: what follows are its attempts, counted
  // from 1.
  void MovedTo(const policy::ShardGeneration& shard, std::string_view owner);
  // Whether and when the next attempt begins (on the loop's clock; now or before: at once); nullopt: it
  // does not. To be asked once after a failed attempt that may be repeated at all.
  std::optional<int64_t> NextAt(const rpc::CallEnd& end);

 private:
  static constexpr uint32_t kDirectAttemptsMax = 2;
  // Metadata of a reused object that is kept, in bytes.
  static constexpr size_t kKeptMetadataBytesMax = 1024;

  void BuildHeaders(bool stream);
  void ChoosePeer(const route::Peer* failed);
  // Whether the refusal says that the resource has another owner, which is known from then on.
  bool Redirected(const rpc::CallEnd& end);
  // A refusal has named this generation. A newer one than before: the shard has moved meanwhile, and nothing
  // is wrong with it, so that what was tried until then does not count.
  void NoteGeneration(uint64_t generation);
  policy::RetryBudget& budget();

  ClientImpl* client_ = nullptr;
  std::shared_ptr<Target> target_;
  std::shared_ptr<route::Peer> peer_;  // of the attempt that runs, or of the last one; null: the host
  policy::ShardGeneration owner_;      // what it is told of a resource's owner; generation 0: nothing
  bool told_of_owner_ = false;         // of a newer one, by the refusal of the attempt before
  bool refused_full_ = false;          // so was the attempt before
  std::string path_;                   // pass-through
  rpc::HeaderList metadata_;           // the caller's
  rpc::HeaderList headers_;            // of the attempt
  bool idempotent_ = false;
  rpc::Compression compression_ = rpc::Compression::kIdentity;
  bool sampled_ = false;  // its time says how long a call takes, as a stream's does not
  int64_t deadline_ns_ = 0;
  int64_t started_ns_ = 0;
  policy::RetryState retry_;
  uint32_t started_ = 0;  // what lever-attempt says: also attempts that retry_ does not count any more
  uint64_t told_generation_ = 0;
  uint32_t moves_ = 0;
  uint64_t version_draw_ = 0;         // which version it goes to while one is a canary; 0: not drawn
  std::optional<bool> to_canary_;     // so drawn; nullopt: the service has none
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_ATTEMPTS_H_
