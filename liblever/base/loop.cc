#include "liblever/base/loop.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace lever {
namespace {

// Ids in epoll_event.data that are no entry of the slab, whose ids all have a generation.
constexpr uint64_t kTimerFdId = 0;
constexpr uint64_t kEventFdId = 1;

// A time for the timerfd that is over: 0 would disarm it.
constexpr int64_t kAtOnceNs = 1;

// Waiting for another thread that is at work on the loop, which takes microseconds as a rule: the
// processor is given up kYields times, then the wait doubles from the first to the last step.
constexpr int kYields = 16;
constexpr int64_t kBackOffFirstNs = 20 * kNanosPerMicro;
constexpr int64_t kBackOffLastNs = 1 * kNanosPerMilli;

// Names the thread. In a library that is loaded late a thread_local costs a call; this is read for
// every use of the loop.
uintptr_t ThisThread() { return static_cast<uintptr_t>(::pthread_self()); }

timespec ToTimespec(int64_t ns) {
  return {static_cast<time_t>(ns / kNanosPerSecond), static_cast<long>(ns % kNanosPerSecond)};
}

// epoll_wait with a timeout in nanoseconds (negative: none), on kernels before 5.11 rounded up to
// milliseconds. The number of events, or a negative errno.
int EpollWait(int epoll_fd, epoll_event* events, int capacity, int64_t timeout_ns) {
  static std::atomic<bool> has_pwait2{true};
  if (timeout_ns > 0 && has_pwait2.load(std::memory_order_relaxed)) {
    const timespec timeout = ToTimespec(timeout_ns);
    const int n = ::epoll_pwait2(epoll_fd, events, capacity, &timeout, nullptr);
    if (n >= 0) return n;
    if (errno != ENOSYS) return -errno;
    has_pwait2.store(false, std::memory_order_relaxed);
  }
  int timeout_ms = timeout_ns < 0 ? -1 : 0;
  if (timeout_ns > 0) {
    const int64_t rounded_up = (timeout_ns - 1) / kNanosPerMilli + 1;
    timeout_ms = static_cast<int>(std::min<int64_t>(rounded_up, INT32_MAX));
  }
  const int n = ::epoll_wait(epoll_fd, events, capacity, timeout_ms);
  return n >= 0 ? n : -errno;
}

// A posted function. Owned by the mailbox.
class FunctionItem final : public MailboxItem {
 public:
  explicit FunctionItem(std::function<void()> function) : function_(std::move(function)) {}
  void Run() override {
    const std::unique_ptr<FunctionItem> self(this);
    function_();
  }
  void Abandon() override { delete this; }

 private:
  std::function<void()> function_;
};

}  // namespace

IoSource::~IoSource() { assert(watch_id_ == 0 && "Unwatch() before the source is destroyed"); }

Timer::~Timer() {
  if (loop_ != nullptr) loop_->Disarm(this);
}

// ---- Life ----

StatusOr<std::unique_ptr<Loop>> Loop::Open(const LoopOptions& options) {
  std::unique_ptr<Loop> loop(new Loop(options));
  LEVER_RETURN_IF_ERROR(loop->Init());
  return loop;
}

Loop::Loop(const LoopOptions& options)
    : clock_(options.clock),
      spin_ns_(std::max<int64_t>(options.spin_ns, 0)),
      events_per_turn_(std::clamp(options.events_per_turn, 1, kEventsPerTurn)),
      posters_drive_(options.posters_drive) {}

Status Loop::Init() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return ErrnoStatus(errno, "epoll_create1");
  // fd() goes into others' event loops, of which some set this flag themselves.
  LEVER_RETURN_IF_ERROR(SetNonBlocking(epoll_.get()));
  timer_fd_.reset(::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_fd_.valid()) return ErrnoStatus(errno, "timerfd_create");
  event_fd_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event_fd_.valid()) return ErrnoStatus(errno, "eventfd");
  // Both are level-triggered: they make fd() readable for as long as they are.
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kTimerFdId}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_fd_.get(), &event) != 0) {
    return ErrnoStatus(errno, "epoll_ctl(timerfd)");
  }
  event.data.u64 = kEventFdId;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_fd_.get(), &event) != 0) {
    return ErrnoStatus(errno, "epoll_ctl(eventfd)");
  }
  now_ns_ = clock_->NowNs();
  return Status::Ok();
}

