// Random histories of ownership: orders, sessions, renewals, requests, a program that answers late, never,
// or from inside. Whatever comes, each request gets exactly one of an offer and a refusal, and nothing is
// offered outside a grant.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/policy/grant.h"
#include "tests/service/ownership_fixture.h"

namespace lever::service {
namespace {

class RandomOwnershipTest : public OwnershipTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  static constexpr int kSteps = 6000;
  static constexpr uint32_t kNames = 12;

  RandomOwnershipTest() : random_(GetParam()) {
    on_offer = [this](FakeRequest& request) { WhenOffered(request); };
    on_open = [this](const Opening& opening) { WhenOpened(opening.id); };
    on_close = [this](uint64_t resource, CloseReason) { WhenClosed(resource); };
    on_moved = [this](FakeRequest& request) { MaybeEndFromInside(request); };
    on_cut = [this](FakeRequest& request) { MaybeEndFromInside(request); };
    on_sent = [this](const v1::FromInstance& message) { WhenSent(message); };
  }

  uint32_t Below(size_t n) { return random_.Below(static_cast<uint32_t>(n)); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  // Of a shard of its own for each name.
  static uint32_t ShardOfName(uint64_t name) { return static_cast<uint32_t>(name % kShards); }

  // ---- From inside ----
  void WhenOffered(FakeRequest& request) {
    ++offers_;
    ASSERT_NE(request.resource, nullptr);
    const uint64_t id = request.resource->id;
    EXPECT_TRUE(open_.contains(id)) << "offered to a resource that is not open";
    EXPECT_TRUE(ownership->view()->MayBegin(request.shard, request.generation, clock.NowNs()))
        << "offered outside a grant";
    EXPECT_TRUE(ownership->MayBegin(request));
    if (serial_ && !request.stream) {
      EXPECT_TRUE(turns_.insert(id).second) << "two calls of a serial resource at a time";
    }
    if (OneIn(3)) return;
    request.phase = Phase::kBegun;
    if (OneIn(2)) EndOne(request);
  }
  void MaybeEndFromInside(FakeRequest& request) {
    if (OneIn(2)) EndOne(request);
    // What ends one may be another's end, too.
    if (OneIn(4)) EndSomething();
  }
  void EndOne(FakeRequest& request) {
    if (request.phase == Phase::kRefused) return;  // it is over
    if (request.resource != nullptr && request.offered && !request.stream) {
      turns_.erase(request.resource->id);
    }
    EndNow(request);
    std::erase(live_, &request);
  }
  void EndSomething() {
    if (live_.empty()) return;
    // Those that wait end by their callers, the others by the program.
    EndOne(*live_[Below(live_.size())]);
  }
  void WhenOpened(uint64_t id) {
    opening_.insert(id);
    if (OneIn(2)) AnswerOpening(id);
  }
  void AnswerOpening(uint64_t id) {
    opening_.erase(id);
    if (OneIn(8)) return ownership->Opened(id, Internal("no"));
    open_.insert(id);
    ownership->Opened(id, Status::Ok());
  }
  void WhenClosed(uint64_t id) {
    EXPECT_TRUE(open_.erase(id) == 1) << "closed twice, or never opened";
    for (const FakeRequest* request : live_) {
      EXPECT_FALSE(request->resource != nullptr && request->resource->id == id && request->offered)
          << "closed while something of it runs";
    }
    closing_.insert(id);
    if (OneIn(2)) AnswerClosing(id);
  }
  void AnswerClosing(uint64_t id) {
    closing_.erase(id);
    const SliceList state{Slice::Copy("state")};
    switch (Below(4)) {
      case 0: return ownership->Closed(id, Status::Ok(), route::Kind::kNone, nullptr);
      case 1: return ownership->Closed(id, Internal("no"), route::Kind::kNone, nullptr);
      default: return ownership->Closed(id, Status::Ok(), route::Kind::kRaw, &state);
    }
  }
  void WhenSent(const v1::FromInstance& message) {
    if (!message.has_released()) return;
    const uint32_t shard = message.released().shard();
    for (const FakeRequest* request : live_) {
      EXPECT_FALSE(request->resource != nullptr && request->shard == shard && request->offered &&
                   request->generation == message.released().generation())
          << "released while something runs";
    }
  }

  // ---- Steps, from outside ----
  void Step() {
    switch (Below(24)) {
      case 0: case 1: case 2: case 3: case 4: case 5: return Come();
      case 6: case 7: case 8:
        return Do([&] { EndSomething(); });
      case 9: case 10: case 11:
        return OrderSomething(OneIn(4) ? v1::ShardOrder::NAME : v1::ShardOrder::GRANT);
      case 12:
        if (OneIn(2)) OrderSomething(v1::ShardOrder::RELEASE);
        return;
      case 13: case 14: case 15:
        if (!states.empty()) AnswerState();
        return;
      case 16: case 17:
        if (opening_.empty()) return;
        return Do([&] { AnswerOpening(Any(opening_)); });
      case 18:
        if (closing_.empty()) return;
        return Do([&] { AnswerClosing(Any(closing_)); });
      case 19: case 20:
        if (!renewals.empty() && attached_) Renew();
        return;
      case 21: return Advance(static_cast<int64_t>(Below(1000)) * kNanosPerMilli);
      case 22:
        if (OneIn(8)) Advance(static_cast<int64_t>(Below(20)) * kNanosPerSecond);
        return;
      default:
        if (!attached_ || OneIn(8)) NewSession();
    }
  }
  uint64_t Any(const std::set<uint64_t>& of) {
    return *std::next(of.begin(), static_cast<ptrdiff_t>(Below(of.size())));
  }
  void Come() {
    const uint64_t name = Below(kNames);
    const uint32_t shard = ShardOfName(name);
    const uint64_t known = generation_[shard];
    uint64_t believed = known;
    if (OneIn(5)) {
      believed = known + 1;
    } else if (OneIn(6)) {
      believed = 0;
    } else if (OneIn(8) && known > 0) {
      believed = known - 1;
    }
    FakeRequest& request = *requests.emplace_back(std::make_unique<FakeRequest>(this, OneIn(4)));
    request.resource_name = "r" + std::to_string(name);
    request.shard = shard;
    request.generation = believed;
    request.waiting_bytes = Below(100);
    request.phase = Phase::kWaiting;
    live_.push_back(&request);
    Do([&] { ownership->Admit(&request); });
    Prune();
  }
  void OrderSomething(v1::ShardOrder::Kind kind) {
    if (!attached_) return;
    const auto shard = static_cast<uint32_t>(Below(kShards));
    if (kind == v1::ShardOrder::NAME) generation_[shard] += Below(2);
    // What was released, or lost with a session, comes back under another.
    if (kind == v1::ShardOrder::GRANT && OneIn(2)) {
      const auto view = ownership->view();
      if (!view->MayBegin(shard, generation_[shard], 0)) Name(shard, ++generation_[shard]);
    }
    if (generation_[shard] == 0) generation_[shard] = 1;
    Order(kind, shard, generation_[shard], OneIn(2) ? "i-2" : "", generation_[shard] + 1);
    Prune();
  }
  void AnswerState() {
    const v1::StateRequest request = TakeState();
    const bool fails = OneIn(10);
    Answer(request, static_cast<v1::StateAnswer::Origin>(Below(3)), "old",
           fails ? LEVER_INTERNAL : LEVER_OK);
  }
  void NewSession() {
    if (std::exchange(attached_, false)) {
      Do([&] { ownership->Detached(); });
      states.clear();
      renewals.clear();
      return;
    }
    Attach();
    attached_ = true;
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      if (generation_[shard] != 0 && !OneIn(4)) Own(shard, generation_[shard]);
    }
    Sync();
    Prune();
  }
  // Those that were refused are over.
  void Prune() {
    std::erase_if(live_, [](const FakeRequest* request) { return request->phase == Phase::kRefused; });
  }

