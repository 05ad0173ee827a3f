#include "liblever/host/registry/watches.h"

#include <utility>

#include "liblever/host/registry/inbox.h"
#include "liblever/host/registry/validate.h"

namespace lever::registry {
namespace {

// A batch is complete when it reaches either, with the whole of its last revision.
constexpr size_t kBatchEvents = 256;
constexpr size_t kBatchBytes = size_t{256} << 10;

}  // namespace

WatchId Watches::Add(WatchRequest request, WatchCallback callback) {
  auto watch = std::make_shared<Watch>();
  watch->callback = std::move(callback);
  watch->through = request.from - 1;
  Status refusal = ValidateWatch(request);
  watch->prefix = std::move(request.prefix);
  WatchId id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = ++last_id_;
    if (refusal.ok() && !final_.ok()) refusal = final_;
    if (refusal.ok() && watches_.size() >= watches_max_) {
      refusal =
          ResourceExhausted("registry: there are " + std::to_string(watches_max_) + " watches");
    }
    if (refusal.ok()) watches_.emplace(id, watch);
  }
  if (refusal.ok()) {
    inbox_->Wake();
  } else {
    PostEnd(std::move(watch), std::move(refusal));
  }
  return id;
}

void Watches::Cancel(WatchId id) {
  std::shared_ptr<Watch> watch;
  {
    const std::lock_guard lock(mutex_);
    const auto found = watches_.find(id);
    if (found == watches_.end()) return;
    watch = std::move(found->second);
    watches_.erase(found);
  }
  watch->ended = true;
  // Only to be destroyed there.
  inbox_->Post([watch = std::move(watch)] {});
}

void Watches::Start(Revision revision) {
  const std::lock_guard lock(mutex_);
  // Ids rise: the new ones are at the end.
  for (auto at = watches_.rbegin(); at != watches_.rend() && !at->second->started; ++at) {
    at->second->started = true;
    if (at->second->through < 0) at->second->through = revision;
  }
}

void Watches::Deliver(const History& history, Revision revision) {
  const std::lock_guard lock(mutex_);
  for (auto at = watches_.begin(); at != watches_.end();) {
    const Status status = DeliverTo(at->second, history, revision);
    if (status.ok()) {
      ++at;
    } else {
      PostEnd(std::move(at->second), status);
      at = watches_.erase(at);
    }
  }
}

Status Watches::DeliverTo(const std::shared_ptr<Watch>& watch, const History& history,
                          Revision revision) {
  if (!watch->started) return Status::Ok();
  if (watch->through < history.compacted()) {
    return OutOfRange("registry: revision " + std::to_string(watch->through + 1) +
                      " is compacted; read the range again");
  }
  if (watch->under_way) {
    watch->behind = watch->through < revision;
    return Status::Ok();
  }
  if (watch->through >= revision) return Status::Ok();
  History::Slice slice = history.Read(watch->through, watch->prefix, kBatchEvents, kBatchBytes);
  if (slice.events.empty()) {
    watch->through = revision;
    return Status::Ok();
  }
  watch->through = slice.through;
  watch->behind = slice.through < revision;
  watch->under_way = true;
  PostBatch(watch, {slice.through, std::move(slice.events)});
  return Status::Ok();
}

void Watches::PostBatch(std::shared_ptr<Watch> watch, WatchBatch batch) {
  inbox_->Post(
      [self = shared_from_this(), watch = std::move(watch), batch = std::move(batch)]() mutable {
        if (watch->ended) return;
        watch->callback(std::move(batch));
        self->Delivered(watch.get());
      });
}

void Watches::PostEnd(std::shared_ptr<Watch> watch, Status status) {
  inbox_->Post([watch = std::move(watch), status = std::move(status)] {
    if (!watch->ended.exchange(true)) watch->callback(status);
  });
}

void Watches::Delivered(Watch* watch) {
  bool behind = false;
  {
    const std::lock_guard lock(mutex_);
    watch->under_way = false;
    behind = std::exchange(watch->behind, false);
  }
  if (behind) inbox_->Wake();
}

void Watches::EndAll(const Status& why, Status final) {
  const std::lock_guard lock(mutex_);
  final_ = std::move(final);
  for (auto& [id, watch] : watches_) PostEnd(std::move(watch), why);
  watches_.clear();
}

}  // namespace lever::registry
