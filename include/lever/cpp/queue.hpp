// The queue under clients and services of lever.hpp, for blocking callers.
//
// It has no thread. Whoever waits drives it: one of the waiting threads at a time is inside
// lever_queue_next() and hands the others what has come for them. A thread in Service::run() goes
// before the others, so that calls that come in need no hand-over.
//
// Invariants
//  1. Events are put where they belong, with copies of their payloads, under `mutex_`; user code
//     never runs under it.
//  2. At most one thread is inside lever_queue_next() (`driving_`).
//  3. What is registered by address (PendingCall, StreamState) lives until its last event.
//  4. Of the unary calls that came in, those in `running_` are told apart that their callers have given
//     up: only methods that can ask for it are there.
#ifndef LEVER_CPP_QUEUE_HPP_
#define LEVER_CPP_QUEUE_HPP_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lever/cpp/error.hpp"
#include "lever/cpp/value.hpp"
#include "lever/lever.h"

namespace lever::detail {

// Where the events of an object go; called under the queue's mutex.
class EventTarget {
 public:
  virtual ~EventTarget() = default;
  virtual void OnEvent(const lever_event& event) = 0;
};

class Queue {
 public:
  Queue() {
    lever_queue_options options{};
    options.size = sizeof(options);
    lever_error* error = nullptr;
    const lever_status status = lever_queue_create(&options, &queue_, &error);
    Check(status, error);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue() { lever_queue_destroy(queue_); }

  lever_queue* get() const { return queue_; }
  std::mutex& mutex() { return mutex_; }

  // Incoming streams have no user_data: their events are found by id. Under the mutex.
  void Register(uint64_t id, std::shared_ptr<EventTarget> target) {
    by_id_[id] = std::move(target);
  }

  // A stream that did not begin. Takes the mutex.
  void Forget(uint64_t id) {
    const std::lock_guard lock(mutex_);
    by_id_.erase(id);
  }

  // A unary call whose method may ask whether its caller has given up, while it runs. Take the mutex.
  void BeginRunning(uint64_t id) {
    const std::lock_guard lock(mutex_);
    running_[id] = false;
  }
  void EndRunning(uint64_t id) {
    const std::lock_guard lock(mutex_);
    running_.erase(id);
  }
  bool HasCallerGone(uint64_t id) {
    return Look([this, id] {
      const auto found = running_.find(id);
      return found != running_.end() && found->second;
    });
  }
  // Looks for what has come, unless another thread does; then whether `holds`, which is evaluated under
  // the mutex. Takes it.
  template <typename Predicate>
  bool Look(Predicate holds) {
    std::unique_lock lock(mutex_);
    if (!driving_) DriveOnce(lock, 0);
    return holds();
  }

  // Moves time that stands still (lever_queue_hold_time), and has what became due happen.
  void HoldTime() { Check(lever_queue_hold_time(queue_)); }
  void AdvanceTime(std::chrono::nanoseconds by) {
    Check(lever_queue_advance_time(queue_, by.count()));
  }

  enum class Role { kGuest, kRunner };
  // Drives, or lets another thread drive, until `holds` (evaluated under the mutex, which `lock`
  // holds before and after).
  template <typename Predicate>
  void Await(std::unique_lock<std::mutex>& lock, Predicate holds, Role role = Role::kGuest) {
    while (!holds()) {
      if (driving_ || (role == Role::kGuest && runners_waiting_ > 0)) {
        if (role == Role::kRunner) ++runners_waiting_;
        changed_.wait(lock);
        if (role == Role::kRunner) --runners_waiting_;
        continue;
      }
      DriveOnce(lock, -1);
    }
  }

 private:
  void DriveOnce(std::unique_lock<std::mutex>& lock, int64_t timeout_ns) {
    driving_ = true;
    lock.unlock();
    size_t count = 0;
    const lever_status status =
        lever_queue_next(queue_, events_, sizeof(lever_event), kEventsMax, timeout_ns, &count);
    lock.lock();
    for (size_t i = 0; i < count; ++i) Dispatch(events_[i]);
    driving_ = false;
    changed_.notify_all();
    Check(status);
  }

  void Dispatch(const lever_event& event) {
    const bool of_object =
        event.type == LEVER_EVENT_CLOSED || event.type == LEVER_EVENT_SERVICE_STATE ||
        event.type == LEVER_EVENT_INCOMING_CALL || event.type == LEVER_EVENT_INCOMING_STREAM ||
        event.type == LEVER_EVENT_RESOURCE_OPEN || event.type == LEVER_EVENT_RESOURCE_CLOSE;
    const auto found = of_object ? by_id_.end() : by_id_.find(event.id);
    if (found != by_id_.end()) {
      const std::shared_ptr<EventTarget> target = found->second;
      if (event.type == LEVER_EVENT_STREAM_END) by_id_.erase(found);
      target->OnEvent(event);
      return;
    }
    if (event.type == LEVER_EVENT_INCOMING_CANCELLED) {
      const auto running = running_.find(event.id);
      if (running != running_.end()) running->second = true;
      return;
    }
    void* target = event.user_data;
    if (event.type == LEVER_EVENT_INCOMING_CALL || event.type == LEVER_EVENT_INCOMING_STREAM) {
      target = event.method;
    }
    if (target != nullptr) static_cast<EventTarget*>(target)->OnEvent(event);
  }

  static constexpr size_t kEventsMax = 64;

  lever_queue* queue_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool driving_ = false;
  int runners_waiting_ = 0;
  lever_event events_[kEventsMax];  // of whoever drives
  std::unordered_map<uint64_t, std::shared_ptr<EventTarget>> by_id_;
  std::unordered_map<uint64_t, bool> running_;  // whether its caller has given up
};

// The incoming call in which this thread runs a method: calls made on the same queue are its
// children.
struct CurrentCall {
  const Queue* queue = nullptr;
  uint64_t id = 0;
};
inline thread_local CurrentCall current_call;

class CurrentCallScope {
 public:
  CurrentCallScope(const Queue* queue, uint64_t id)
      : before_(std::exchange(current_call, {queue, id})) {}
  CurrentCallScope(const CurrentCallScope&) = delete;
  CurrentCallScope& operator=(const CurrentCallScope&) = delete;
  ~CurrentCallScope() { current_call = before_; }

 private:
  CurrentCall before_;
};

}  // namespace lever::detail

#endif  // LEVER_CPP_QUEUE_HPP_