  // Everything is let go of, and every request ends.
  void Finish() {
    if (!attached_) NewSession();
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      if (generation_[shard] != 0) Release(shard, generation_[shard]);
    }
    for (int round = 0; round < 200; ++round) {
      Prune();
      while (!states.empty()) Answer(TakeState());
      Do([&] {
        for (FakeRequest* request : std::vector(live_)) EndOne(*request);
        while (!opening_.empty()) AnswerOpening(*opening_.begin());
        while (!closing_.empty()) AnswerClosing(*closing_.begin());
      });
      Advance(kNanosPerSecond);
    }
  }

  Random random_;
  const bool serial_ = GetParam() % 2 == 0;
  bool attached_ = false;
  uint64_t generation_[kShards] = {};
  std::vector<FakeRequest*> live_;
  std::set<uint64_t> opening_;
  std::set<uint64_t> open_;
  std::set<uint64_t> closing_;
  std::set<uint64_t> turns_;  // serial resources whose turn is taken
  int offers_ = 0;
};

TEST_P(RandomOwnershipTest, EachRequestIsOfferedOrRefusedOnceAndNothingIsLeft) {
  Make({.concurrency_max = serial_ ? 1u : 0u, .idle_timeout_ns = 10 * kNanosPerSecond});
  NewSession();
  for (int step = 0; step < kSteps && !HasFatalFailure() && !HasNonfatalFailure(); ++step) Step();
  Finish();
  EXPECT_TRUE(ownership->Empty());
  EXPECT_EQ(ownership->open_resources(), 0u);
  EXPECT_GT(nothing_owned, 0);
  EXPECT_GT(offers_, kSteps / 100) << "the history was too dull to say much";
  for (const auto& request : requests) {
    EXPECT_TRUE(request->phase == Phase::kRefused || request->phase == Phase::kEnded);
    EXPECT_FALSE(request->waiting());
    EXPECT_EQ(request->resource, nullptr);
  }
  // Whoever waits again finds all the room there is.
  NewSession();
  NewSession();
  Name(0, 1'000'000);
  std::vector<FakeRequest*> waiting;
  for (uint32_t i = 0; i < kWaitingPerShardMax; ++i) waiting.push_back(&Ask("r0", 0, 1'000'000));
  EXPECT_EQ(waiting.back()->phase, Phase::kWaiting);
  for (FakeRequest* request : waiting) End(*request);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomOwnershipTest, ::testing::Range<uint64_t>(1, 41));

}  // namespace
}  // namespace lever::service
