// An instance with the real runtime of ownership, a program of counters (ownership_history.h), a clock of
// its own, and whatever may go wrong in between: it is paused, dies, is slow, fails to open or to close.
//
// Everything happens in Live(), once a step, in an order that is drawn; the clock goes on without it.
#ifndef TESTS_HOST_SCALE_OWNING_INSTANCE_H_
#define TESTS_HOST_SCALE_OWNING_INSTANCE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "liblever/base/loop.h"
#include "liblever/service/ownership.h"
#include "tests/host/scale/fencing_store.h"
#include "tests/host/scale/ownership_history.h"
#include "tests/host/scale/shard_links.h"

namespace lever::scale {

// What becomes of a call, as its caller is told.
struct CallAnswer {
  enum class Kind : uint8_t { kCounted, kFailed, kUnknown, kRefused };
  Kind kind = Kind::kRefused;
  // Of kRefused, as far as it was told.
  std::string owner{};
  uint64_t generation = 0;
};

class OwningInstance final : public LinkEnd, private service::OwnershipHandler {
 public:
  struct Around {
    ShardLinks* links = nullptr;
    History* history = nullptr;
    FencingStore* store = nullptr;
    std::function<void(uint64_t increment, CallAnswer answer)> answer;
  };
  static constexpr int64_t kReleaseTimeoutNs = 10 * kNanosPerSecond;

  OwningInstance(std::string name, uint64_t its_version, uint32_t shards, Around around);
  ~OwningInstance() override;

  // A call on its way here; `generation` is what its caller believes.
  void Call(uint64_t increment, const std::string& resource, uint32_t shard, uint64_t generation);
  // Its caller has given up.
  void GiveUp(uint64_t increment);
  // What the controller says, as it arrives.
  void OnOrders(const fleet::ShardOrdersData& orders);
  void OnRenewed(uint64_t id);
  void OnState(const fleet::StateAnswerData& answer);

  void Live();
  // Nothing is owned, and nothing runs or waits here.
  bool Idle() const;
  // It is over; the callers of what runs learn that they do not know, or that it was never run.
  void End(CallAnswer::Kind untaken);
  // It may run calls of the shard now.
  bool Owns(uint32_t shard) const;

  const uint64_t version;
  bool stopping = false;
  ManualClock clock;
  const Drift drift;

 private:
  class Request;
  struct Counter {
    std::string name;
    uint32_t shard = 0;
    uint64_t generation = 0;
    std::set<uint64_t> counted;
  };

  // OwnershipHandler
  void SendToHost(const std::string& message) override;
  void OnResourceOpen(const service::ResourceOpening& opening) override;
  void OnResourceClose(uint64_t resource, service::CloseReason reason) override;
  void OnNothingOwned() override {}
  int64_t ReleaseTimeoutNs() const override { return kReleaseTimeoutNs; }

  void Receive(uint64_t increment, const std::string& resource, uint32_t shard, uint64_t generation);
  void Begin(Request* request);
  void Count(Request* request);
  void Return(Request* request, bool counted);
  void Refuse(Request* request, const rpc::HeaderList* trailers);
  void Tell(Request* request, CallAnswer answer);
  void Finish(Request* request);
  void Close(uint64_t resource, service::CloseReason reason);

  void Note(HistoryEvent event);
  void Note(HistoryEvent::Kind kind, const Request& request);
  HistoryEvent EventOf(const Counter& counter) const;
  // The program goes on so many steps from now, or later.
  void Later(int steps, std::function<void()> what);
  int Soon(uint32_t steps) { return static_cast<int>(around_.links->random->Below(steps)); }
  bool OneIn(uint32_t n) { return around_.links->OneIn(n); }
  void Do(const std::function<void()>& what);
  void TakeAll(Arrivals* arrivals);
  void Work();

  const uint32_t shards_;
  const Around around_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<service::Ownership> ownership_;
  Arrivals from_callers_;
  Arrivals from_store_;
  std::multimap<int, std::function<void()>> work_;  // by the step from which it may be done
  std::map<uint64_t, int64_t> renewals_;            // when each was asked for
  std::map<uint64_t, Counter> open_;                // by the opening's id
  std::deque<std::unique_ptr<Request>> requests_;
  std::map<uint64_t, Request*> live_;               // by increment
  std::set<uint64_t> arriving_;                     // increments that are on their way
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_OWNING_INSTANCE_H_
