#include "liblever/host/registry/inbox.h"

#include <algorithm>
#include <chrono>

namespace lever::registry {
namespace {

// A condition variable's clock stands still while the machine is suspended, ours does not: so that
// the difference shows soon after it wakes, no wait for a moment is longer than this.
constexpr int64_t kWaitNsMax = kNanosPerSecond;

Status Closed() { return Cancelled("registry: it is closed").WithExecuted(LEVER_EXECUTED_NO); }

}  // namespace

Status Inbox::Admit(size_t bytes, size_t room) {
  if (closing_) return Closed();
  if (pending_ >= room * bounds_.pending_max ||
      pending_bytes_ >= room * bounds_.pending_bytes_max) {
    return ResourceExhausted("registry: " + std::to_string(pending_) + " requests with " +
                             std::to_string(pending_bytes_) + " bytes are under way; try later")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  ++pending_;
  pending_bytes_ += bytes;
  return Status::Ok();
}

void Inbox::Add(StoreJob job) {
  Status status;
  const size_t bytes = std::visit([](const auto& each) { return each.bytes; }, job);
  const size_t room = std::holds_alternative<RevokeJob>(job) ? 2 : 1;
  {
    const std::lock_guard lock(mutex_);
    status = Admit(bytes, room);
    if (status.ok()) work_.jobs.push_back(std::move(job));
  }
  if (status.ok()) {
    changed_.notify_one();
  } else {
    std::visit([&](auto& each) { Post([done = std::move(each.done), status] { done(status); }); },
               job);
  }
}

void Inbox::AddLease(LeaseJob job) {
  Status status;
  {
    const std::lock_guard lock(mutex_);
    status = Admit(0, 2);
    if (status.ok()) {
      std::visit([this](auto& each) { each.received_ns = clock_->NowNs(); }, job);
      work_.leases.push_back(std::move(job));
    }
  }
  if (status.ok()) {
    changed_.notify_one();
  } else {
    std::visit([&](auto& each) { Post([done = std::move(each.done), status] { done(status); }); },
               job);
  }
}

void Inbox::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void Inbox::Close(std::function<void()> closed) {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (!ended_) {
      closed_.push_back(std::move(closed));
      closed = nullptr;
    }
  }
  changed_.notify_one();
  if (closed) Post(std::move(closed));
}

Work Inbox::Take(int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  int64_t now_ns = clock_->NowNs();
  while (work_.leases.empty() && work_.jobs.empty() && !woken_ && !closing_ &&
         now_ns < deadline_ns) {
    if (deadline_ns == kNever) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, std::chrono::nanoseconds(std::min(deadline_ns - now_ns, kWaitNsMax)));
    }
    now_ns = clock_->NowNs();
  }
  woken_ = false;
  Work work = std::exchange(work_, {});
  work.now_ns = now_ns;
  work.closing = closing_;
  return work;
}

bool Inbox::HasRoom(size_t bytes) const {
  const std::lock_guard lock(mutex_);
  return pending_bytes_ + bytes <= bounds_.pending_bytes_max;
}

void Inbox::Count(ptrdiff_t pending, ptrdiff_t bytes) {
  const std::lock_guard lock(mutex_);
  pending_ += static_cast<size_t>(pending);
  pending_bytes_ += static_cast<size_t>(bytes);
}

void Inbox::WriterEnded() {
  std::vector<std::function<void()>> closed;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    closed = std::move(closed_);
  }
  for (std::function<void()>& each : closed) {
    if (each) Post(std::move(each));
  }
}

}  // namespace lever::registry
