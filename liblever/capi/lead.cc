#include "liblever/capi/lead.h"

#include <algorithm>
#include <chrono>

#include "liblever/base/clock.h"

namespace lever::capi {

bool Lead::TakeForNext(const std::function<void()>& wake) {
  uint32_t nobody = kNobody;
  if (holder_.compare_exchange_strong(nobody, kNext)) return true;
  std::unique_lock lock(mutex_);
  if (next_waits_.load()) return false;
  next_waits_.store(true);
  wanted_.fetch_add(1);
  bool taken = false;
  for (;;) {
    uint32_t seen = kNobody;
    taken = holder_.compare_exchange_strong(seen, kNext);
    if (taken || seen == kNext) break;
    wake();
    next_may_.wait(lock);
  }
  wanted_.fetch_sub(1);
  next_waits_.store(false);
  return taken;
}

void Lead::Release() {
  holder_.store(kNobody);
  // Whoever wants it has said so before he looked at the holder, and we look after we have let go:
  // one of the two sees the other.
  if (wanted_.load() == 0) return;
  const std::lock_guard lock(mutex_);
  if (next_waits_.load()) {
    next_may_.notify_one();
  } else if (!followers_.empty()) {
    followers_.front().changed_.notify_one();
  }
}

bool Lead::IsDone(CallWaiter* waiter) {
  const std::lock_guard lock(mutex_);
  return waiter->done;
}

bool Lead::IsAbandoned(CallWaiter* waiter) {
  const std::lock_guard lock(mutex_);
  return waiter->abandoned;
}

bool Lead::Wait(CallWaiter* waiter, int64_t timeout_ns, const std::function<void(int64_t)>& drive) {
  const Clock& clock = Clock::System();
  const int64_t until_ns = DeadlineAfter(clock.NowNs(), timeout_ns);
  std::unique_lock lock(mutex_);
  followers_.push_back(*waiter);
  wanted_.fetch_add(1);
  while (!waiter->done) {
    const int64_t left_ns = until_ns == kNever ? kNever : until_ns - clock.NowNs();
    if (left_ns <= 0) break;
    uint32_t nobody = kNobody;
    if (!next_waits_.load() && holder_.compare_exchange_strong(nobody, kWaiter)) {
      // While it leads, the lead is not offered to it.
      waiter->unlink();
      lock.unlock();
      drive(left_ns == kNever ? -1 : left_ns);
      Release();
      lock.lock();
      followers_.push_back(*waiter);
    } else if (left_ns == kNever) {
      waiter->changed_.wait(lock);
    } else {
      waiter->changed_.wait_for(lock, std::chrono::nanoseconds(left_ns));
    }
  }
  waiter->unlink();
  wanted_.fetch_sub(1);
  waiter->abandoned = !waiter->done;
  // It may have been offered the lead in the moment in which it had no more use for it.
  if (!followers_.empty() && holder_.load() == kNobody) followers_.front().changed_.notify_one();
  return waiter->done;
}

bool Lead::Finish(CallWaiter* waiter, Completion* completion,
                  const std::function<void()>& hand_over) {
  const std::lock_guard lock(mutex_);
  if (waiter->abandoned || waiter->done) return false;
  hand_over();
  waiter->done = true;
  waiter->completion = completion;
  waiter->changed_.notify_one();
  return true;
}

void Lead::Refuse(CallWaiter* waiter, lever_status why) {
  const std::lock_guard lock(mutex_);
  if (waiter->abandoned || waiter->done) return;
  waiter->done = true;
  waiter->refused = why;
  waiter->changed_.notify_one();
}

}  // namespace lever::capi
