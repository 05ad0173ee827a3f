#include "liblever/service/waiting_room.h"

#include <algorithm>
#include <string>
#include <utility>

#include "liblever/policy/owned_shards.h"

namespace lever::service {

Status WaitingRoom::Enter(ResourceRequest* request) {
  const auto found = counts_.find(request->shard);
  const Count now = found == counts_.end() ? Count() : found->second;
  const size_t bytes = request->waiting_bytes;
  // One that is larger than a shard's bound waits where nothing else does.
  const bool fits = now.requests == 0 || now.bytes + bytes <= kWaitingBytesPerShardMax;
  if (now.requests >= kWaitingPerShardMax || !fits || bytes_ + bytes > kWaitingBytesMax) {
    return ResourceExhausted("too many calls wait for the resources of shard " +
                             std::to_string(request->shard) + " here");
  }
  Count& count = counts_[request->shard];
  ++count.requests;
  count.bytes += bytes;
  bytes_ += bytes;
  request->counted_ = true;
  request->for_name_ = false;
  ExpireIn(request, &for_turn_, kWaitingMaxNs);
  return Status::Ok();
}

void WaitingRoom::AwaitName(ResourceRequest* request) {
  if (std::exchange(request->for_name_, true)) return;
  ExpireIn(request, &for_name_, policy::kAwaitNameNs);
}

void WaitingRoom::AwaitTurn(ResourceRequest* request) {
  if (!std::exchange(request->for_name_, false)) return;
  ExpireIn(request, &for_turn_, kWaitingMaxNs);
}

void WaitingRoom::ExpireIn(ResourceRequest* request, ExpiryList* list, int64_t in_ns) {
  if (request->Expiry::is_linked()) request->Expiry::unlink();
  request->expires_ns_ = DeadlineAfter(loop_->now_ns(), in_ns);
  list->push_back(*request);
  if (!timer_.armed() || request->expires_ns_ < timer_.deadline_ns()) {
    loop_->Arm(&timer_, request->expires_ns_);
  }
}

void WaitingRoom::Leave(ResourceRequest* request) {
  if (request->Expiry::is_linked()) request->Expiry::unlink();
  if (request->Waiting::is_linked()) request->Waiting::unlink();
  if (!request->counted_) return;
  request->counted_ = false;
  const auto found = counts_.find(request->shard);
  bytes_ -= request->waiting_bytes;
  found->second.bytes -= request->waiting_bytes;
  if (--found->second.requests == 0) counts_.erase(found);
}

void WaitingRoom::Sweep() {
  const int64_t now_ns = loop_->now_ns();
  for (ExpiryList* list : {&for_name_, &for_turn_}) {
    while (!list->empty() && list->front().expires_ns_ <= now_ns) {
      ResourceRequest& request = list->front();
      Leave(&request);
      expired_(&request);
    }
  }
  int64_t next_ns = kNever;
  for (const ExpiryList* list : {&for_name_, &for_turn_}) {
    if (!list->empty()) next_ns = std::min(next_ns, list->front().expires_ns_);
  }
  if (next_ns != kNever) loop_->Arm(&timer_, next_ns);
}

}  // namespace lever::service