Loop::~Loop() {
  assert(Forked() || word_.IsFree());
  for (MailboxItem* item = mailbox_.TakeAll(); item != nullptr;) {
    MailboxItem* next = item->next;
    item->Abandon();
    item = next;
  }
  // In a child what owns itself until it ends (a call) never ends.
  assert((Forked() || sources_.empty()) && "something is still watched");
  assert((Forked() || timers_.empty()) && "a timer is still armed");
}

// ---- The word ----

bool Loop::Inside() const { return owner_.load(std::memory_order_relaxed) == ThisThread(); }

bool Loop::TakeWord() {
  if (!word_.TryTake()) return false;
  // Only its own thread compares equal, and a thread sees its own writes: relaxed is enough.
  owner_.store(ThisThread(), std::memory_order_relaxed);
  return true;
}

bool Loop::TryEnter() {
  if (Forked() || !TakeWord()) return false;
  now_ns_ = clock_->NowNs();
  return true;
}

Status Loop::Enter(int64_t* timeout_ns) {
  if (Forked()) return {LEVER_FORKED, "this loop belongs to the parent process"};
  LEVER_RETURN_IF_ERROR(TakeWordWithin(timeout_ns));
  now_ns_ = clock_->NowNs();
  return Status::Ok();
}

void Loop::RunPosted() {
  assert(Inside() && !in_turn_);
  RunMailbox();
}

void Loop::Leave(LeaveMode mode) {
  assert(Inside() && !in_turn_);
  LetGo(mode, kMailRoundsPerTurn);
}

// Takes the word, waiting for a thread that is at work, but not for one that sleeps. Leaves what
// remains of the timeout.
Status Loop::TakeWordWithin(int64_t* timeout_ns) {
  if (TakeWord()) return Status::Ok();
  const Status busy(LEVER_BUSY, "another thread is driving this loop");
  if (Inside()) return busy;
  const int64_t until_ns = DeadlineAfter(Clock::System().NowNs(), *timeout_ns);
  int64_t pause_ns = kBackOffFirstNs;
  for (int tries = 0; *timeout_ns != 0 && !word_.IsAsleep(); ++tries) {
    if (tries < kYields) {
      ::sched_yield();
    } else {
      const timespec pause = ToTimespec(pause_ns);
      ::nanosleep(&pause, nullptr);
      pause_ns = std::min(pause_ns * 2, kBackOffLastNs);
    }
    if (until_ns != kNever) *timeout_ns = std::max<int64_t>(until_ns - Clock::System().NowNs(), 0);
    if (TakeWord()) return Status::Ok();
  }
  // The caller may be an edge-triggered poller's, whose edge is spent: the owner leaves another. As
  // with a post, the owner looks for it after it has freed the word, and we look at the word again.
  asks_.fetch_or(kAskTurn);
  if (TakeWord()) return Status::Ok();
  return busy;
}

// Ends what the holder began, and lets the word go. Returns whether there was anything to do.
bool Loop::LetGo(LeaveMode mode, int mail_rounds) {
  bool did = false;
  bool ran_mail = false;
  for (int round = 0;; ++round) {
    if (round < mail_rounds) ran_mail |= RunMailbox();
    did |= ran_mail;
    if (mode == LeaveMode::kFlush && !dirty_.empty()) {
      did = true;
      Flush();
    }
    uint32_t asks = 0;
    if (asks_.load(std::memory_order_relaxed) != 0) asks = asks_.exchange(0);
    if ((asks & kAskWake) != 0) wake_asked_ = true;
    // Mail that is left here is announced by fd(); mail that comes later is looked for below.
    const bool mail_left = round >= mail_rounds && !mailbox_.Empty();
    // The promise is the caller's own: whoever posted may not be waiting for anything to flush.
    const bool promised = mode == LeaveMode::kPromiseFlush && !ran_mail;
    const bool dirty = !dirty_.empty() && !promised;
    const bool work_left = mail_left || wake_asked_ || work_outside_ || !ready_.empty() || dirty ||
                           TimersDue();
    SetSignal(work_left, (asks & (kAskEdge | kAskTurn)) != 0);
    if (!work_left) {
      ArmTimerFd();
      // The edge of what is ready there is spent, and nobody has fetched it.
      if ((asks & kAskTurn) != 0 && KernelHasMore()) SetSignal(true, true);
    }
    owner_.store(0, std::memory_order_relaxed);
    const bool again =
        word_.LetGo([&] { return (!mail_left && !mailbox_.Empty()) || asks_.load() != 0; });
    if (!again) return did;
    owner_.store(ThisThread(), std::memory_order_relaxed);
  }
}

