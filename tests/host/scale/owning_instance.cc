#include "tests/host/scale/owning_instance.h"

#include <sstream>
#include <utility>

#include "lever/v1/host.pb.h"
#include "liblever/policy/shard.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/headers.h"

namespace lever::scale {

using Kind = HistoryEvent::Kind;
using service::CloseReason;

// ---- Calls ----

class OwningInstance::Request final : public service::ResourceRequest {
 public:
  enum class Phase : uint8_t { kWaiting, kOffered, kBegun, kEnded };

  Request(OwningInstance* its_instance, uint64_t its_increment)
      : instance(its_instance), increment(its_increment) {}

  bool streaming() const override { return false; }
  void Offer() override {
    phase = Phase::kOffered;
    opening = resource->id;
    instance->Later(instance->Soon(3), [this] { instance->Begin(this); });
  }
  void RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) override {
    instance->Refuse(this, trailers);
    instance->Finish(this);
  }
  // What has begun goes on.
  void MoveAway(const Status& status, const rpc::HeaderList* trailers) override {
    if (phase == Phase::kOffered) instance->Refuse(this, trailers);
  }
  void CutOff(const Status& status) override {
    if (phase == Phase::kOffered) return instance->Refuse(this, nullptr);
    instance->Note(Kind::kCut, *this);
    instance->Tell(this, {CallAnswer::Kind::kUnknown});
  }

  OwningInstance* const instance;
  const uint64_t increment;
  Phase phase = Phase::kWaiting;
  bool caller_waits = true;
  uint64_t opening = 0;
};

OwningInstance::OwningInstance(std::string name, uint64_t its_version, uint32_t shards,
                               Around around)
    : version(its_version),
      clock(kSecond + static_cast<int64_t>(around.links->random->Below(1'000'000)) * kSecond),
      drift(around.links->random),
      shards_(shards),
      around_(std::move(around)),
      loop_(OpenLoop(&clock)) {
  id = std::move(name);
  // Nothing is closed for being idle: what a counter in memory has counted would be dropped by that.
  service::ResourceOptions options{.idle_timeout_ns = 24 * 3600 * kSecond};
  if (Soon(2) == 0) options.concurrency_max = 1;
  Do([&] {
    ownership_ = std::make_unique<service::Ownership>(
        loop_.get(), options, static_cast<service::OwnershipHandler*>(this));
  });
  on_welcome = [this] { EXPECT_TRUE(ownership_->Attached(shards_).ok()); };
  on_cut = [this] {
    to_instance.Push(around_.links->step, [this] { ownership_->Detached(); });
  };
}

OwningInstance::~OwningInstance() {
  Do([&] { ownership_.reset(); });
}

void OwningInstance::Call(uint64_t increment, const std::string& resource, uint32_t shard,
                          uint64_t generation) {
  arriving_.insert(increment);
  from_callers_.Push(around_.links->Arrival(), [this, increment, resource, shard, generation] {
    Receive(increment, resource, shard, generation);
  });
}

void OwningInstance::GiveUp(uint64_t increment) {
  from_callers_.Push(around_.links->Arrival(), [this, increment] {
    const auto found = live_.find(increment);
    if (found == live_.end()) return;
    found->second->caller_waits = false;
    if (found->second->phase == Request::Phase::kWaiting) Finish(found->second);
  });
}

void OwningInstance::Receive(uint64_t increment, const std::string& resource, uint32_t shard,
                             uint64_t generation) {
  arriving_.erase(increment);
  Request* const request =
      requests_.emplace_back(std::make_unique<Request>(this, increment)).get();
  live_[increment] = request;
  request->resource_name = resource;
  request->shard = shard;
  request->generation = generation;
  request->waiting_bytes = 100;
  if (ownership_->shards() == 0) return request->RefuseUnrun(Unavailable("not attached"), nullptr);
  ownership_->Admit(request);
}

// As lever_incoming_begin() does, directly before the method.
void OwningInstance::Begin(Request* request) {
  if (!request->caller_waits) return Finish(request);
  if (!ownership_->MayBegin(*request)) {
    rpc::HeaderList trailers;
    (void)ownership_->Refusal(request->shard, &trailers);
    Refuse(request, &trailers);
    return Finish(request);
  }
  Note(Kind::kDispatched, *request);
  request->phase = Request::Phase::kBegun;
  const bool long_work = OneIn(30);  // beyond the release timeout
  Later(long_work ? 100 : Soon(6), [this, request] { Count(request); });
}

// The method's body.
void OwningInstance::Count(Request* request) {
  const auto found = open_.find(request->opening);
  if (found == open_.end()) return Return(request, false);  // cut off and closed meanwhile
  Counter& counter = found->second;
  counter.counted.insert(request->increment);
  if (!IsStored(counter.name)) {
    return Later(Soon(3), [this, request] { Return(request, true); });
  }
  around_.store->Write(EventOf(counter), counter.counted,
                       [this, request](bool accepted, const auto& counted) {
                         from_store_.Push(around_.links->Arrival(), [this, request, accepted] {
                           Return(request, accepted);
                         });
                       });
}

