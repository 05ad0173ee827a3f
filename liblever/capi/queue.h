// A queue: a loop together with its completions and the ids of what goes on over it.
//
// Threads: as each part says. Whoever has a request takes the loop's word if it is free (QueueHold)
// and acts; otherwise he posts the request, and whoever drives carries it out.
//
// Invariants
//  1. A thread's requests are carried out in the order in which it made them: who takes the word
//  runs
//     what was posted before he acts.
//  2. Completions are delivered in the order in which they came about. Those of an id that is over
//     are dropped.
//  3. What was delivered stays as it is until the next Next().
#ifndef LIBLEVER_CAPI_QUEUE_H_
#define LIBLEVER_CAPI_QUEUE_H_

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "lever/lever.h"
#include "liblever/base/clock.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/capi/completion.h"
#include "liblever/capi/lead.h"
#include "liblever/capi/object.h"
#include "liblever/capi/slot.h"
#include "liblever/capi/slot_table.h"
#include "liblever/route/in_process.h"
#include "liblever/route/message_stream.h"

struct lever_queue final : lever::capi::Object {
  static constexpr uint32_t kInFlightMax = 65'536;
  static constexpr uint32_t kMailboxMax = 65'536;
  // Completions that are kept for the next ones.
  static constexpr size_t kPooledCompletionsMax = 1024;

  static lever::StatusOr<std::unique_ptr<lever_queue>> Open(const lever_queue_options& options);
  ~lever_queue();

  // ---- Any thread ----
  lever_status Next(lever_event* events, size_t event_size, size_t capacity, int64_t timeout_ns,
                    size_t* count);
  lever::Status WaitFor(lever_call call, int64_t timeout_ns, lever::capi::CallWaiter* waiter);
  // Gives a completion that a waiter has taken back to the pool.
  void TakeBack(lever::capi::Completion* completion);
  // Whether a request may be made now, as far as the mailbox goes.
  bool HasRoom() const { return posted_.load(std::memory_order_relaxed) < mailbox_max_; }
  // Has `function` called on the loop, holding the word.
  template <typename Function>
  void Post(Function function) {
    posted_.fetch_add(1, std::memory_order_relaxed);
    loop->Post(new Posted<Function>(this, std::move(function)));
  }
  // The payload of an event that was delivered last; null for anything else.
  const lever::capi::Completion* Delivered(const lever_event& event) const;

  // ---- Holding the word ----
  // A new completion, at the end of those that wait. `slot` is null for events of an object.
  lever::capi::Completion* NewEvent(lever_event_type type, lever::capi::Slot* slot);
  void CompleteCall(lever::capi::Slot* slot, lever::route::Outcome outcome);
  void CompleteStream(lever::capi::Slot* slot, lever::route::Outcome outcome);
  // The requests that were made within an incoming one end with it.
  void CancelChildren(lever::capi::Slot* slot);
  // A stream whose queue has grown, and may be empty again after the flush.
  void RecountLater(lever::capi::Slot* slot);
  // Ends what QueueHold began.
  void Leave();

  // Of the services that are in_process; made with the first of them, or of their clients.
  std::shared_ptr<lever::route::InProcess> in_process();

  const std::unique_ptr<lever::HoldableClock> clock;
  const std::unique_ptr<lever::Loop> loop;
  lever::capi::SlotTable slots;
  // Clients and services that are not destroyed.
  std::atomic<uint32_t> objects{0};
  // The service of this process, where a host has started it.
  std::atomic<lever_service*> instance{nullptr};
  std::atomic<bool> woken{false};

  // A gate for a service's requests.
  lever::capi::ServiceGate* NewGate();

 private:
  template <typename Function>
  class Posted final : public lever::MailboxItem {
   public:
    Posted(lever_queue* queue, Function function) : queue_(queue), function_(std::move(function)) {}
    void Run() override {
      queue_->posted_.fetch_sub(1, std::memory_order_relaxed);
      function_();
      delete this;
    }
    void Abandon() override { delete this; }

   private:
    lever_queue* const queue_;
    Function function_;
  };

  lever_queue(std::unique_ptr<lever::HoldableClock> its_clock, std::unique_ptr<lever::Loop> its_loop,
              const lever_queue_options& options);
  // For how long Next() and WaitFor() wait, which is real time also where the queue's stands still.
  // Holding the word.
  int64_t RealNowNs() const;
  lever_status RunUntilEvent(size_t capacity, int64_t timeout_ns);
  size_t Deliver(lever_event* events, size_t event_size, size_t capacity);
  bool Drop(lever::capi::Completion* completion);
  void EndOf(const lever::capi::Completion& completion);
  void RecycleDelivered();
  void Recycle(lever::capi::Completion* completion);
  void RecountNow();
  void HandOver(lever::capi::Completion* completion, lever::capi::CallWaiter* waiter);
  void Attach(lever_call call, lever::capi::CallWaiter* waiter);
  void Drive(lever::capi::CallWaiter* waiter, int64_t timeout_ns);

  const lever::LeaveMode leave_mode_;
  std::atomic<pthread_t> driver_{};  // who called Next() last
  const uint32_t mailbox_max_;
  std::atomic<uint32_t> posted_{0};
  lever::capi::Lead lead_;

  // Holding the word.
  std::shared_ptr<lever::route::InProcess> in_process_;
  lever::capi::CompletionList waiting_;
  size_t waiting_count_ = 0;
  std::vector<std::unique_ptr<lever::capi::Completion>> pool_;
  std::vector<lever::capi::Slot*> recount_;
  std::vector<std::unique_ptr<lever::capi::ServiceGate>> gates_;
  std::mutex gates_mutex_;

  // Of who has the lead by Next(): what was delivered last, and which delivery that was.
  std::vector<lever::capi::Completion*> delivered_;
  uint64_t delivery_ = 0;
};

namespace lever::capi {

// A client's or service's last event is handed out: from here on it may be destroyed.
void MarkClosed(void* object);

// Whether a handle is a queue of ours, and of this process: OK, INVALID_ARGUMENT or FORKED.
lever_status CheckQueue(const lever_queue* queue);

// The word for a scope, if it is free.
class QueueHold {
 public:
  explicit QueueHold(lever_queue* queue) : queue_(queue), held_(queue->loop->TryEnter()) {
    if (held_) queue_->loop->RunPosted();
  }
  QueueHold(const QueueHold&) = delete;
  QueueHold& operator=(const QueueHold&) = delete;
  ~QueueHold() {
    if (held_) queue_->Leave();
  }
  bool held() const { return held_; }

 private:
  lever_queue* const queue_;
  const bool held_;
};

// Calls `function` now if nobody drives, and else has the driver call it. For requests that have no
// answer of their own.
template <typename Function>
void Perform(lever_queue* queue, Function function) {
  const QueueHold hold(queue);
  if (hold.held()) {
    function();
  } else {
    queue->Post(std::move(function));
  }
}

// Calls `function` on the loop and waits until it has been called: for what is asked seldom and has
// to be answered at once. Whoever drives is woken, so that it waits for moments.
void PerformAndWait(lever_queue* queue, const std::function<void()>& function);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_QUEUE_H_