// After a post: does what the word says.
void Loop::Notify() {
  switch (word_.NotifyAfterPost()) {
    case AfterPost::kNothing:
      return;
    case AfterPost::kWriteEventFd: {
      const uint64_t one = 1;
      // Cannot fail: the counter is read long before it is full.
      [[maybe_unused]] const ssize_t written = ::write(event_fd_.get(), &one, sizeof(one));
      assert(written == sizeof(one));
      return;
    }
    case AfterPost::kTryTake:
      // Who takes it in between sees the post before it lets go.
      if (!TryEnter()) return;
      LetGo(LeaveMode::kFlush, posters_drive_ ? kMailRoundsPerTurn : 0);
      return;
  }
}

void Loop::Post(MailboxItem* item) {
  mailbox_.Push(item);
  if (!Forked()) Notify();
}

void Loop::Post(std::function<void()> function) { Post(new FunctionItem(std::move(function))); }

void Loop::Wake() {
  if (Forked()) return;
  asks_.fetch_or(kAskWake);
  Notify();
}

bool Loop::TakeWake() {
  if (asks_.load(std::memory_order_relaxed) != 0 && (asks_.fetch_and(~kAskWake) & kAskWake) != 0) {
    wake_asked_ = true;
  }
  return std::exchange(wake_asked_, false);
}

bool Loop::KernelHasMore() const {
  pollfd poll{.fd = epoll_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, 0) == 1;
}

// Makes the eventfd readable or not. `fresh` writes it even if it is, for a new edge.
void Loop::SetSignal(bool readable, bool fresh) {
  uint64_t count = 1;
  [[maybe_unused]] ssize_t done = sizeof(count);
  if (readable && (!signalled_ || fresh)) {
    done = ::write(event_fd_.get(), &count, sizeof(count));
  } else if (!readable && signalled_) {
    done = ::read(event_fd_.get(), &count, sizeof(count));
  }
  assert(done == sizeof(count));
  signalled_ = readable;
}

// A poster has changed the word to woken: its write has come or comes at once. It is waited for,
// since one that came after the word is let go would make fd() readable for nothing.
void Loop::AwaitSignal() {
  pollfd poll{.fd = event_fd_.get(), .events = POLLIN, .revents = 0};
  while (!signalled_) signalled_ = ::poll(&poll, 1, -1) == 1;
}

// ---- A turn ----

StatusOr<bool> Loop::Turn(int64_t timeout_ns) {
  if (Forked()) return Status(LEVER_FORKED, "this loop belongs to the parent process");
  LEVER_RETURN_IF_ERROR(TakeWordWithin(&timeout_ns));
  StatusOr<bool> did = RunTurn(timeout_ns);
  const bool did_more = LetGo(LeaveMode::kFlush, kMailRoundsPerTurn);
  if (did.ok() && did_more) *did = true;
  return did;
}

StatusOr<bool> Loop::RunTurn(int64_t timeout_ns) {
  assert(Inside() && !in_turn_);
  in_turn_ = true;
  now_ns_ = clock_->NowNs();
  bool did = TakeWake();
  did |= RunMailbox();
  const bool work = did || !ready_.empty() || !dirty_.empty() || TimersDue();
  int n;
  if (work || timeout_ns == 0) {
    n = Wait(0);
  } else {
    n = Sleep(timeout_ns);
    did |= TakeWake();
    did |= RunMailbox();
  }
  did |= RunReady();
  did |= RunTimers();
  did |= !dirty_.empty();
  Flush();
  in_turn_ = false;
  if (n < 0) return ErrnoStatus(-n, "epoll_wait");
  return did;
}

