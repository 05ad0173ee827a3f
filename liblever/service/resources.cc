#include "liblever/service/resources.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/rpc/headers.h"

namespace lever::service {

using Timed = ResourceHook<TimedTag>;
using OfShardHook = ResourceHook<OfShardTag>;
using Phase = Resource::Phase;

Resources::Resources(Loop* loop, ResourceOptions options, WaitingRoom* room,
                     ResourcesHandler* handler)
    : loop_(loop),
      concurrency_max_(options.concurrency_max),
      idle_ns_(options.idle_timeout_ns > 0 ? options.idle_timeout_ns : kResourceIdleNs),
      room_(room),
      handler_(handler) {}

Resources::~Resources() { loop_->Disarm(&timer_); }

Resource* Resources::Find(uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

// ---- Requests ----

void Resources::Admit(ResourceRequest* request) {
  const auto found = by_name_.find(request->resource_name);
  Resource* resource = found == by_name_.end() ? nullptr : found->second;
  if (resource == nullptr && by_id_.size() >= kOpenResourcesMax) {
    room_->Leave(request);
    return request->RefuseUnrun(ResourceExhausted("too many resources are open in this instance"),
                                nullptr);
  }
  const bool at_once = resource != nullptr && resource->phase == Phase::kOpen &&
                       resource->pending.empty() && HasRoom(*resource, *request);
  if (!at_once && !request->waiting()) {
    if (const Status waits = room_->Enter(request); !waits.ok()) {
      return request->RefuseUnrun(waits, nullptr);
    }
  }
  const bool made = resource == nullptr;
  if (made) resource = Create(*request);
  request->generation = resource->generation;
  request->resource = resource;
  // No longer idle.
  if (resource->Timed::is_linked() && resource->phase == Phase::kOpen) resource->Timed::unlink();
  if (request->ResourceRequest::Waiting::is_linked()) request->ResourceRequest::Waiting::unlink();
  resource->pending.push_back(*request);
  // From here on it may be gone.
  if (made) return Ask(resource, Phase::kAsking);
  if (resource->phase == Phase::kOpen) TakeTurns(resource->id);
}

bool Resources::HasRoom(const Resource& resource, const ResourceRequest& request) const {
  return concurrency_max_ == 0 || request.streaming() || resource.calls < concurrency_max_;
}

// The program may end what it is offered at once, and the resource with it. Whose turn comes by that
// is left to the loop here: a thousand of them are no thousand calls deep.
void Resources::TakeTurns(uint64_t id) {
  Resource* resource = Find(id);
  if (resource == nullptr || std::exchange(resource->taking_turns, true)) return;
  while (resource != nullptr && resource->phase == Phase::kOpen && !resource->leaving &&
         !resource->pending.empty()) {
    ResourceRequest& request = resource->pending.front();
    if (!HasRoom(*resource, request)) break;
    if (!handler_->MayOffer(resource->shard, resource->generation)) break;
    room_->Leave(&request);  // out of the list, too
    resource->running.push_back(request);
    request.offered = true;
    ++resource->in_flight;
    if (!request.streaming()) ++resource->calls;
    request.Offer();
    resource = Find(id);
  }
  if (resource != nullptr) resource->taking_turns = false;
}

void Resources::ContinueAll() {
  std::vector<uint64_t> ids;
  for (const auto& [id, resource] : by_id_) {
    if (!resource->pending.empty()) ids.push_back(id);
  }
  for (const uint64_t id : ids) TakeTurns(id);
}

void Resources::Ended(ResourceRequest* request) {
  Resource* resource = std::exchange(request->resource, nullptr);
  room_->Leave(request);
  if (resource == nullptr) return;
  if (std::exchange(request->offered, false)) {
    // It may live on, to send what it has left.
    if (request->ResourceRequest::Waiting::is_linked()) request->ResourceRequest::Waiting::unlink();
    --resource->in_flight;
    if (!request->streaming()) --resource->calls;
  }
  if (resource->leaving) return StepLeaving(resource);
  if (resource->phase != Phase::kOpen) return;
  if (!resource->idle()) return TakeTurns(resource->id);
  if (resource->Timed::is_linked()) resource->Timed::unlink();
  BecomeIdle(resource);
}

void Resources::BecomeIdle(Resource* resource) {
  resource->since_ns = loop_->now_ns();
  idle_.push_back(*resource);
  ArmSweep();
}

void Resources::FailPending(Resource* resource, const Status& status,
                            const rpc::HeaderList* trailers) {
  while (!resource->pending.empty()) {
    ResourceRequest& request = resource->pending.front();
    room_->Leave(&request);
    request.resource = nullptr;
    request.RefuseUnrun(status, trailers);
  }
}

// ---- Opening ----

Resource* Resources::Create(const ResourceRequest& request) {
  auto owned = std::make_unique<Resource>();
  Resource* resource = owned.get();
  resource->id = next_id_++;
  resource->name = request.resource_name;
  resource->shard = request.shard;
  resource->generation = request.generation;
  by_name_.emplace(resource->name, resource);
  by_shard_[resource->shard].resources.push_back(*resource);
  by_id_.emplace(resource->id, std::move(owned));
  return resource;
}

// The phase says what it asks; see SendRequest().
void Resources::Ask(Resource* resource, Phase phase) {
  if (resource->phase != phase) resource->asked_ns = loop_->now_ns();
  resource->phase = phase;
  resource->state_request = next_request_++;
  requests_.emplace(resource->state_request, resource->id);
  SendRequest(resource);
}

void Resources::SendRequest(Resource* resource) {
  StateRequest request;
  request.id = resource->state_request;
  request.shard = resource->shard;
  request.generation = resource->generation;
  request.resource = resource->name;
  switch (resource->phase) {
    case Phase::kAsking: request.kind = StateRequest::Kind::kOpen; break;
    case Phase::kForgetting: request.kind = StateRequest::Kind::kOpened; break;
    default: {
      const bool lost = resource->carried_kind == route::Kind::kNone;
      request.kind = lost ? StateRequest::Kind::kLose : StateRequest::Kind::kCarry;
      if (lost) break;
      request.payload_kind = resource->carried_kind;
      request.payload = &resource->carried;
    }
  }
  handler_->SendStateRequest(request);
}

void Resources::Resend() {
  for (const auto& [id, resource] : by_id_) {
    if (resource->state_request != 0) SendRequest(resource.get());
  }
}

void Resources::OnAnswer(StateAnswer answer) {
  const auto found = requests_.find(answer.id);
  if (found == requests_.end()) return;
  Resource* resource = Find(found->second);
  requests_.erase(found);
  if (resource == nullptr) return;
  resource->state_request = 0;
  switch (resource->phase) {
    case Phase::kAsking: {
      if (!answer.status.ok()) {
        FailPending(resource, answer.status, nullptr);
        return Finish(resource);
      }
      resource->phase = Phase::kOpening;
      // What the host does not know yet: see OfShard::unclean.
      if (answer.origin == Origin::kNew && IsUnclean(*resource)) answer.origin = Origin::kLost;
      resource->origin = answer.origin;
      ResourceOpening opening;
      opening.id = resource->id;
      opening.name = resource->name;
      opening.generation = resource->generation;
      opening.origin = answer.origin;
      opening.kind = answer.kind;
      if (answer.kind != route::Kind::kNone) opening.state.push_back(Slice::Copy(answer.payload));
      return handler_->OnResourceOpen(opening);
    }
    case Phase::kForgetting:
      return answer.status.ok() ? BecomeOpen(resource) : OnRefused(resource, answer.status);
    case Phase::kStoring:
      return answer.status.ok() ? Finish(resource) : OnRefused(resource, answer.status);
    default: return;
  }
}

void Resources::OnRefused(Resource* resource, const Status& status) {
  const bool again = status.code() == LEVER_UNAVAILABLE && !host_gone_ &&
                     loop_->now_ns() - resource->asked_ns < kAskMostNs;
  if (!again) return GiveUpAsking(resource, status);
  resource->since_ns = loop_->now_ns();
  refused_.push_back(*resource);
  ArmSweep();
}

void Resources::GiveUpAsking(Resource* resource, const Status& status) {
  const bool of_shard = resource->OfShardHook::is_linked();
  if (of_shard) by_shard_[resource->shard].unclean = true;
  if (resource->phase == Phase::kStoring) {
    Log(LogLevel::kWarning, "what a resource carries could not be stored: " + status.ToString());
    return Finish(resource);
  }
  // It may have been handed out: it is closed as if it had been lost, and not run. Nothing is carried
  // by that, so that it does not wait for one of the kClosingMax, and nobody can be offered to it.
  FailPending(resource, status, nullptr);
  CloseNow(resource, CloseReason::kLost);
}

void Resources::Opened(uint64_t id, const Status& status) {
  Resource* resource = Find(id);
  if (resource == nullptr || resource->phase != Phase::kOpening) return;
  if (!status.ok()) {
    FailPending(resource, status, nullptr);
    return Finish(resource);
  }
  // Also where it leaves already: what it was opened with is not to be opened by the next as well.
  const bool lost = resource->leaving == CloseReason::kLost;
  if (resource->origin == Origin::kNew || lost || host_gone_) return BecomeOpen(resource);
  Ask(resource, Phase::kForgetting);
}

void Resources::BecomeOpen(Resource* resource) {
  resource->phase = Phase::kOpen;
  if (resource->leaving) return StepLeaving(resource);
  const uint64_t id = resource->id;
  TakeTurns(id);
  resource = Find(id);
  // Whoever wanted it may have gone meanwhile.
  if (resource == nullptr || resource->phase != Phase::kOpen || !resource->idle() ||
      resource->Timed::is_linked()) {
    return;
  }
  BecomeIdle(resource);
}

// ---- Closing ----

void Resources::WantClose(Resource* resource, CloseReason reason) {
  resource->closing = reason;
  if (resource->Timed::is_linked()) resource->Timed::unlink();
  to_close_.push_back(*resource);
  StartClosings();
}

// A program that closes one from inside makes room for the next, which is left to the loop here.
void Resources::StartClosings() {
  if (std::exchange(starting_, true)) return;
  while (closing_count_ < kClosingMax && !to_close_.empty()) {
    Resource& resource = to_close_.front();
    to_close_.pop_front();
    CloseNow(&resource, resource.closing);
  }
  starting_ = false;
}

void Resources::CloseNow(Resource* resource, CloseReason reason) {
  ++closing_count_;
  resource->phase = Phase::kClosing;
  resource->closing = reason;
  resource->since_ns = loop_->now_ns();
  closing_.push_back(*resource);
  ArmSweep();
  handler_->OnResourceClose(resource->id, reason);
}

void Resources::Closed(uint64_t id, const Status& status, route::Kind kind,
                       const SliceList* state) {
  Resource* resource = Find(id);
  if (resource == nullptr || resource->phase != Phase::kClosing) return;
  resource->Timed::unlink();
  const bool carries = Carries(resource->closing) && !host_gone_;
  if (!carries) {
    if (state != nullptr && resource->closing == CloseReason::kIdle &&
        !std::exchange(dropped_logged_, true)) {
      Log(LogLevel::kInfo, "what close() returns for an idle resource is dropped");
    }
    Finish(resource);
  } else if (!status.ok()) {
    Log(LogLevel::kWarning, "a resource was not closed well, and is lost: " + status.ToString());
    Store(resource, route::Kind::kNone, nullptr);
  } else if (state == nullptr) {
    Finish(resource);
  } else if (TotalSize(*state) > kCarriedBytesMax) {
    Log(LogLevel::kWarning, "what a resource carries is larger than " +
                                std::to_string(kCarriedBytesMax) + " bytes, and is lost");
    Store(resource, route::Kind::kNone, nullptr);
  } else {
    Store(resource, kind, state);
  }
}

// `kind` kNone: that it is lost.
void Resources::Store(Resource* resource, route::Kind kind, const SliceList* state) {
  resource->carried_kind = kind;
  if (state != nullptr) resource->carried = *state;
  Ask(resource, Phase::kStoring);
}

// Nothing of it is left here.
void Resources::Finish(Resource* resource) {
  const bool closed = resource->phase == Phase::kClosing || resource->phase == Phase::kStoring;
  if (closed) --closing_count_;
  if (resource->state_request != 0) requests_.erase(resource->state_request);
  Forget(resource);
  const bool of_shard = resource->OfShardHook::is_linked();
  const auto found = by_id_.find(resource->id);
  const std::unique_ptr<Resource> owned = std::move(found->second);
  by_id_.erase(found);
  if (of_shard) resource->OfShardHook::unlink();
  if (resource->Timed::is_linked()) resource->Timed::unlink();
  // Who came while it was being closed has it opened again.
  if (!resource->pending.empty()) {
    Resource* again = Create(resource->pending.front());
    again->pending.swap(resource->pending);
    for (ResourceRequest& request : again->pending) request.resource = again;
    Ask(again, Phase::kAsking);
  } else if (of_shard) {
    CheckShard(resource->shard);
  }
  if (closed) StartClosings();
  if (by_id_.empty()) handler_->OnNoResources();
}

// Its shard does not wait for it any more.
void Resources::Detach(Resource* resource) {
  Forget(resource);
  resource->leaving = CloseReason::kLost;
  if (!resource->OfShardHook::is_linked()) return;
  resource->OfShardHook::unlink();
  CheckShard(resource->shard);
}

void Resources::CheckShard(uint32_t shard) {
  const auto of = by_shard_.find(shard);
  if (!of->second.resources.empty()) return;
  const bool closing = of->second.closing;
  const bool clean = !of->second.unclean;
  if (closing || clean) by_shard_.erase(of);
  if (closing) handler_->OnShardClosed(shard, clean);
}

bool Resources::IsUnclean(const Resource& resource) const {
  return resource.OfShardHook::is_linked() && by_shard_.at(resource.shard).unclean;
}

// It takes no requests any more.
void Resources::Forget(Resource* resource) {
  const auto named = by_name_.find(resource->name);
  if (named != by_name_.end() && named->second == resource) by_name_.erase(named);
}

void Resources::LoseHost() {
  host_gone_ = true;
  std::vector<uint64_t> ids;
  for (const auto& [id, resource] : by_id_) {
    if (resource->state_request != 0) ids.push_back(id);
  }
  for (const uint64_t id : ids) {
    Resource* resource = Find(id);
    if (resource == nullptr || resource->state_request == 0) continue;
    StateAnswer nobody;
    nobody.id = resource->state_request;
    nobody.status = Unavailable("this instance has no host any more");
    OnAnswer(std::move(nobody));
  }
  while (!refused_.empty()) {
    Resource& resource = refused_.front();
    refused_.pop_front();
    GiveUpAsking(&resource, Unavailable("this instance has no host any more"));
  }
}

// ---- Shards ----

std::vector<uint64_t> Resources::IdsOf(uint32_t shard) const {
  std::vector<uint64_t> ids;
  const auto of = by_shard_.find(shard);
  if (of == by_shard_.end()) return ids;
  for (const Resource& resource : of->second.resources) ids.push_back(resource.id);
  return ids;
}

void Resources::CloseShard(uint32_t shard, CloseReason reason, const Status& refusal,
                           const rpc::HeaderList* trailers) {
  const std::vector<uint64_t> ids = IdsOf(shard);
  by_shard_[shard].closing = true;
  if (ids.empty()) return CheckShard(shard);
  // Where nothing is carried, it is not known to the host what is lost by that.
  if (!Carries(reason)) by_shard_[shard].unclean = true;
  for (const uint64_t id : ids) {
    Resource* resource = Find(id);
    if (resource == nullptr || resource->leaving) continue;
    resource->leaving = reason;
    Forget(resource);
    FailPending(resource, refusal, trailers);
    // What one of them does when it is told may end others; each is told once. The resource stays as
    // long as one of them is in flight.
    WaitingList rest;
    rest.swap(resource->running);
    while (!rest.empty()) {
      ResourceRequest& request = rest.front();
      rest.pop_front();
      resource->running.push_back(request);
      request.MoveAway(refusal, trailers);
    }
    resource = Find(id);
    if (resource != nullptr) StepLeaving(resource);
  }
}

void Resources::StepLeaving(Resource* resource) {
  if (resource->phase == Phase::kAsking) return Finish(resource);
  if (resource->phase != Phase::kOpen || resource->in_flight > 0) return;
  if (!resource->Timed::is_linked() || resource->closing != *resource->leaving) {
    WantClose(resource, *resource->leaving);
  }
}

// Its running requests are its no longer: they end as their program ends them.
void Resources::CutRunning(Resource* resource, const Status& status) {
  while (!resource->running.empty()) {
    ResourceRequest& request = resource->running.front();
    resource->running.pop_front();
    request.resource = nullptr;
    request.offered = false;
    request.CutOff(status);
  }
  resource->in_flight = resource->calls = 0;
}

void Resources::CutShard(uint32_t shard, const Status& status) {
  for (const uint64_t id : IdsOf(shard)) {
    Resource* resource = Find(id);
    if (resource == nullptr || !resource->leaving) continue;
    CutRunning(resource, status);
    // A program that has not opened it by now has run nothing of it; it is closed when it has.
    if (resource->phase == Phase::kOpening) {
      Detach(resource);
    } else {
      StepLeaving(resource);
    }
  }
}

void Resources::LoseShard(uint32_t shard, const Status& refusal, const rpc::HeaderList* trailers) {
  for (const uint64_t id : IdsOf(shard)) {
    Resource* resource = Find(id);
    if (resource == nullptr) continue;
    FailPending(resource, refusal, trailers);
    CutRunning(resource, Unavailable("the resource is another instance's now"));
    Detach(resource);
    switch (resource->phase) {
      case Phase::kAsking:
      case Phase::kStoring: Finish(resource); break;
      case Phase::kOpening: break;  // it is closed when the program has opened it
      case Phase::kForgetting:
        requests_.erase(std::exchange(resource->state_request, 0));
        if (resource->Timed::is_linked()) resource->Timed::unlink();
        resource->phase = Phase::kOpen;
        [[fallthrough]];
      case Phase::kOpen: StepLeaving(resource); break;
      case Phase::kClosing: resource->closing = CloseReason::kLost; break;
    }
  }
  // The host has not heard that it is clean, and knows that it may not be.
  const auto of = by_shard_.find(shard);
  if (of != by_shard_.end() && of->second.resources.empty()) by_shard_.erase(of);
}

// ---- Time ----

void Resources::Sweep() {
  const int64_t now_ns = loop_->now_ns();
  while (!idle_.empty() && DeadlineAfter(idle_.front().since_ns, idle_ns_) <= now_ns) {
    WantClose(&idle_.front(), CloseReason::kIdle);
  }
  while (!closing_.empty() &&
         DeadlineAfter(closing_.front().since_ns, kCloseTimeoutNs) <= now_ns) {
    Closed(closing_.front().id, DeadlineExceeded("its program did not close it in time"),
           route::Kind::kNone, nullptr);
  }
  while (!refused_.empty() && DeadlineAfter(refused_.front().since_ns, kAskAgainNs) <= now_ns) {
    Resource& resource = refused_.front();
    refused_.pop_front();
    Ask(&resource, resource.phase);
  }
  ArmSweep();
}

void Resources::ArmSweep() {
  int64_t next_ns = kNever;
  if (!refused_.empty()) next_ns = DeadlineAfter(refused_.front().since_ns, kAskAgainNs);
  if (!idle_.empty()) {
    next_ns = std::min(next_ns, DeadlineAfter(idle_.front().since_ns, idle_ns_));
  }
  if (!closing_.empty()) {
    next_ns = std::min(next_ns, DeadlineAfter(closing_.front().since_ns, kCloseTimeoutNs));
  }
  if (next_ns != kNever) loop_->Arm(&timer_, next_ns);
}

}  // namespace lever::service