// As a reply does, as its last byte goes out.
void OwningInstance::Return(Request* request, bool counted) {
  Note(Kind::kEnded, *request);
  if (request->caller_waits && !counted) {
    Tell(request, {CallAnswer::Kind::kFailed});
  } else if (request->caller_waits && ownership_->MayReply(*request)) {
    Note(Kind::kReplied, *request);
    Tell(request, {CallAnswer::Kind::kCounted});
  } else if (request->caller_waits) {
    Note(Kind::kUnknown, *request);
    Tell(request, {CallAnswer::Kind::kUnknown});
  }
  Finish(request);
}

void OwningInstance::Refuse(Request* request, const rpc::HeaderList* trailers) {
  if (!request->caller_waits) return;
  CallAnswer answer;
  if (trailers != nullptr) {
    answer.owner = trailers->Find(route::kOwnerTrailer).value_or("");
    const auto named = policy::ParseShardGeneration(
        trailers->Find(route::kGenerationHeader).value_or(""));
    if (named.has_value()) answer.generation = named->generation;
  }
  Note(Kind::kRefused, *request);
  Tell(request, std::move(answer));
}

void OwningInstance::Tell(Request* request, CallAnswer answer) {
  if (std::exchange(request->caller_waits, false)) {
    around_.answer(request->increment, std::move(answer));
  }
}

void OwningInstance::Finish(Request* request) {
  request->phase = Request::Phase::kEnded;
  const auto found = live_.find(request->increment);
  if (found != live_.end() && found->second == request) live_.erase(found);
  ownership_->Ended(request);
}

// ---- The program's resources ----

void OwningInstance::OnResourceOpen(const service::ResourceOpening& opening) {
  const uint64_t resource = opening.id;
  Counter& counter = open_[resource];
  counter.name = opening.name;
  counter.shard = policy::ShardOf(ShardWorld::kEnvironment, ShardWorld::kService, counter.name,
                                  shards_);
  counter.generation = opening.generation;
  HistoryEvent opened = EventOf(counter);
  opened.kind = Kind::kOpened;
  opened.origin = opening.origin;
  const auto done = [this, resource](bool well) {
    if (well) return ownership_->Opened(resource, Status::Ok());
    open_.erase(resource);
    ownership_->Opened(resource, Internal("it cannot be opened"));
  };
  if (!IsStored(counter.name)) {
    std::istringstream carried(Concat(opening.state));
    for (uint64_t increment = 0; carried >> increment;) counter.counted.insert(increment);
    opened.counted.assign(counter.counted.begin(), counter.counted.end());
    Note(std::move(opened));
    return Later(Soon(3), [done, well = !OneIn(20)] { done(well); });
  }
  around_.store->Read(
      EventOf(counter),
      [this, resource, done, opened](bool accepted, const std::set<uint64_t>& counted) {
        from_store_.Push(around_.links->Arrival(), [this, resource, done, opened, accepted,
                                                    counted]() mutable {
          open_[resource].counted = counted;
          opened.clock_ns = clock.NowNs();
          opened.counted.assign(counted.begin(), counted.end());
          if (accepted) Note(std::move(opened));
          done(accepted && !OneIn(20));
        });
      });
}

void OwningInstance::OnResourceClose(uint64_t resource, CloseReason reason) {
  constexpr int kTooLongSteps = 40;  // beyond kCloseTimeoutNs
  Later(OneIn(20) ? kTooLongSteps : Soon(3), [this, resource, reason] { Close(resource, reason); });
}

void OwningInstance::Close(uint64_t resource, CloseReason reason) {
  const Counter counter = std::move(open_[resource]);
  open_.erase(resource);
  if (OneIn(12)) {
    return ownership_->Closed(resource, Internal("it cannot be closed"), route::Kind::kNone, nullptr);
  }
  if (IsStored(counter.name)) {
    return ownership_->Closed(resource, Status::Ok(), route::Kind::kNone, nullptr);
  }
  std::string state;
  for (const uint64_t increment : counter.counted) state += std::to_string(increment) + " ";
  const SliceList slices{Slice::Copy(state)};
  ownership_->Closed(resource, Status::Ok(), route::Kind::kRaw, &slices);
}

// ---- The host ----

void OwningInstance::OnOrders(const fleet::ShardOrdersData& orders) {
  service::ShardOrders told;
  told.begins = orders.begins;
  told.synced = orders.synced;
  for (const fleet::ShardOrderData& order : orders.orders) {
    // The numbers are the same.
    told.orders.push_back({static_cast<service::ShardOrder::Kind>(order.kind), order.shard,
                           order.generation, order.next, order.next_generation,
                           static_cast<CloseReason>(order.reason)});
    HistoryEvent event;
    event.kind = order.kind == fleet::ShardOrderKind::kName    ? Kind::kNamed
                 : order.kind == fleet::ShardOrderKind::kGrant ? Kind::kGranted
                                                               : Kind::kAskedToLetGo;
    event.shard = order.shard;
    event.generation = order.generation;
    Note(std::move(event));
  }
  ownership_->OnOrders(told);
}