// Waits for events and puts their sources on the ready list. Returns how many, or a negative errno.
int Loop::Wait(int64_t timeout_ns) {
  // Room for ours beyond the bound: with a bound of one they must not take a source's place.
  const int n = EpollWait(epoll_.get(), events_, events_per_turn_ + kInternalEvents, timeout_ns);
  int marked = n < 0 ? n : 0;
  for (int i = 0; i < n; ++i) {
    const uint64_t id = events_[i].data.u64;
    if (id == kEventFdId) {
      signalled_ = true;
    } else if (id == kTimerFdId) {
      timer_fd_fired_ = true;
    } else if (IoSource** source = sources_.Find(id); source != nullptr) {
      MarkReady(*source, events_[i].events);
      ++marked;
    }
  }
  return marked;
}

// Waits until there is something to do, spinning first if that was asked for. As Wait().
int Loop::Sleep(int64_t timeout_ns) {
  const int64_t begun_ns = Clock::System().NowNs();
  const int64_t until_ns = DeadlineAfter(begun_ns, timeout_ns);
  const int64_t spin_until_ns = std::min(until_ns, DeadlineAfter(begun_ns, spin_ns_));
  int64_t real_now_ns = begun_ns;
  for (;;) {
    // Whoever was told BUSY gets its edge when a sleeper lets go, which never sleeps signalled.
    if (asks_.load(std::memory_order_relaxed) != 0) asks_.fetch_and(~(kAskEdge | kAskTurn));
    SetSignal(false, false);
    ArmTimerFd();
    int n;
    if (real_now_ns < spin_until_ns) {
      n = Wait(0);
    } else {
      const bool may_sleep = word_.BeforeSleep([this] { return HasPosts(); });
      int64_t wait_ns = 0;
      if (may_sleep)
        wait_ns = until_ns == kNever ? -1 : std::max<int64_t>(until_ns - real_now_ns, 0);
      n = Wait(wait_ns);
      if (word_.AfterSleep()) AwaitSignal();
    }
    real_now_ns = Clock::System().NowNs();
    now_ns_ = clock_->NowNs();
    if (n == -EINTR) return 0;
    const bool posts = !mailbox_.Empty() || (asks_.load() & kAskWake) != 0;
    if (n != 0 || posts || TimersDue() || real_now_ns >= until_ns) return n;
  }
}

// Runs the mailbox as it is now.
bool Loop::RunMailbox() {
  if (mailbox_.Empty()) return false;
  for (MailboxItem* item = mailbox_.TakeAll(); item != nullptr;) {
    MailboxItem* next = item->next;
    item->Run();
    item = next;
  }
  return true;
}

// Calls the sources that are ready now, oldest first and at most events_per_turn_ of them.
bool Loop::RunReady() {
  if (ready_.empty()) return false;
  SourceList now;
  now.swap(ready_);
  for (int i = 0; i < events_per_turn_ && !now.empty(); ++i) {
    IoSource* source = &now.front();
    now.pop_front();
    const uint64_t id = source->watch_id_;
    const uint32_t left = source->OnReady(std::exchange(source->ready_, 0));
    // Whatever it did: it may have destroyed itself, and is no longer in the table, or paused
    // itself.
    if (left != 0 && sources_.Find(id) != nullptr && source->interest_ != 0) {
      MarkReady(source, left);
    }
  }
  ready_.splice(ready_.begin(), now);
  return true;
}

// Calls the timers that are due and were armed before.
bool Loop::RunTimers() {
  const uint64_t order_end = timers_.next_order();
  bool did = false;
  while (TimersDue() && timers_.Top().order < order_end) {
    Timer* timer = timers_.Top().timer;
    Disarm(timer);
    timer->OnTimer();
    did = true;
  }
  return did;
}

void Loop::Flush() {
  // What OnTurnEnd() itself makes dirty is taken along, a few times over; the rest is work left.
  constexpr int kPasses = 4;
  for (int pass = 0; pass < kPasses && !dirty_.empty(); ++pass) {
    TurnEndList now;
    now.swap(dirty_);
    while (!now.empty()) {
      TurnEnd* item = &now.front();
      now.pop_front();
      item->OnTurnEnd();
    }
  }
}

// ---- Sources ----

Status Loop::Watch(int fd, uint32_t events, IoSource* source) {
  assert(MayTouch() && source->watch_id_ == 0);
  const uint64_t id = sources_.Insert(source);
  if (id == 0) return ResourceExhausted("too many descriptors are watched");
  epoll_event event{.events = events | EPOLLET, .data = {.u64 = id}};
  if (events != 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    sources_.Erase(id);
    return ErrnoStatus(error, "epoll_ctl(ADD)");
  }
  source->watch_id_ = id;
  source->watched_fd_ = fd;
  source->interest_ = events;
  source->ready_ = 0;
  return Status::Ok();
}

