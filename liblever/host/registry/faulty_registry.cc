#include "liblever/host/registry/faulty_registry.h"

#include <mutex>
#include <utility>
#include <vector>

#include "liblever/base/random.h"

namespace lever::registry {

// Shared with answers on their way.
class FaultyRegistry::Faults {
 public:
  enum class Fate { kPass, kRefuse, kLoseAnswer, kHold };

  Faults(Executor* executor, const FaultyRegistryOptions& options)
      : executor_(executor), options_(options), random_(options.seed) {}

  Fate Decide() {
    const std::lock_guard lock(mutex_);
    // One number a request, so that what is ordered by hand does not shift what chance does later.
    auto left = static_cast<int>(random_.Below(1000));
    if (refuse_next_ > 0) {
      --refuse_next_;
      return Fate::kRefuse;
    }
    if (lose_next_ > 0) {
      --lose_next_;
      return Fate::kLoseAnswer;
    }
    if (left < options_.refuse_permille) return Fate::kRefuse;
    left -= options_.refuse_permille;
    if (left < options_.lose_answer_permille) return Fate::kLoseAnswer;
    left -= options_.lose_answer_permille;
    return hold_all_ || left < options_.hold_permille ? Fate::kHold : Fate::kPass;
  }

  // Keeps the answer, or returns false: nothing is held back any more.
  bool Hold(std::function<void()> answer) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    held_.push_back(std::move(answer));
    return true;
  }

  void Release(bool close) {
    std::vector<std::function<void()>> held;
    {
      const std::lock_guard lock(mutex_);
      held = std::exchange(held_, {});
      hold_all_ = false;
      closed_ |= close;
    }
    for (std::function<void()>& each : held) executor_->Post(std::move(each));
  }

  void RefuseNext(int count) {
    const std::lock_guard lock(mutex_);
    refuse_next_ = count;
  }

  void LoseNext(int count) {
    const std::lock_guard lock(mutex_);
    lose_next_ = count;
  }

  void HoldAll() {
    const std::lock_guard lock(mutex_);
    hold_all_ = true;
  }

  void Post(std::function<void()> task) { executor_->Post(std::move(task)); }

 private:
  Executor* const executor_;
  const FaultyRegistryOptions options_;
  std::mutex mutex_;
  Random random_;
  int refuse_next_ = 0;
  int lose_next_ = 0;
  bool hold_all_ = false;
  bool closed_ = false;
  std::vector<std::function<void()>> held_;
};

FaultyRegistry::FaultyRegistry(Registry* registry, Executor* executor,
                               const FaultyRegistryOptions& options)
    : registry_(registry), faults_(std::make_shared<Faults>(executor, options)) {}

FaultyRegistry::~FaultyRegistry() { ReleaseHeld(); }

template <typename Result>
Done<Result> FaultyRegistry::Meddle(Done<Result> done) {
  switch (faults_->Decide()) {
    case Faults::Fate::kPass:
      return done;
    case Faults::Fate::kRefuse:
      faults_->Post([done = std::move(done)] {
        done(Unavailable("registry: refused by a test").WithExecuted(LEVER_EXECUTED_NO));
      });
      return nullptr;
    case Faults::Fate::kLoseAnswer:
      return [done = std::move(done)](StatusOr<Result>) {
        done(Unavailable("registry: the answer was lost by a test"));
      };
    case Faults::Fate::kHold:
      return [faults = faults_, done = std::move(done)](StatusOr<Result> result) {
        // This already runs on the executor: without holding it can be called at once.
        if (!faults->Hold([done, result] { done(result); })) done(std::move(result));
      };
  }
  return done;
}

void FaultyRegistry::Get(std::string key, Done<GetResult> done) {
  done = Meddle(std::move(done));
  if (done) registry_->Get(std::move(key), std::move(done));
}

void FaultyRegistry::Range(RangeRequest request, Done<RangeResult> done) {
  done = Meddle(std::move(done));
  if (done) registry_->Range(std::move(request), std::move(done));
}

void FaultyRegistry::Commit(Transaction transaction, Done<TransactionResult> done) {
  done = Meddle(std::move(done));
  if (done) registry_->Commit(std::move(transaction), std::move(done));
}

void FaultyRegistry::GrantLease(int64_t ttl_ns, Done<Lease> done) {
  done = Meddle(std::move(done));
  if (done) registry_->GrantLease(ttl_ns, std::move(done));
}

void FaultyRegistry::KeepAlive(LeaseId lease, Done<Lease> done) {
  done = Meddle(std::move(done));
  if (done) registry_->KeepAlive(lease, std::move(done));
}

void FaultyRegistry::RevokeLease(LeaseId lease, Done<Revision> done) {
  done = Meddle(std::move(done));
  if (done) registry_->RevokeLease(lease, std::move(done));
}

WatchId FaultyRegistry::Watch(WatchRequest request, WatchCallback callback) {
  return registry_->Watch(std::move(request), std::move(callback));
}

void FaultyRegistry::CancelWatch(WatchId watch) { registry_->CancelWatch(watch); }

void FaultyRegistry::Close(std::function<void()> closed) {
  faults_->Release(/*close=*/true);
  registry_->Close(std::move(closed));
}

void FaultyRegistry::RefuseNext(int count) { faults_->RefuseNext(count); }

void FaultyRegistry::LoseAnswersOfNext(int count) { faults_->LoseNext(count); }

void FaultyRegistry::HoldAll() { faults_->HoldAll(); }

void FaultyRegistry::ReleaseHeld() { faults_->Release(/*close=*/false); }

}  // namespace lever::registry
