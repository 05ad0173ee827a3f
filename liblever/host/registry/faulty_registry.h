// A registry that fails, for the tests of whoever uses one.
//
// It passes everything on to another registry, and by chance, from a seed, refuses a request, loses
// the answer to one that was carried out, or holds an answer back. With the same seed and the same
// order of requests the same faults happen.
//
// Thread-safe; see registry.h. The wrapped registry and the executor outlive it. Close it, or the
// wrapped one, before it is destroyed.
//
// Invariants
//  1. Every `done` is still called exactly once, on the executor.
//  2. A refused request was not passed on: UNAVAILABLE with LEVER_EXECUTED_NO. A lost answer is
//     UNAVAILABLE with LEVER_EXECUTED_UNKNOWN, whatever the answer was.
//  3. An answer that is held back comes after answers to later requests, at the latest with
//     ReleaseHeld() or Close().
#ifndef LIBLEVER_HOST_REGISTRY_FAULTY_REGISTRY_H_
#define LIBLEVER_HOST_REGISTRY_FAULTY_REGISTRY_H_

#include <cstdint>
#include <memory>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

struct FaultyRegistryOptions {
  uint64_t seed = 1;
  // Chances out of 1,000, one after the other; for every request but watches.
  int refuse_permille = 0;
  int lose_answer_permille = 0;
  int hold_permille = 0;
};

class FaultyRegistry : public Registry {
 public:
  FaultyRegistry(Registry* registry, Executor* executor, const FaultyRegistryOptions& options);
  ~FaultyRegistry() override;

  void Get(std::string key, Done<GetResult> done) override;
  void Range(RangeRequest request, Done<RangeResult> done) override;
  void Commit(Transaction transaction, Done<TransactionResult> done) override;
  void GrantLease(int64_t ttl_ns, Done<Lease> done) override;
  void KeepAlive(LeaseId lease, Done<Lease> done) override;
  void RevokeLease(LeaseId lease, Done<Revision> done) override;
  WatchId Watch(WatchRequest request, WatchCallback callback) override;
  void CancelWatch(WatchId watch) override;
  void Close(std::function<void()> closed) override;

  // The next `count` requests are refused, whatever the chances.
  void RefuseNext(int count);
  // The next `count` requests are carried out and their answers lost.
  void LoseAnswersOfNext(int count);
  // From now on answers are held back, all of them, until ReleaseHeld().
  void HoldAll();
  // Posts what is held back, in the order in which it came, and holds nothing back by HoldAll().
  void ReleaseHeld();

 private:
  class Faults;
  // What becomes of `done`: empty if the request was refused, else what the wrapped one is to call.
  template <typename Result>
  Done<Result> Meddle(Done<Result> done);

  Registry* const registry_;
  const std::shared_ptr<Faults> faults_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_FAULTY_REGISTRY_H_
