// The event loop: epoll, one timerfd, one eventfd, a mailbox, and no thread of its own.
//
// Whoever calls Turn() runs it. A lever_queue is a Loop together with its completions; a host has
// one Loop for each of its threads. The loop's descriptor can be watched by another loop (libuv,
// asyncio, Go's poller).
//
// Threads. The functions marked «any thread» may be called from anywhere; all others only by the
// thread that holds the drive word (drive_word.h), which it does inside Turn(), inside everything
// that Turn() and Post() call, and between a successful TryEnter() and Leave(). While no other
// thread knows the loop (setting up, tearing down) they may be called without it; what is armed or
// marked then counts from the next turn on.
//
// Invariants
//  1. Whenever nobody holds the word, fd() is readable if and only if Turn(0) would do something:
//     a source is ready, a timer is due, the mailbox holds something, or work was left. (A timer
//     that was disarmed or moved back may make it readable once, at its old time: the timerfd is
//     set earlier when it must be, and later only when it has fired.)
//  2. Sources are edge-triggered. A source whose OnReady() returns events that it has not driven to
//     EAGAIN stays on the ready list, and is called again in the next turn without another edge.
//  3. The work of one turn is bounded: at most events_per_turn sources, in the order in which they
//     became ready, each doing a bounded piece; the timers that were due; and the mailbox, at most
//     kMailRoundsPerTurn times as it was at that moment.
//  4. OnTurnEnd() of everything marked dirty runs before the word is let go: all frames of a turn
//     go out in one write. (Leave(LeaveMode::kDeferFlush) leaves them, which is work left.)
//  5. A paused source has no interest registered, so that its input does not make fd() readable.
//  6. Whoever lets go with work left has made fd() readable first, and with a new edge if a Turn()
//     elsewhere was told BUSY meanwhile.
//  7. In a forked child nothing touches the descriptors, which the parent shares: Turn() returns
//     FORKED, TryEnter() fails, what is posted is never run, and destroying only closes and frees.
#ifndef LIBLEVER_BASE_LOOP_H_
#define LIBLEVER_BASE_LOOP_H_

#include <sys/epoll.h>

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "liblever/base/block_pool.h"
#include "liblever/base/clock.h"
#include "liblever/base/drive_word.h"
#include "liblever/base/fd.h"
#include "liblever/base/fork.h"
#include "liblever/base/mailbox.h"
#include "liblever/base/slab.h"
#include "liblever/base/status.h"
#include "liblever/base/timer_heap.h"

namespace lever {

class Loop;

namespace internal {
using ListHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
}  // namespace internal

// Something with a descriptor. Neither copied nor moved; Unwatch() before the descriptor is closed.
class IoSource : public internal::ListHook {
 public:
  virtual ~IoSource();
  // Does a bounded piece of work for `events` (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR),
  // and returns those of them that are not driven to EAGAIN yet; 0 waits for the next edge.
  // The source may destroy itself in here after Unwatch(); it then returns 0.
  virtual uint32_t OnReady(uint32_t events) = 0;

 private:
  friend class Loop;
  int watched_fd_ = -1;    // -1: not watched
  uint64_t watch_id_ = 0;  // its entry in Loop::sources_
  uint32_t interest_ = 0;  // what epoll watches it for; 0: paused, not in the epoll set
  uint32_t ready_ = 0;     // not zero while it is on the ready list
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
  friend class TimerHeap;
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
  // A clock may stand still and be moved by hand (Clock::AheadNs): each turn reads it and runs the
  // timers that are due, but moving it wakes nobody. Whoever moves it calls Turn(0), or Wake() for
  // a Turn() that sleeps on another thread. The timeout of Turn() is always real time.
  const Clock* clock = &Clock::System();
  // How long Turn() polls before it sleeps; ignored with a timeout of 0.
  int64_t spin_ns = 0;
  // 1 to Loop::kEventsPerTurn.
  int events_per_turn = 64;
  // Whether Post() takes a word that is free and runs the item on the poster's thread, at once. A
  // host whose thread does nothing but Turn() says no, so that everything stays on that thread.
  bool posters_drive = true;
};

// What Leave() does about what is dirty.
enum class LeaveMode : uint8_t {
  kFlush,
  // Leaves it, and so fd() readable: the embedding event loop flushes at the end of its tick.
  kDeferFlush,
  // Leaves it, and fd() as if it were not there: the caller flushes before he waits. What others have
  // posted meanwhile is not his: that makes fd() readable all the same.
  kPromiseFlush,
};

class Loop {
 public:
  static constexpr int kEventsPerTurn = 64;
  // A turn ends with what was posted meanwhile, and what that posts, up to this often.
  static constexpr int kMailRoundsPerTurn = 4;

