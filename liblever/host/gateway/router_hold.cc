// The part of Router that holds calls: until an instance is ready, or has room.
#include <utility>
#include <vector>

#include "liblever/host/gateway/router.h"

namespace lever::gateway {

void RoutedCall::SetHeldBytes(size_t bytes) {
  held_bytes_ = bytes;
  if (router_ != nullptr && queue_ != nullptr) router_->CountBytes(this);
}

Status Router::TooLargeTogether(scale::ServiceName name) {
  return ResourceExhausted("the requests that wait for an instance of " + name.ToString() +
                           " are too large together");
}

HeldQueue* Router::FindQueue(scale::ServiceName name) const {
  const auto found = held_by_service_.find(name.ToString());
  return found == held_by_service_.end() ? nullptr : found->second.get();
}

HeldQueue& Router::QueueOf(const scale::ServiceView& view) {
  std::unique_ptr<HeldQueue>& queue = held_by_service_[view.name().ToString()];
  if (queue == nullptr) {
    queue = std::make_unique<HeldQueue>();
    queue->environment = view.environment;
    queue->service = view.service;
  }
  // A service that was removed and is there again counts anew.
  if (queue->count == 0) queue->shared = view.held;
  return *queue;
}

Status Router::RoomToWait(const HeldQueue& queue, const scale::ServiceView& view,
                          const RoutedCall& call) const {
  const scale::HeldCalls& shared = *queue.shared;
  if (shared.calls.load(std::memory_order_relaxed) >= view.queue_max) {
    return ResourceExhausted("too many calls of " + view.name().ToString() +
                             " wait already (maxQueue is " + std::to_string(view.queue_max) + ")");
  }
  if (shared.bytes.load(std::memory_order_relaxed) + call.held_bytes_ > kHeldBytesPerServiceMax) {
    return TooLargeTogether(view.name());
  }
  if (held_ >= kHeldMax) {
    return ResourceExhausted("too many calls wait on this host already: " +
                             std::to_string(kHeldMax) + " on one of its threads");
  }
  return Status::Ok();
}

void Router::Hold(RoutedCall* call, const scale::ListedService& service, HeldFor held_for,
                  const Backend* owner) {
  HeldQueue& queue = QueueOf(*service.view);
  const Status room = RoomToWait(queue, *service.view, *call);
  if (!room.ok() && !call->admitted_) {
    TellSoon();  // which lets go of a queue that is empty
    Refuse(call, room);
    return;
  }
  if (!call->armed()) loop_->Arm(call, std::min(call->deadline_ns_, call->hold_until_ns_));
  if (!std::exchange(call->admitted_, true)) held_total_.fetch_add(1, std::memory_order_relaxed);
  HeldQueue::Calls& calls = held_for == HeldFor::kInstance ? queue.calls
                            : held_for == HeldFor::kOwner  ? queue.ownerless
                                                           : queue.at_owner[owner->instance().key];
  if (std::exchange(call->first_, false)) {
    calls.push_front(*call);
  } else {
    calls.push_back(*call);
  }
  call->queue_ = &queue;
  call->held_for_ = held_for;
  call->in_demand_ = held_for == HeldFor::kInstance ||
                     (held_for == HeldFor::kRoomAtOwner && PickFor(*call, service) == nullptr);
  if (!call->in_demand_) ++queue.without_demand;
  ++queue.count;
  ++held_;
  queue.shared->calls.fetch_add(1, std::memory_order_relaxed);
  CountBytes(call);
  if (held_for == HeldFor::kRoomAtOwner ||
      (held_for == HeldFor::kInstance && service.serving_instances() > 0)) {
    SetForRoom(&queue, true);
  }
  if (call->in_demand_ && queue.demand() == 1 &&
      (queue.told == 0 || queue.told == HeldQueue::kToldUnknown)) {
    queue.told = 1;
    control_->Demand(queue.name(), this, 1);
  } else {
    TellSoon();
  }
}

void Router::CountBytes(RoutedCall* call) {
  scale::HeldCalls& shared = *call->queue_->shared;
  const uint64_t more = call->held_bytes_ - call->counted_bytes_;  // modulo 2^64, as the sum is
  call->counted_bytes_ = call->held_bytes_;
  if (shared.bytes.fetch_add(more, std::memory_order_relaxed) + more <= kHeldBytesPerServiceMax ||
      more == 0) {
    return;
  }
  call->too_large_ = true;
  loop_->Arm(call, loop_->now_ns());
}

void Router::Unhold(RoutedCall* call) {
  if (call->held_hook_.is_linked()) call->held_hook_.unlink();
  HeldQueue* const queue = std::exchange(call->queue_, nullptr);
  if (queue == nullptr) return;
  --held_;
  queue->shared->calls.fetch_sub(1, std::memory_order_relaxed);
  queue->shared->bytes.fetch_sub(std::exchange(call->counted_bytes_, 0), std::memory_order_relaxed);
  if (!call->in_demand_) --queue->without_demand;
  if (--queue->count == 0) SetForRoom(queue, false);
  TellSoon();
}

void Router::SetForRoom(HeldQueue* queue, bool for_room) {
  if (queue->for_room == for_room) return;
  queue->for_room = for_room;
  queues_for_room_ += for_room ? 1 : -1;
  std::atomic<uint32_t>& loops = queue->shared->loops_for_room;
  if (!for_room) {
    loops.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  if (loops.fetch_add(1, std::memory_order_relaxed) > 0) contended_ = true;
  LookForRoomIn(contended_ ? kGiveWayNs : kRoomPollNs);
}

void Router::RouteHeldOfResources(HeldQueue* queue, const scale::ServiceView& view) {
  // In the order in which they came, as far as they are of one resource: while its owner is known
  // nobody of them waits for another one.
  HeldQueue::Calls calls;
  for (auto& [key, waiting] : queue->at_owner) calls.splice(calls.end(), waiting);
  queue->at_owner.clear();
  calls.splice(calls.end(), queue->ownerless);
  if (view.has_resources) {
    // They came before there was an instance.
    for (auto it = queue->calls.begin(); it != queue->calls.end();) {
      RoutedCall& call = *it++;
      if (!call.resource_hash_) continue;
      call.held_hook_.unlink();
      calls.push_back(call);
    }
  }
  while (!calls.empty()) {
    RoutedCall& call = calls.front();
    Unhold(&call);
    TryRoute(&call);
  }
}

void Router::Release(HeldQueue* queue) {
  const scale::ListedService* service = directory_->Find(queue->name());
  if (service == nullptr || service->instances.empty()) return;
  // Not those that come to wait meanwhile.
  uint32_t left = queue->count;
  for (; left > 0 && !queue->calls.empty(); --left) {
    RoutedCall& call = queue->calls.front();
    const std::shared_ptr<Backend> backend = PickFor(call, *service);
    if (backend == nullptr) break;
    Unhold(&call);
    Use(&call, backend);
  }
  for (auto& [key, calls] : queue->at_owner) {
    const auto found = backends_.find(key);
    if (found == backends_.end()) continue;
    const std::shared_ptr<Backend> backend = found->second;
    for (; left > 0 && !calls.empty() && backend->HasRoom(); --left) {
      RoutedCall& call = calls.front();
      Unhold(&call);
      Use(&call, backend);
    }
  }
  std::erase_if(queue->at_owner, [](const auto& entry) { return entry.second.empty(); });
  SetForRoom(queue, (!queue->calls.empty() && service->serving_instances() > 0) ||
                        !queue->at_owner.empty());
}

void Router::OnRoom() {
  if (queues_for_room_ == 0) return;
  LookForRoomIn(contended_ ? random_.Below(kGiveWayNs) : 0);
}

void Router::LookForRoomIn(int64_t in_ns) {
  const int64_t at_ns = loop_->now_ns() + in_ns;
  if (!room_timer_.armed() || at_ns < room_timer_.deadline_ns()) loop_->Arm(&room_timer_, at_ns);
}

void Router::LookForRoom() {
  std::vector<HeldQueue*> queues;  // only Tell() takes queues out of the table
  queues.reserve(queues_for_room_);
  for (const auto& [name, queue] : held_by_service_) {
    if (queue->for_room) queues.push_back(queue.get());
  }
  contended_ = false;
  for (HeldQueue* queue : queues) {
    Release(queue);
    if (queue->for_room && queue->shared->loops_for_room.load(std::memory_order_relaxed) > 1) {
      contended_ = true;
    }
  }
  if (queues_for_room_ == 0) return;
  LookForRoomIn(contended_ ? kGiveWayNs / 2 + random_.Below(kGiveWayNs) : kRoomPollNs);
}

void Router::TellSoon() {
  if (!tell_timer_.armed()) loop_->Arm(&tell_timer_, DeadlineAfter(loop_->now_ns(), kTellNs));
}

void Router::Tell() {
  boost::unordered::erase_if(held_by_service_, [this](const auto& entry) {
    HeldQueue& held = *entry.second;
    if (held.demand() != held.told) {
      held.told = held.demand();
      control_->Demand(held.name(), this, held.told);
    }
    return held.count == 0;
  });
}

void Router::RefuseAll(HeldQueue* queue, const Status& status) {
  queue->told = HeldQueue::kToldUnknown;
  HeldQueue::Calls calls;
  calls.swap(queue->calls);
  calls.splice(calls.end(), queue->ownerless);
  for (auto& [key, waiting] : queue->at_owner) calls.splice(calls.end(), waiting);
  queue->at_owner.clear();
  while (!calls.empty()) Refuse(&calls.front(), status);
}

}  // namespace lever::gateway
