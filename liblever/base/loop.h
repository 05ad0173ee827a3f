// The event loop: epoll, one timerfd, one eventfd, a mailbox, and no thread of its own.
//
// Whoever calls Turn() runs it. A lever_queue is a Loop together with its completions; a host has one
// Loop for each of its threads. The loop's descriptor can be watched by another loop (libuv, asyncio,
// Go's poller).
//
// Threads. Post(), Enter() and the functions marked «any thread» may be called from anywhere; all
// others only by the thread that holds the drive word (drive_word.h), which it does inside Turn(),
// inside everything that Turn() calls, and between a successful TryEnter() and Leave().
//
// Invariants
//  1. Whenever nobody holds the word, fd() is readable if and only if Turn(0) would do something:
//     a source is ready, a timer is due, the mailbox holds something, or work was left.
//  2. Sources are edge-triggered. A source whose OnReady() returns events that it has not driven to
//     EAGAIN stays on the ready list, and is called again in the next turn without another edge.
//  3. The work of one turn is bounded: at most kEventsPerTurn descriptors, each source doing a bounded
//     piece, and the mailbox as it was when the turn began.
//  4. OnTurnEnd() of everything marked dirty runs before the word is let go: all frames of a turn go
//     out in one write.
//  5. A paused source has no interest registered, so that its input does not make fd() readable.
#ifndef LIBLEVER_BASE_LOOP_H_
#define LIBLEVER_BASE_LOOP_H_

#include <sys/epoll.h>

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/drive_word.h"
#include "liblever/base/mailbox.h"
#include "liblever/base/status.h"

namespace lever {

class Loop;

namespace internal {
using ListHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
}  // namespace internal

// Something with a descriptor. Neither copied nor moved; Unwatch() before the descriptor is closed.
class IoSource : public internal::ListHook {
 public:
  virtual ~IoSource() = default;
  // Does a bounded piece of work for `events` (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR),
  // and returns those of them that are not driven to EAGAIN yet; 0 waits for the next edge.
  // The source may destroy itself in here after Unwatch(); it then returns 0.
  virtual uint32_t OnReady(uint32_t events) = 0;

 private:
  friend class Loop;
  int watched_fd_ = -1;
  uint32_t ready_ = 0;
};

// Calls back once when its time has come. Neither copied nor moved; disarms itself when destroyed.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer();
  virtual void OnTimer() = 0;
  bool armed() const { return loop_ != nullptr; }
  int64_t deadline_ns() const { return deadline_ns_; }

 private:
  friend class Loop;
  Loop* loop_ = nullptr;
  size_t heap_index_ = 0;
  int64_t deadline_ns_ = kNever;
};

// A timer that calls a function.
class FunctionTimer final : public Timer {
 public:
  explicit FunctionTimer(std::function<void()> function) : function_(std::move(function)) {}
  void OnTimer() override { function_(); }

 private:
  std::function<void()> function_;
};

// Something that wants to act once at the end of the turn in which it was marked.
class TurnEnd : public internal::ListHook {
 public:
  virtual ~TurnEnd() = default;
  virtual void OnTurnEnd() = 0;
};

struct LoopOptions {
  const Clock* clock = &Clock::System();
  // How long Turn() polls before it sleeps; ignored with a timeout of 0.
  int64_t spin_ns = 0;
};

class Loop {
 public:
  static constexpr int kEventsPerTurn = 64;

  static StatusOr<std::unique_ptr<Loop>> Open(const LoopOptions& options = {});
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  // Nothing may be watched, armed or posted any more.
  ~Loop();

  // ---- Any thread ----
  int fd() const { return epoll_fd_; }
  const Clock& clock() const { return *clock_; }
  // Runs `item` on the loop: in a coming turn, in the order of posting for each thread. Wakes the
  // loop's thread if it sleeps. Never blocks. The item is run exactly once; who posts it owns it
  // until then.
  void Post(MailboxItem* item);
  void Post(std::function<void()> function);
  // Takes the word if it is free. With it, the caller may use everything below, until Leave().
  bool TryEnter();
  // Runs what was posted meanwhile, ends the turn (OnTurnEnd) and lets the word go, leaving fd()
  // readable if work is left.
  void Leave();
  // Whether the calling thread holds the word of this loop.
  bool Inside() const;

  // One turn: waits up to `timeout_ns` (0 polls, negative waits for ever) unless there is something
  // to do, then does it. Returns whether anything was done, or BUSY if another thread is driving.
  StatusOr<bool> Turn(int64_t timeout_ns);
  // Makes the Turn() that sleeps now, or the next one, return.
  void Wake();

  // ---- Holding the word ----
  int64_t now_ns() const { return now_ns_; }  // read once a turn
  Status Watch(int fd, uint32_t events, IoSource* source);
  Status Rewatch(IoSource* source, uint32_t events);  // 0 pauses it
  void Unwatch(IoSource* source);
  // The source has work that no edge will announce.
  void MarkReady(IoSource* source, uint32_t events);
  void Arm(Timer* timer, int64_t deadline_ns);  // again moves it
  void Disarm(Timer* timer);
  void AtTurnEnd(TurnEnd* item);
  // Runs every OnTurnEnd() that is due now, without waiting for the end of the turn.
  void Flush();

 private:
  using SourceList =
      boost::intrusive::list<IoSource, boost::intrusive::constant_time_size<false>>;
  using TurnEndList =
      boost::intrusive::list<TurnEnd, boost::intrusive::constant_time_size<false>>;

  explicit Loop(const LoopOptions& options);
  Status Init();

  const Clock* clock_;
  int64_t spin_ns_;
  int epoll_fd_ = -1;
  int timer_fd_ = -1;
  int event_fd_ = -1;
  int64_t now_ns_ = 0;
  int64_t timer_fd_deadline_ns_ = kNever;
  bool event_fd_signalled_ = false;
  DriveWord word_;
  Mailbox mailbox_;
  SourceList ready_;
  TurnEndList dirty_;
  std::vector<Timer*> timers_;  // a binary heap by deadline
};

}  // namespace lever

#endif  // LIBLEVER_BASE_LOOP_H_