  static StatusOr<std::unique_ptr<Loop>> Open(const LoopOptions& options = {});
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  // Nothing may be watched or armed any more, and every Post() and Wake() has returned, also on the
  // thread that posted what ends the loop. What was not run yet is abandoned.
  ~Loop();

  // ---- Any thread ----
  int fd() const { return epoll_.get(); }
  const Clock& clock() const { return *clock_; }
  // Whether this is a forked child of the process that opened the loop.
  bool Forked() const { return fork_check_.Forked(); }
  // Runs `item` on the loop, exactly once, in the order of posting for each thread. If nobody
  // drives, the caller takes the word and runs it before Post() returns (see posters_drive); else
  // whoever drives runs it, before it sleeps or lets go or in a coming turn, and is woken if it
  // sleeps. From inside the loop it is run later in the turn, never before Post() returns. Does not
  // wait for other threads. Who posts an item owns it until it is run; if the loop is destroyed
  // first, its Abandon() is called.
  void Post(MailboxItem* item);
  void Post(std::function<void()> function);
  // Takes the word if it is free. With it, the caller may use everything below, until Leave().
  bool TryEnter();
  // As TryEnter(), but waits for a thread that is at work as Turn() does, and leaves in `timeout_ns`
  // what remains of it. BUSY as Turn() says it, FORKED in a child.
  Status Enter(int64_t* timeout_ns);
  // Runs what was posted meanwhile, ends the turn (OnTurnEnd) and lets the word go, leaving fd()
  // readable if work is left.
  void Leave(LeaveMode mode = LeaveMode::kFlush);
  // Whether the calling thread holds the word of this loop.
  bool Inside() const;

  // One turn: waits up to `timeout_ns` (0 polls, negative waits for ever) unless there is something
  // to do, then does it. Returns whether anything was done; a signal handler that interrupts the
  // wait ends it. BUSY if the caller is inside already or another thread sleeps in a turn; while
  // another thread is at work it is waited for, up to the timeout, and BUSY after that.
  StatusOr<bool> Turn(int64_t timeout_ns);
  // Makes the Turn() that sleeps now, or the next one, return true.
  void Wake();

  // ---- Holding the word ----
  int64_t now_ns() const { return now_ns_; }  // read once a turn, and after waiting
  // A turn without taking and letting go of the word: TryEnter(), RunTurn(), collect what it
  // brought, Leave(). Not from inside a turn.
  StatusOr<bool> RunTurn(int64_t timeout_ns);
  // Runs what other threads have posted so far. Who acts at once after a successful TryEnter() calls
  // it first, so that his own earlier posts go before. Not from inside a turn.
  void RunPosted();
  // Whether whoever uses the loop holds results that nobody has fetched yet (a queue's
  // completions): while set, they are work left, and fd() is readable. Costs nothing until the word
  // is let go.
  void SetWorkOutside(bool waiting) { work_outside_ = waiting; }
  // Whoever lets go with work left makes a new edge of it, for an edge-triggered poller that was told
  // of nothing and waits again.
  void WantEdge() { asks_.fetch_or(kAskEdge); }
  // EPOLLET is added. EPOLLERR and EPOLLHUP are always reported, except for a paused source.
  Status Watch(int fd, uint32_t events, IoSource* source);
  // Changes the interest; what is ready now is announced again. 0 pauses it: nothing is announced,
  // not even that the peer has gone (EPOLLHUP alone as interest does that).
  Status Rewatch(IoSource* source, uint32_t events);
  void Unwatch(IoSource* source);
  // The source has work that no edge will announce.
  void MarkReady(IoSource* source, uint32_t events);
  // A timer that is armed again is moved; kNever disarms it. Timers run in the order of their
  // deadlines and, where these are equal, of arming; one that is armed by a timer runs in the next
  // turn at the earliest.
  void Arm(Timer* timer, int64_t deadline_ns);
  void Disarm(Timer* timer);
  void AtTurnEnd(TurnEnd* item);
  // For what lives and dies on this loop.
  BlockPool& blocks() { return blocks_; }
  // Runs every OnTurnEnd() that is due now, without waiting for the end of the turn.
  void Flush();

