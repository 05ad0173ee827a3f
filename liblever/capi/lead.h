// Who drives a queue: the thread inside lever_queue_next(), or one of those inside
// lever_call_wait().
//
// Driving is more than holding the loop's word: the word is taken for moments by whoever has a
// request, the lead is kept by who waits for what comes. Of the threads that wait for calls one
// leads and hands the others their completions; when its own has come it passes the lead on.
// lever_queue_next() goes before them: a leader who is waiting for a call steps aside for it.
//
// Threads: any.
//
// Invariants
//  1. At most one thread has the lead.
//  2. Whoever gives the lead up wakes one of those who want it: a lever_queue_next() first, else a
//     follower that is not done.
//  3. A waiter is done exactly once: with its call's completion, or refused. One that was abandoned
//     takes no completion.
#ifndef LIBLEVER_CAPI_LEAD_H_
#define LIBLEVER_CAPI_LEAD_H_

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "lever/lever.h"
#include "liblever/base/slice.h"
#include "liblever/route/envelope.h"

namespace lever::capi {

struct Completion;

// A thread inside lever_call_wait(). Shared by the thread and the slot that it waits for.
class CallWaiter : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  void Ref() { references_.fetch_add(1); }
  void Unref() {
    if (references_.fetch_sub(1) == 1) delete this;
  }

  // Under the lead's mutex.
  bool done = false;
  bool abandoned = false;
  lever_status refused = LEVER_OK;   // why it will not get a completion
  Completion* completion = nullptr;  // of its call

 private:
  friend class Lead;
  ~CallWaiter() = default;

  std::atomic<uint32_t> references_{1};
  std::condition_variable changed_;
};

class Lead {
 public:
  // For lever_queue_next(). False: another thread is inside it. `wake` makes a leader's turn
  // return.
  bool TakeForNext(const std::function<void()>& wake);
  // Gives the lead up, by whoever has it.
  void Release();

  // For lever_call_wait(): calls `drive` whenever the caller has the lead, until the waiter is done
  // or `timeout_ns` (negative: none) is over; the waiter is abandoned then. `drive` waits for at
  // most as long as it is told, and returns early when WantedByNext(). Returns whether it is done.
  bool Wait(CallWaiter* waiter, int64_t timeout_ns, const std::function<void(int64_t)>& drive);
  bool WantedByNext() const { return next_waits_.load(); }
  bool IsDone(CallWaiter* waiter);
  bool IsAbandoned(CallWaiter* waiter);

  // On the loop: ends the waiting. False: it was abandoned, and nothing was done. `hand_over` is
  // called before the waiter knows, to whom the completion belongs from then on.
  bool Finish(CallWaiter* waiter, Completion* completion, const std::function<void()>& hand_over);
  // The same for one that gets none.
  void Refuse(CallWaiter* waiter, lever_status why);

 private:
  enum : uint32_t { kNobody, kNext, kWaiter };

  std::atomic<uint32_t> holder_{kNobody};
  // How many followers there are, and whether a lever_queue_next() waits: whoever gives the lead up
  // looks here before he takes the mutex.
  std::atomic<uint32_t> wanted_{0};
  std::atomic<bool> next_waits_{false};
  std::mutex mutex_;
  std::condition_variable next_may_;
  boost::intrusive::list<CallWaiter, boost::intrusive::constant_time_size<false>> followers_;
};

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_LEAD_H_