Status Loop::Rewatch(IoSource* source, uint32_t events) {
  assert(MayTouch() && source->watch_id_ != 0);
  if (events == 0 && source->interest_ == 0) return Status::Ok();
  // With interest 0 epoll would go on reporting EPOLLHUP and EPOLLERR; a paused source is taken
  // out.
  int operation = EPOLL_CTL_MOD;
  if (events == 0) operation = EPOLL_CTL_DEL;
  if (source->interest_ == 0) operation = EPOLL_CTL_ADD;
  epoll_event event{.events = events | EPOLLET, .data = {.u64 = source->watch_id_}};
  if (::epoll_ctl(epoll_.get(), operation, source->watched_fd_, &event) != 0) {
    return ErrnoStatus(errno, "epoll_ctl");
  }
  source->interest_ = events;
  // Both ADD and MOD announce again what is ready.
  source->ready_ &= events == 0 ? 0 : events | EPOLLERR | EPOLLHUP;
  if (source->ready_ == 0 && source->is_linked()) source->unlink();
  return Status::Ok();
}

void Loop::Unwatch(IoSource* source) {
  if (source->watch_id_ == 0) return;
  assert(MayTouch());
  sources_.Erase(source->watch_id_);
  // Fails if the descriptor was closed before, against the rule; then epoll has dropped it already.
  if (source->interest_ != 0 && !Forked()) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source->watched_fd_, nullptr);
  }
  if (source->is_linked()) source->unlink();
  source->watch_id_ = 0;
  source->watched_fd_ = -1;
  source->interest_ = 0;
  source->ready_ = 0;
}

void Loop::MarkReady(IoSource* source, uint32_t events) {
  assert(MayTouch() && source->watch_id_ != 0);
  if (events == 0) return;
  source->ready_ |= events;
  if (!source->is_linked()) ready_.push_back(*source);
}

void Loop::AtTurnEnd(TurnEnd* item) {
  assert(MayTouch());
  if (!item->is_linked()) dirty_.push_back(*item);
}

// ---- Timers ----

void Loop::Arm(Timer* timer, int64_t deadline_ns) {
  assert(MayTouch() && (timer->loop_ == nullptr || timer->loop_ == this));
  if (timer->loop_ != nullptr) timers_.Remove(timer);
  timer->deadline_ns_ = deadline_ns;
  timer->loop_ = deadline_ns == kNever ? nullptr : this;
  // A time that has passed counts as now, so that those which are due already go first.
  if (deadline_ns != kNever) timers_.Push(timer, std::max(deadline_ns, now_ns_));
}

void Loop::Disarm(Timer* timer) {
  if (timer->loop_ == nullptr) return;
  assert(MayTouch() && timer->loop_ == this);
  timers_.Remove(timer);
  timer->loop_ = nullptr;
}

// Sets the timerfd if it would fire too late, or if it has fired or is about to. A clock that is moved
// by hand needs none.
void Loop::ArmTimerFd() {
  // On the machine's clock, which the timerfd knows alone.
  int64_t next_ns = timers_.empty() ? kNever : timers_.Top().deadline_ns;
  int64_t now_ns = now_ns_;
  const int64_t ahead_ns = clock_->AheadNs();
  if (ahead_ns == kNever) {
    // While time stands still, what is due is due at once, and the rest never.
    next_ns = next_ns <= now_ns ? kAtOnceNs : kNever;
    now_ns = kAtOnceNs;
  } else if (ahead_ns != 0) {
    now_ns -= ahead_ns;
    if (next_ns != kNever) next_ns -= ahead_ns;
  }
  const bool spent = timer_fd_fired_ || timer_fd_deadline_ns_ <= now_ns;
  if (!spent && next_ns >= timer_fd_deadline_ns_) return;
  itimerspec spec{};  // all zero disarms it
  // Setting it also takes back that it has fired, so that it need not be read.
  if (next_ns != kNever) spec.it_value = ToTimespec(std::max(next_ns, kAtOnceNs));
  [[maybe_unused]] const int result =
      ::timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
  assert(result == 0);
  timer_fd_fired_ = false;
  timer_fd_deadline_ns_ = next_ns;
}

}  // namespace lever