 private:
  using SourceList = boost::intrusive::list<IoSource, boost::intrusive::constant_time_size<false>>;
  using TurnEndList = boost::intrusive::list<TurnEnd, boost::intrusive::constant_time_size<false>>;

  // What a turn waits for beside the sources: the timerfd and the eventfd.
  static constexpr int kInternalEvents = 2;
  // Bits of asks_.
  static constexpr uint32_t kAskWake = 1;  // the next turn is to return
  static constexpr uint32_t kAskEdge = 2;  // somebody waits for an edge: leave a new one with work left
  // Somebody was told BUSY: the same, and what he would have fetched from the kernel is work, too.
  static constexpr uint32_t kAskTurn = 4;

  explicit Loop(const LoopOptions& options);
  Status Init();

  // The word.
  bool TakeWord();
  Status TakeWordWithin(int64_t* timeout_ns);
  bool LetGo(LeaveMode mode, int mail_rounds);
  bool HasPosts() const { return !mailbox_.Empty() || asks_.load() != 0; }
  // Whether nobody else is driving: what «Holding the word» asks for.
  bool MayTouch() const { return Inside() || word_.IsFree() || Forked(); }
  void Notify();
  void SetSignal(bool readable, bool fresh);
  void AwaitSignal();
  bool TakeWake();
  bool KernelHasMore() const;

  // The parts of a turn.
  int Wait(int64_t timeout_ns);
  int Sleep(int64_t timeout_ns);
  bool RunMailbox();
  bool RunReady();
  bool RunTimers();
  bool TimersDue() const { return !timers_.empty() && timers_.Top().deadline_ns <= now_ns_; }
  void ArmTimerFd();

  const Clock* const clock_;
  const int64_t spin_ns_;
  const int events_per_turn_;
  const bool posters_drive_;
  const ForkCheck fork_check_;
  UniqueFd epoll_;
  UniqueFd timer_fd_;
  UniqueFd event_fd_;

  // Any thread.
  DriveWord word_;
  Mailbox mailbox_;
  std::atomic<uint32_t> asks_{0};
  std::atomic<uintptr_t> owner_{0};  // which thread holds the word; 0 for none

  // Whoever holds the word.
  int64_t now_ns_ = 0;
  int64_t timer_fd_deadline_ns_ = kNever;
  bool timer_fd_fired_ = false;
  // Whether the eventfd is readable. Posters write it only when they have changed the word from
  // sleeping to woken, of which AfterSleep() tells, so that this is never a guess.
  bool signalled_ = false;
  bool wake_asked_ = false;
  bool work_outside_ = false;
  bool in_turn_ = false;
  Slab<IoSource*> sources_;
  SourceList ready_;
  TurnEndList dirty_;
  TimerHeap timers_;
  BlockPool blocks_;
  epoll_event events_[kEventsPerTurn + kInternalEvents];
};

// Holds the word for a scope, or knows that the thread holds it already.
class LoopHold {
 public:
  explicit LoopHold(Loop* loop) : loop_(loop), taken_(loop->TryEnter()) {}
  LoopHold(const LoopHold&) = delete;
  LoopHold& operator=(const LoopHold&) = delete;
  ~LoopHold() {
    if (taken_) loop_->Leave();
  }
  // False if another thread drives: nothing of the loop may be touched then.
  bool held() const { return taken_ || loop_->Inside(); }

 private:
  Loop* loop_;
  bool taken_;
};

}  // namespace lever

#endif  // LIBLEVER_BASE_LOOP_H_
