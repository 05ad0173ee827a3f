#include "liblever/service/ownership.h"

#include <algorithm>
#include <utility>

#include "liblever/policy/grant.h"
#include "liblever/policy/shard.h"
#include "liblever/route/wire.h"

namespace lever::service {

using policy::ShardPhase;
using policy::ShardVerdict;

Ownership::Ownership(Loop* loop, ResourceOptions options, OwnershipHandler* handler)
    : loop_(loop),
      resumes_(options.resumes),
      handler_(handler),
      room_(loop, [this](ResourceRequest* request) { OnExpired(request); }),
      resources_(loop, options, &room_, this) {}

Ownership::~Ownership() {
  loop_->Disarm(&renew_timer_);
  loop_->Disarm(&release_timer_);
}

// ---- The session ----

Status Ownership::Attached(uint32_t shards) {
  if (!policy::IsShardCount(shards)) {
    return InvalidArgument("the host says that the service has " + std::to_string(shards) +
                           " shards");
  }
  if (shards_ != nullptr && shards_->count() != shards) {
    return FailedPrecondition("the service has had " + std::to_string(shards_->count()) +
                              " shards, and now the host says " + std::to_string(shards));
  }
  if (shards_ == nullptr) {
    shards_ = std::make_unique<policy::OwnedShards>(shards);
    view_ = std::make_shared<GrantView>(shards);
  }
  attached_ = true;
  synced_ = false;
  shards_->BeginResync();
  Renew();
  return Status::Ok();
}

void Ownership::Detached() {
  attached_ = false;
  synced_ = false;
  renewals_.clear();
  loop_->Disarm(&renew_timer_);
}

void Ownership::OwnAll() {
  alone_ = true;
  shards_ = std::make_unique<policy::OwnedShards>(1);
  view_ = std::make_shared<GrantView>(1);
  shards_->Name(0, 1);
  shards_->Grant(0, 1);
  // No later than any time that a held clock may be moved to.
  shards_->Renewed(kNever);
  view_->SetEnd(kNever);
  ShowGranted(0);
}

void Ownership::Renew() {
  if (!attached_) return;
  constexpr uint64_t kUnansweredMax = 16;
  static_assert(kUnansweredMax * policy::kGrantRenewNs > policy::kGrantTermNs);
  const uint64_t id = next_renewal_++;
  // An answer to one that old would renew nothing.
  if (id > kUnansweredMax) renewals_.erase(id - kUnansweredMax);
  renewals_.emplace(id, loop_->clock().NowNs());
  handler_->SendToHost(WriteRenewGrant(id));
  const bool valid = loop_->clock().NowNs() < shards_->end_ns();
  loop_->Arm(&renew_timer_, DeadlineAfter(loop_->now_ns(), valid ? policy::kGrantRenewNs
                                                                 : policy::kGrantRetryNs));
}

void Ownership::OnRenewed(const GrantRenewed& renewed) {
  const auto found = renewals_.find(renewed.id);
  if (found == renewals_.end() || shards_ == nullptr) return;
  const bool was_valid = loop_->clock().NowNs() < shards_->end_ns();
  shards_->Renewed(found->second);
  renewals_.erase(found);
  view_->SetEnd(shards_->end_ns());
  if (was_valid) return;
  loop_->Arm(&renew_timer_, DeadlineAfter(loop_->now_ns(), policy::kGrantRenewNs));
  std::vector<uint32_t> waiting;
  for (const auto& [shard, list] : waiting_) waiting.push_back(shard);
  for (const uint32_t shard : waiting) Recheck(shard);
  resources_.ContinueAll();
}

void Ownership::OnOrders(const ShardOrders& orders) {
  if (shards_ == nullptr || !attached_) return;
  if (orders.begins) shards_->BeginResync();
  for (const ShardOrder& order : orders.orders) OnOrder(order);
  if (orders.synced) EndResync();
}

void Ownership::OnOrder(const ShardOrder& order) {
  if (order.shard >= shards_->count()) return;
  switch (order.kind) {
    case ShardOrder::Kind::kName:
      if (!shards_->Name(order.shard, order.generation)) return;
      // What it has had before, under another generation, was given to somebody in between.
      Lose(order.shard);
      return Recheck(order.shard);
    case ShardOrder::Kind::kGrant:
      if (!shards_->Grant(order.shard, order.generation)) return SayIfReleased(order);
      ShowGranted(order.shard);
      return Recheck(order.shard);
    case ShardOrder::Kind::kRelease: return OnRelease(order);
    case ShardOrder::Kind::kUnknown: return;  // of a newer protocol
  }
}

void Ownership::EndResync() {
  std::vector<uint32_t> held;
  for (uint32_t i = 0; i < shards_->count(); ++i) {
    const ShardPhase phase = shards_->phase(i);
    if (phase != ShardPhase::kUnknown && phase != ShardPhase::kReleased) held.push_back(i);
  }
  shards_->EndResync();
  for (const uint32_t shard : held) {
    const ShardPhase phase = shards_->phase(shard);
    if (phase != ShardPhase::kReleased && phase != ShardPhase::kUnknown) continue;
    Lose(shard);
    Recheck(shard);
  }
  synced_ = true;
  resources_.Resend();
  CheckEmpty();
}

// ---- Letting go ----

void Ownership::OnRelease(const ShardOrder& order) {
  const uint32_t shard = order.shard;
  if (!order.next.empty() || order.next_generation > 0) {
    next_[shard] = {order.next_generation, order.next};
  } else {
    next_.erase(shard);
  }
  if (shards_->generation(shard) == order.generation) {
    switch (shards_->phase(shard)) {
      case ShardPhase::kGranted: return BeginRelease(shard, order.generation, order.reason);
      case ShardPhase::kReleasing: return;  // it says so when it is done
      case ShardPhase::kNamed:
        // It never had it.
        shards_->Release(shard, order.generation);
        Recheck(shard);
        return SayReleased(shard, order.generation, true);
      default: break;
    }
  }
  SayReleasedAgain(shard, order.generation);
}

// What it has let go of it says again; of what it never had it can say nothing good.
void Ownership::SayReleasedAgain(uint32_t shard, uint64_t generation) {
  const auto known = released_.find(shard);
  const bool clean = known != released_.end() && known->second.clean &&
                     known->second.generation == generation;
  handler_->SendToHost(WriteShardReleased(shard, generation, clean));
}

// A controller had told that the shard is another's, and the one that decides now knows nothing of
// that. There is no way back into a grant: it has to be given a new one.
void Ownership::SayIfReleased(const ShardOrder& granted) {
  if (shards_->generation(granted.shard) != granted.generation) return;
  if (shards_->phase(granted.shard) != ShardPhase::kReleased) return;
  SayReleasedAgain(granted.shard, granted.generation);
}

void Ownership::BeginRelease(uint32_t shard, uint64_t generation, CloseReason reason) {
  shards_->BeginRelease(shard, generation);
  ShowGranted(shard);
  releasing_[shard] = {generation, DeadlineAfter(loop_->now_ns(), handler_->ReleaseTimeoutNs())};
  if (!release_timer_.armed() || releasing_[shard].cut_ns < release_timer_.deadline_ns()) {
    loop_->Arm(&release_timer_, releasing_[shard].cut_ns);
  }
  Recheck(shard);
  rpc::HeaderList trailers;
  const Status refusal = Refusal(shard, &trailers);
  resources_.CloseShard(shard, reason, refusal, &trailers);
}

void Ownership::OnReleaseTimer() {
  int64_t next_ns = kNever;
  std::vector<uint32_t> due;
  for (auto& [shard, releasing] : releasing_) {
    if (releasing.cut) continue;
    if (releasing.cut_ns <= loop_->now_ns()) {
      releasing.cut = true;
      due.push_back(shard);
    } else {
      next_ns = std::min(next_ns, releasing.cut_ns);
    }
  }
  if (next_ns != kNever) loop_->Arm(&release_timer_, next_ns);
  for (const uint32_t shard : due) {
    resources_.CutShard(shard, Unavailable("cut off: the resource had to move before the method "
                                           "ended"));
  }
}

void Ownership::CutReleases() {
  for (auto& [shard, releasing] : releasing_) releasing.cut_ns = loop_->now_ns();
  OnReleaseTimer();
}

void Ownership::OnShardClosed(uint32_t shard, bool clean) {
  const auto found = releasing_.find(shard);
  if (found == releasing_.end()) return;
  const uint64_t generation = found->second.generation;
  releasing_.erase(found);
  shards_->Release(shard, generation);
  SayReleased(shard, generation, clean);
}

void Ownership::SayReleased(uint32_t shard, uint64_t generation, bool clean) {
  released_[shard] = {generation, clean};
  handler_->SendToHost(WriteShardReleased(shard, generation, clean));
  CheckEmpty();
}

// It belongs to another, and may have for some time.
void Ownership::Lose(uint32_t shard) {
  releasing_.erase(shard);
  ShowGranted(shard);
  rpc::HeaderList trailers;
  const Status refusal = Refusal(shard, &trailers);
  resources_.LoseShard(shard, refusal, &trailers);
}

void Ownership::LetGoOfAll() {
  resources_.LoseHost();
  if (shards_ == nullptr) return;
  for (uint32_t i = 0; i < shards_->count(); ++i) {
    const uint64_t generation = shards_->generation(i);
    if (shards_->phase(i) == ShardPhase::kGranted) {
      BeginRelease(i, generation, CloseReason::kStopping);
    } else if (shards_->phase(i) == ShardPhase::kNamed) {
      shards_->Release(i, generation);  // nobody will grant it
      Recheck(i);
    }
  }
  CheckEmpty();
}

bool Ownership::Empty() const {
  if (!resources_.empty() || !releasing_.empty()) return false;
  if (shards_ == nullptr || !(attached_ || alone_)) return true;
  for (uint32_t i = 0; i < shards_->count(); ++i) {
    if (shards_->phase(i) == ShardPhase::kGranted) return false;
  }
  return true;
}

void Ownership::CheckEmpty() {
  if (Empty()) handler_->OnNothingOwned();
}

// ---- Requests ----

void Ownership::Admit(ResourceRequest* request) {
  const ShardVerdict verdict =
      shards_->Check(request->shard, request->generation, loop_->clock().NowNs());
  switch (verdict) {
    case ShardVerdict::kRun:
      request->generation = shards_->generation(request->shard);
      if (request->waiting()) room_.AwaitTurn(request);
      return resources_.Admit(request);
    case ShardVerdict::kRefuse: return Refuse(request);
    default: return Wait(request, verdict);
  }
}

void Ownership::Wait(ResourceRequest* request, ShardVerdict verdict) {
  if (!request->waiting()) {
    if (const Status waits = room_.Enter(request); !waits.ok()) {
      return request->RefuseUnrun(waits, nullptr);
    }
  }
  if (verdict == ShardVerdict::kAwaitName) {
    room_.AwaitName(request);
  } else {
    room_.AwaitTurn(request);
  }
  waiting_[request->shard].push_back(*request);
}

// Something has changed for those that wait for the shard. They keep their order.
void Ownership::Recheck(uint32_t shard) {
  const auto found = waiting_.find(shard);
  if (found == waiting_.end()) return;
  WaitingList rest;
  rest.swap(found->second);
  waiting_.erase(found);
  while (!rest.empty()) {
    ResourceRequest& request = rest.front();
    rest.pop_front();
    Admit(&request);
  }
}

// It has left the room.
void Ownership::OnExpired(ResourceRequest* request) {
  if (request->resource == nullptr && request->generation > shards_->generation(request->shard)) {
    return Refuse(request);
  }
  const Status waited = ResourceExhausted(
      request->resource == nullptr
          ? "this instance did not become the owner of the resource in 60 s"
          : "the resource was not open, or not free, for 60 s");
  request->RefuseUnrun(waited, nullptr);
}

void Ownership::Refuse(ResourceRequest* request) {
  rpc::HeaderList trailers;
  const Status refusal = Refusal(request->shard, &trailers);
  room_.Leave(request);
  request->RefuseUnrun(refusal, &trailers);
}

route::Moved Ownership::NextOwner(uint32_t shard) const {
  route::Moved owner;
  owner.shard = {shard, shards_->generation(shard)};
  const auto next = next_.find(shard);
  // Of the generation that is known, the owner that was named next is this instance itself.
  if (next != next_.end() && next->second.generation > owner.shard.generation) {
    owner.shard.generation = next->second.generation;
    owner.owner = next->second.instance;
  }
  return owner;
}

Status Ownership::Refusal(uint32_t shard, rpc::HeaderList* trailers) const {
  const route::Moved now = NextOwner(shard);
  if (!now.owner.empty()) trailers->Add(route::kOwnerTrailer, now.owner);
  trailers->Add(route::kGenerationHeader, policy::FormatShardGeneration(now.shard));
  return Unavailable("this instance does not own the resource's shard " + std::to_string(shard));
}

bool Ownership::MayBegin(const ResourceRequest& request) const {
  return view_->MayBegin(request.shard, request.generation, loop_->clock().NowNs());
}

bool Ownership::MayOffer(uint32_t shard, uint64_t generation) const {
  return view_->MayBegin(shard, generation, loop_->clock().NowNs());
}

bool Ownership::MayReply(const ResourceRequest& request) const {
  return shards_->MayReply(request.shard, request.generation, loop_->clock().NowNs());
}

void Ownership::ShowGranted(uint32_t shard) {
  const bool granted = shards_->phase(shard) == ShardPhase::kGranted;
  view_->SetGranted(shard, granted ? shards_->generation(shard) : 0);
}

// ---- Resources ----

void Ownership::SendStateRequest(const StateRequest& request) {
  if (alone_) {
    StateAnswer nothing_known;
    nothing_known.id = request.id;
    return OnAnswer(std::move(nothing_known));
  }
  if (!synced_) return;  // EndResync() has it sent
  handler_->SendToHost(WriteStateRequest(request));
}

void Ownership::OnResourceOpen(const ResourceOpening& opening) {
  handler_->OnResourceOpen(opening);
}

void Ownership::OnResourceClose(uint64_t resource, CloseReason reason) {
  handler_->OnResourceClose(resource, reason);
}

}  // namespace lever::service
