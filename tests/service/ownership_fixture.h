// Ownership with a host that the test plays, a program that records, and requests without a transport.
#ifndef TESTS_SERVICE_OWNERSHIP_FIXTURE_H_
#define TESTS_SERVICE_OWNERSHIP_FIXTURE_H_

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lever/v1/host.pb.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/headers.h"
#include "liblever/service/attach_messages.h"
#include "liblever/service/ownership.h"
#include "tests/route/loop_fixture.h"

namespace lever::service {

// What `message` says, as the library reads it off the wire.
inline ToInstance ReadAsInstance(const v1::ToInstance& message) {
  ToInstance parsed;
  EXPECT_TRUE(ParseToInstance(message.SerializeAsString(), &parsed).ok());
  return parsed;
}

class OwnershipTest;

struct FakeRequest final : public ResourceRequest {
  enum class Phase { kNew, kWaiting, kOffered, kBegun, kRefused, kMoved, kCut, kEnded };

  FakeRequest(OwnershipTest* its_test, bool is_streaming) : test(its_test), stream(is_streaming) {}

  bool streaming() const override { return stream; }
  void Offer() override;
  void RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) override;
  void MoveAway(const Status& status, const rpc::HeaderList* trailers) override;
  void CutOff(const Status& status) override;
  void Take(const rpc::HeaderList* with) {
    for (size_t i = 0; with != nullptr && i < with->size(); ++i) {
      trailers[std::string((*with)[i].name)] = std::string((*with)[i].value);
    }
  }

  OwnershipTest* const test;
  const bool stream;
  Phase phase = Phase::kNew;
  int order = 0;             // in which it was offered
  Status told;
  std::map<std::string, std::string> trailers;
};

class OwnershipTest : public LoopTest, protected OwnershipHandler {
 protected:
  static constexpr uint32_t kShards = 4;
  static constexpr int64_t kReleaseNs = 30 * kNanosPerSecond;
  using Phase = FakeRequest::Phase;

  OwnershipTest() { Make({}); }
  ~OwnershipTest() override {
    Do([&] { ownership.reset(); });
  }
  void Make(ResourceOptions options) {
    Do([&] {
      ownership = std::make_unique<Ownership>(loop.get(), options,
                                              static_cast<OwnershipHandler*>(this));
    });
  }

  // ---- The host ----
  void Attach(uint32_t shards = kShards) {
    Do([&] { ASSERT_TRUE(ownership->Attached(shards).ok()); });
  }
  // A session without anything to say again, whose grant is renewed.
  void AttachAndSync() {
    Attach();
    Sync();
    Renew();
  }
  void Order(v1::ShardOrder::Kind kind, uint32_t shard, uint64_t generation,
             const std::string& next = "", uint64_t next_generation = 0,
             v1::CloseReason reason = v1::MOVED) {
    v1::ToInstance message;
    auto* order = message.mutable_shards()->add_orders();
    order->set_kind(kind);
    order->set_shard(shard);
    order->set_generation(generation);
    order->set_next(next);
    order->set_next_generation(next_generation);
    order->set_reason(reason);
    Tell(message);
  }
  void Name(uint32_t shard, uint64_t generation) { Order(v1::ShardOrder::NAME, shard, generation); }
  void Grant(uint32_t shard, uint64_t generation) { Order(v1::ShardOrder::GRANT, shard, generation); }
  void Own(uint32_t shard, uint64_t generation) {
    Name(shard, generation);
    Grant(shard, generation);
  }
  void Release(uint32_t shard, uint64_t generation, const std::string& next = "",
               uint64_t next_generation = 0, v1::CloseReason reason = v1::MOVED) {
    Order(v1::ShardOrder::RELEASE, shard, generation, next, next_generation, reason);
  }
  void Sync() {
    v1::ToInstance message;
    message.mutable_shards()->set_synced(true);
    Tell(message);
  }
  void Tell(const v1::ToInstance& message) {
    ToInstance parsed = ReadAsInstance(message);
    Do([&] {
      if (auto* orders = std::get_if<ShardOrders>(&parsed)) ownership->OnOrders(*orders);
      if (auto* renewed = std::get_if<GrantRenewed>(&parsed)) ownership->OnRenewed(*renewed);
      if (auto* answer = std::get_if<StateAnswer>(&parsed)) ownership->OnAnswer(std::move(*answer));
    });
  }
  // Answers the newest renewal that was asked for.
  void Renew() {
    ASSERT_FALSE(renewals.empty());
    v1::ToInstance message;
    message.mutable_renewed()->set_id(renewals.back());
    Tell(message);
  }
  void Answer(const v1::StateRequest& request, v1::StateAnswer::Origin origin = v1::StateAnswer::NEW,
              const std::string& payload = "", lever_status status = LEVER_OK) {
    v1::ToInstance message;
    auto* answer = message.mutable_state();
    answer->set_id(request.id());
    answer->set_origin(origin);
    answer->set_status(status);
    if (status != LEVER_OK) answer->set_message("the disk is full");
    if (origin == v1::StateAnswer::CARRIED) {
      answer->set_payload_kind(static_cast<uint32_t>(route::Kind::kRaw));
      answer->set_payload(payload);
    }
    Tell(message);
  }
  // The oldest request that has not been taken; fails the test if there is none.
  v1::StateRequest TakeState() {
    if (states.empty()) {
      ADD_FAILURE() << "nothing was asked of the host";
      return {};
    }
    v1::StateRequest request = states.front();
    states.pop_front();
    return request;
  }
  v1::ShardReleased TakeReleased() {
    if (released.empty()) {
      ADD_FAILURE() << "nothing was released";
      return {};
    }
    v1::ShardReleased message = released.front();
    released.pop_front();
    return message;
  }

