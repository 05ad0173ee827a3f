// One registry for several hosts, each of which is answered on a loop of its own.
#ifndef TESTS_HOST_SCALE_HOST_REGISTRY_H_
#define TESTS_HOST_SCALE_HOST_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/host/registry/registry.h"

namespace lever::scale {

// A registry as one host sees it: its answers come on that host's loop, and are counted.
class HostRegistry final : public registry::Registry {
 public:
  // `loop` may come later, before the first request.
  explicit HostRegistry(registry::Registry* registry, Loop* loop = nullptr)
      : registry_(registry), loop_(loop) {}
  void set_loop(Loop* loop) { loop_ = loop; }

  void Get(std::string key, registry::Done<registry::GetResult> done) override {
    registry_->Get(std::move(key), Counted(std::move(done)));
  }
  void Range(registry::RangeRequest request, registry::Done<registry::RangeResult> done) override {
    registry_->Range(std::move(request), Counted(std::move(done)));
  }
  void Commit(registry::Transaction transaction,
              registry::Done<registry::TransactionResult> done) override {
    registry_->Commit(std::move(transaction), Counted(std::move(done)));
  }
  void GrantLease(int64_t ttl_ns, registry::Done<registry::Lease> done) override {
    registry_->GrantLease(ttl_ns, Counted(std::move(done)));
  }
  void KeepAlive(registry::LeaseId lease, registry::Done<registry::Lease> done) override {
    registry_->KeepAlive(lease, Counted(std::move(done)));
  }
  void RevokeLease(registry::LeaseId lease, registry::Done<registry::Revision> done) override {
    registry_->RevokeLease(lease, Counted(std::move(done)));
  }
  registry::WatchId Watch(registry::WatchRequest request,
                          registry::WatchCallback callback) override {
    return registry_->Watch(std::move(request), std::move(callback));
  }
  void CancelWatch(registry::WatchId watch) override { registry_->CancelWatch(watch); }
  void Close(std::function<void()> closed) override { registry_->Close(std::move(closed)); }

  // Asked, and not answered by the registry yet.
  int outstanding() const { return outstanding_; }

 private:
  template <typename Result>
  registry::Done<Result> Counted(registry::Done<Result> done) {
    ++outstanding_;
    return [this, done = std::move(done)](StatusOr<Result> result) {
      --outstanding_;
      loop_->Post([done, result = std::make_shared<StatusOr<Result>>(std::move(result))] {
        done(std::move(*result));
      });
    };
  }

  registry::Registry* const registry_;
  Loop* loop_;
  int outstanding_ = 0;
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_HOST_REGISTRY_H_