void OwningInstance::OnRenewed(uint64_t renewal) {
  HistoryEvent event;
  event.kind = Kind::kRenewed;
  event.asked_ns = renewals_.at(renewal);
  Note(std::move(event));
  ownership_->OnRenewed({renewal});
}

void OwningInstance::OnState(const fleet::StateAnswerData& answer) {
  ownership_->OnAnswer({answer.id, answer.status, static_cast<service::Origin>(answer.origin),
                        static_cast<route::Kind>(answer.payload_kind), answer.payload});
}

void OwningInstance::SendToHost(const std::string& bytes) {
  v1::FromInstance message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  ShardLinks& links = *around_.links;
  if (message.has_renew()) {
    const uint64_t renewal = message.renew().id();
    renewals_[renewal] = clock.NowNs();
    links.SendToHost(*this, [name = id, renewal](ShardController& to) { to.OnRenew(name, renewal); });
  }
  if (message.has_released()) {
    HistoryEvent event;
    event.kind = Kind::kLetGo;
    event.shard = message.released().shard();
    event.generation = message.released().generation();
    const fleet::ShardReleasedData released{event.shard, event.generation,
                                            message.released().clean()};
    Note(std::move(event));
    links.SendToHost(*this, [name = id, released](ShardController& to) {
      to.OnReleased(name, released);
    });
  }
  if (message.has_state()) {
    const v1::StateRequest& asked = message.state();
    const fleet::StateRequestData request{
        asked.id(),         static_cast<fleet::StateRequestKind>(asked.kind()),
        asked.shard(),      asked.generation(),
        asked.resource(),   asked.payload_kind(),
        asked.payload()};
    links.SendToHost(*this, [name = id, request](ShardController& to) { to.OnState(name, request); });
  }
}

// ---- Life ----

void OwningInstance::Live() {
  if (steps_paused > 0) {
    --steps_paused;
    return;
  }
  constexpr uint32_t kThings = 5;
  const uint32_t first = around_.links->random->Below(kThings);
  for (uint32_t i = 0; i < kThings; ++i) {
    switch ((first + i) % kThings) {
      case 0: TakeAll(&to_instance); break;
      case 1: TakeAll(&from_callers_); break;
      case 2: TakeAll(&from_store_); break;
      case 3: Work(); break;
      default: EXPECT_TRUE(loop_->Turn(0).ok());
    }
  }
}

void OwningInstance::TakeAll(Arrivals* arrivals) {
  while (const auto what = arrivals->Take(around_.links->step)) Do(what);
}

void OwningInstance::Work() {
  while (!work_.empty() && work_.begin()->first <= around_.links->step) {
    const auto what = std::move(work_.begin()->second);
    work_.erase(work_.begin());
    Do(what);
  }
}

bool OwningInstance::Idle() const {
  return ownership_->Empty() && live_.empty() && arriving_.empty();
}

void OwningInstance::End(CallAnswer::Kind untaken) {
  for (const auto& [increment, request] : std::map(live_)) {
    Tell(request, {CallAnswer::Kind::kUnknown});
  }
  for (const uint64_t increment : arriving_) around_.answer(increment, {untaken});
  arriving_.clear();
}

bool OwningInstance::Owns(uint32_t shard) const {
  if (ownership_->shards() == 0) return false;
  const uint64_t generation = ownership_->NextOwner(shard).shard.generation;
  return generation != 0 && ownership_->view()->MayBegin(shard, generation, clock.NowNs());
}

void OwningInstance::Later(int steps, std::function<void()> what) {
  work_.emplace(around_.links->step + steps, std::move(what));
}

void OwningInstance::Do(const std::function<void()>& what) {
  ASSERT_TRUE(loop_->TryEnter());
  what();
  loop_->Leave();
}

void OwningInstance::Note(HistoryEvent event) {
  event.instance = id;
  event.clock_ns = clock.NowNs();
  around_.history->push_back(std::move(event));
}

void OwningInstance::Note(Kind kind, const Request& request) {
  HistoryEvent event;
  event.kind = kind;
  event.shard = request.shard;
  event.generation = request.generation;
  event.resource = request.resource_name;
  event.increment = request.increment;
  Note(std::move(event));
}

HistoryEvent OwningInstance::EventOf(const Counter& counter) const {
  HistoryEvent event;
  event.instance = id;
  event.clock_ns = clock.NowNs();
  event.shard = counter.shard;
  event.generation = counter.generation;
  event.resource = counter.name;
  return event;
}

}  // namespace lever::scale