  // ---- The program ----
  FakeRequest& Ask(const std::string& name, uint32_t shard, uint64_t generation,
                   bool streaming = false, size_t bytes = 10) {
    FakeRequest& request = *requests.emplace_back(std::make_unique<FakeRequest>(this, streaming));
    request.resource_name = name;
    request.shard = shard;
    request.generation = generation;
    request.waiting_bytes = bytes;
    request.phase = Phase::kWaiting;
    Do([&] { ownership->Admit(&request); });
    return request;
  }
  FakeRequest& Stream(const std::string& name, uint32_t shard, uint64_t generation) {
    return Ask(name, shard, generation, true);
  }
  // As the program does before user code.
  bool Begin(FakeRequest& request) {
    EXPECT_EQ(request.phase, Phase::kOffered);
    if (!ownership->MayBegin(request)) return false;
    request.phase = Phase::kBegun;
    return true;
  }
  // Already inside the loop's word.
  void EndNow(FakeRequest& request) {
    request.phase = Phase::kEnded;
    ownership->Ended(&request);
  }
  void End(FakeRequest& request) {
    Do([&] { EndNow(request); });
  }
  void Opened(uint64_t resource, const Status& status = Status::Ok()) {
    Do([&] { ownership->Opened(resource, status); });
  }
  void Closed(uint64_t resource, const std::optional<std::string>& state = std::nullopt,
              const Status& status = Status::Ok()) {
    Do([&] {
      SliceList slices;
      if (state.has_value()) slices.push_back(Slice::Copy(*state));
      ownership->Closed(resource, status, route::Kind::kRaw, state.has_value() ? &slices : nullptr);
    });
  }
  // A new resource of a shard that is owned under `generation`, opened, with nothing in flight.
  uint64_t OpenNew(const std::string& name, uint32_t shard, uint64_t generation) {
    FakeRequest& request = Ask(name, shard, generation);
    Answer(TakeState());
    const uint64_t id = openings.back().id;
    Opened(id);
    EXPECT_EQ(request.phase, Phase::kOffered);
    End(request);
    return id;
  }

  // OwnershipHandler
  void SendToHost(const std::string& bytes) override {
    v1::FromInstance message;
    ASSERT_TRUE(message.ParseFromString(bytes));
    if (message.has_renew()) renewals.push_back(message.renew().id());
    if (message.has_released()) released.push_back(message.released());
    if (message.has_state()) states.push_back(message.state());
    if (on_sent) on_sent(message);
  }
  void OnResourceOpen(const ResourceOpening& opening) override {
    Opening& noted = openings.emplace_back();
    noted = {opening.id, std::string(opening.name), opening.generation, opening.origin,
             Concat(opening.state)};
    if (on_open) on_open(noted);
  }
  void OnResourceClose(uint64_t resource, CloseReason reason) override {
    closings.emplace_back(resource, reason);
    if (on_close) on_close(resource, reason);
  }
  void OnNothingOwned() override { ++nothing_owned; }
  int64_t ReleaseTimeoutNs() const override { return kReleaseNs; }

 public:
  struct Opening {
    uint64_t id = 0;
    std::string name;
    uint64_t generation = 0;
    Origin origin = Origin::kNew;
    std::string state;
  };
  std::unique_ptr<Ownership> ownership;
  std::deque<std::unique_ptr<FakeRequest>> requests;
  std::vector<uint64_t> renewals;
  std::deque<v1::ShardReleased> released;
  std::deque<v1::StateRequest> states;
  std::deque<Opening> openings;
  std::deque<std::pair<uint64_t, CloseReason>> closings;
  int nothing_owned = 0;
  int offered = 0;
  // What happens from inside.
  std::function<void(const v1::FromInstance&)> on_sent;
  std::function<void(const Opening&)> on_open;
  std::function<void(uint64_t, CloseReason)> on_close;
  std::function<void(FakeRequest&)> on_offer;
  std::function<void(FakeRequest&)> on_moved;
  std::function<void(FakeRequest&)> on_cut;
};

inline void FakeRequest::Offer() {
  EXPECT_EQ(phase, Phase::kWaiting) << "offered twice, or after it was refused";
  phase = Phase::kOffered;
  order = ++test->offered;
  if (test->on_offer) test->on_offer(*this);
}

inline void FakeRequest::RefuseUnrun(const Status& status, const rpc::HeaderList* with) {
  EXPECT_EQ(phase, Phase::kWaiting) << "refused twice, or after it was offered";
  EXPECT_FALSE(status.ok());
  phase = Phase::kRefused;
  told = status;
  Take(with);
  // As a call does: it is over.
  test->ownership->Ended(this);
}

inline void FakeRequest::MoveAway(const Status& status, const rpc::HeaderList* with) {
  EXPECT_TRUE(phase == Phase::kOffered || phase == Phase::kBegun);
  // A call that has begun goes on.
  if (phase == Phase::kBegun && !stream) return;
  phase = Phase::kMoved;
  told = status;
  Take(with);
  if (test->on_moved) test->on_moved(*this);
}

inline void FakeRequest::CutOff(const Status& status) {
  EXPECT_TRUE(phase == Phase::kOffered || phase == Phase::kBegun || phase == Phase::kMoved);
  phase = Phase::kCut;
  told = status;
  if (test->on_cut) test->on_cut(*this);
}

}  // namespace lever::service

#endif  // TESTS_SERVICE_OWNERSHIP_FIXTURE_H_
