// Posting from other threads, waking, who drives, and forks.
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/base/loop_testing.h"

namespace lever {
namespace {

// Waits for a condition that other threads bring about, with a limit.
template <typename Condition>
bool Eventually(Condition condition) {
  const int64_t until = Clock::System().NowNs() + 20 * kNanosPerSecond;
  while (!condition()) {
    if (Clock::System().NowNs() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

// Whether `thread_id` sleeps in the kernel, as a thread in a Turn() that waits does.
bool Sleeps(pid_t thread_id) {
  const std::string path = "/proc/self/task/" + std::to_string(thread_id) + "/stat";
  FILE* file = ::fopen(path.c_str(), "r");
  if (file == nullptr) return false;
  char state = '?';
  const int fields = ::fscanf(file, "%*d (%*[^)]) %c", &state);
  ::fclose(file);
  return fields == 1 && state == 'S';
}

// A thread in one Turn() without a timeout.
class SleepingTurn {
 public:
  explicit SleepingTurn(Loop* loop)
      : thread_([this, loop] {
          thread_id_ = ::gettid();
          did_ = TurnOf(*loop, -1);
          returned_ = true;
        }) {
    EXPECT_TRUE(Eventually([&] { return thread_id_ != 0 && Sleeps(thread_id_); }));
  }
  ~SleepingTurn() {
    if (thread_.joinable()) thread_.join();
  }
  bool Join() {
    EXPECT_TRUE(Eventually([&] { return returned_.load(); }));
    thread_.join();
    return did_;
  }
  pthread_t handle() { return thread_.native_handle(); }

 private:
  std::atomic<pid_t> thread_id_{0};
  std::atomic<bool> returned_{false};
  std::atomic<bool> did_{false};
  std::thread thread_;
};

TEST(LoopPost, RunsAtOnceOnTheThreadThatFindsTheWordFree) {
  auto loop = OpenLoop();
  bool ran = false;
  loop->Post([&] {
    ran = true;
    EXPECT_TRUE(loop->Inside());
  });
  EXPECT_TRUE(ran);
  EXPECT_FALSE(loop->Inside());
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopPost, FromInsideRunsLaterInTheSameTurn) {
  auto loop = OpenLoop();
  std::vector<int> order;
  ASSERT_TRUE(loop->TryEnter());
  loop->Post([&] { order.push_back(2); });
  order.push_back(1);
  loop->Leave();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(LoopPost, OneThatPostsItselfForEverDoesNotHangTheTurn) {
  auto loop = OpenLoop();
  bool again = true;
  int runs = 0;
  std::function<void()> forever = [&] {
    ++runs;
    if (again) loop->Post(forever);
  };
  loop->Post(forever);
  EXPECT_LE(runs, Loop::kMailRoundsPerTurn + 1);
  EXPECT_TRUE(Readable(loop->fd())) << "mail that is left is work left";
  again = false;
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopPost, EndsTheTurnOfThePosterToo) {
  auto loop = OpenLoop();
  int ends = 0;
  FunctionTurnEnd end([&] { ++ends; });
  loop->Post([&] { loop->AtTurnEnd(&end); });
  EXPECT_EQ(ends, 1);
}

TEST(LoopPost, WakesASleepingTurnAndRunsThere) {
  auto loop = OpenLoop();
  SleepingTurn turn(loop.get());
  std::atomic<bool> ran{false};
  const std::thread::id here = std::this_thread::get_id();
  loop->Post([&] {
    EXPECT_NE(std::this_thread::get_id(), here);
    ran = true;
  });
  EXPECT_TRUE(turn.Join());
  EXPECT_TRUE(ran);
  EXPECT_FALSE(Readable(loop->fd())) << "the eventfd that woke it was read";
}

TEST(LoopPost, WhatWasNotRunIsAbandoned) {
  struct Item final : MailboxItem {
    void Run() override { FAIL(); }
    void Abandon() override { ++abandoned; }
    int abandoned = 0;
  };
  Item item;
  auto shared = std::make_shared<int>(0);
  {
    auto loop = OpenLoop({.posters_drive = false});
    loop->Post(&item);
    loop->Post([shared] { FAIL(); });
    EXPECT_EQ(shared.use_count(), 2);
  }
  EXPECT_EQ(item.abandoned, 1);
  EXPECT_EQ(shared.use_count(), 1);
}

// Every post of every thread runs once and in the thread's order, while the loop sleeps, spins, is
// polled, and is driven by whoever finds it free.
void PostUnderLoad(Loop& loop, int64_t timeout_ns) {
  constexpr int kThreads = 3;
  constexpr int kPosts = 20'000;
  struct Item final : MailboxItem {
    void Run() override {
      EXPECT_EQ(*last, number - 1);
      *last = number;
      done->fetch_add(1);
    }
    int* last = nullptr;  // touched by who holds the word only
    int number = 0;
    std::atomic<int>* done = nullptr;
  };
  std::vector<Item> items(kThreads * kPosts);
  std::vector<int> last(kThreads, -1);
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        Item& item = items[t * kPosts + i];
        item.last = &last[t];
        item.number = i;
        item.done = &done;
        loop.Post(&item);
      }
    });
  }
  const int64_t until = Clock::System().NowNs() + 60 * kNanosPerSecond;
  while (done.load() < kThreads * kPosts && Clock::System().NowNs() < until) {
    const StatusOr<bool> did = loop.Turn(timeout_ns);
    if (!did.ok()) {
      EXPECT_EQ(did.status().code(), LEVER_BUSY);
    }
  }
  for (std::thread& thread : threads) thread.join();
  while (TurnOf(loop)) {
  }
  EXPECT_EQ(done.load(), kThreads * kPosts);
  EXPECT_FALSE(Readable(loop.fd()));
}

TEST(LoopPost, EveryPostOfManyThreadsRunsOnceInOrderWhileTheLoopSleeps) {
  auto loop = OpenLoop();
  PostUnderLoad(*loop, 100 * kNanosPerMilli);
}

TEST(LoopPost, EveryPostOfManyThreadsRunsOnceInOrderWhileTheLoopIsPolled) {
  auto loop = OpenLoop();
  PostUnderLoad(*loop, 0);
}

TEST(LoopPost, EveryPostOfManyThreadsRunsOnceInOrderWhileTheLoopSpins) {
  auto loop = OpenLoop({.spin_ns = 50 * kNanosPerMicro});
  PostUnderLoad(*loop, 100 * kNanosPerMilli);
}

TEST(LoopPost, EveryPostOfManyThreadsRunsOnTheLoopsOwnThreadIfThatWasAskedFor) {
  auto loop = OpenLoop({.posters_drive = false});
  PostUnderLoad(*loop, 100 * kNanosPerMilli);
}

TEST(LoopWake, EndsATurnThatSleeps) {
  auto loop = OpenLoop();
  SleepingTurn turn(loop.get());
  loop->Wake();
  EXPECT_TRUE(turn.Join());
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(LoopWake, EndsTheNextTurnIfNoneSleeps) {
  auto loop = OpenLoop();
  loop->Wake();
  EXPECT_TRUE(TurnOf(*loop, -1));
  EXPECT_FALSE(TurnOf(*loop, 0)) << "one wake, one turn";
}

TEST(LoopWake, FromInsideEndsTheNextTurn) {
  auto loop = OpenLoop();
  loop->Post([&] { loop->Wake(); });
  EXPECT_TRUE(TurnOf(*loop, -1));
  EXPECT_FALSE(TurnOf(*loop, 0));
}

TEST(LoopWake, ShowsASleepingTurnAClockThatWasMovedByHand) {
  ManualClock clock;
  auto loop = OpenLoop({.clock = &clock});
  std::atomic<int> fired{0};
  FunctionTimer timer([&] { ++fired; });
  loop->Arm(&timer, clock.NowNs() + kNanosPerSecond);
  SleepingTurn turn(loop.get());
  clock.Advance(kNanosPerSecond);
  loop->Wake();
  EXPECT_TRUE(turn.Join());
  EXPECT_EQ(fired, 1);
}

TEST(LoopDrive, ASecondTurnIsBusyWhileTheFirstSleepsAndDoesNotDisturbIt) {
  auto loop = OpenLoop();
  SleepingTurn turn(loop.get());
  EXPECT_EQ(loop->Turn(0).status().code(), LEVER_BUSY);
  EXPECT_EQ(loop->Turn(-1).status().code(), LEVER_BUSY);
  EXPECT_FALSE(loop->TryEnter());
  loop->Wake();
  EXPECT_TRUE(turn.Join());
}

TEST(LoopDrive, ATurnWaitsForAThreadThatIsAtWorkButNoLongerThanItsTimeout) {
  auto loop = OpenLoop();
  ASSERT_TRUE(loop->TryEnter());
  const int64_t begun_ns = Clock::System().NowNs();
  std::thread([&] {
    EXPECT_EQ(loop->Turn(2 * kNanosPerMilli).status().code(), LEVER_BUSY);
  }).join();
  EXPECT_GE(Clock::System().NowNs() - begun_ns, 2 * kNanosPerMilli);
  std::atomic<bool> begun{false};
  std::thread other([&] {
    begun = true;
    EXPECT_TRUE(TurnOf(*loop, -1));
  });
  EXPECT_TRUE(Eventually([&] { return begun.load(); }));
  loop->Wake();
  loop->Leave();
  other.join();
}

TEST(LoopDrive, ASignalEndsTheWait) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  struct sigaction before;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  auto loop = OpenLoop();
  SleepingTurn turn(loop.get());
  ::pthread_kill(turn.handle(), SIGUSR1);
  EXPECT_FALSE(turn.Join());
  ::sigaction(SIGUSR1, &before, nullptr);
}

// ---- Forks ----

// Runs `child` in a forked child and gives its exit status.
template <typename Child>
int ExitStatusOf(Child child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(LoopFork, InAChildNothingWorksAndTheParentsLoopIsUntouched) {
  auto loop = OpenLoop();
  auto source = std::make_unique<ReadingSource>(loop.get());
  EXPECT_FALSE(loop->Forked());
  const int status = ExitStatusOf([&] {
    if (!loop->Forked()) return 1;
    if (loop->Turn(0).status().code() != LEVER_FORKED) return 2;
    if (loop->TryEnter()) return 3;
    bool ran = false;
    loop->Post([&] { ran = true; });
    loop->Wake();
    if (ran) return 4;
    source.reset();  // must not take the parent's source out of the epoll set, which is shared
    loop.reset();
    auto own = Loop::Open();
    if (!own.ok() || (*own)->Forked() || !(*own)->Turn(0).ok()) return 5;
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(loop->Forked());
  EXPECT_FALSE(TurnOf(*loop));
  source->Send("x");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(source->received, "x");
}

TEST(LoopFork, AChildOfAThreadThatHoldsTheWordMayDestroyTheLoop) {
  auto loop = OpenLoop();
  ASSERT_TRUE(loop->TryEnter());
  EXPECT_EQ(ExitStatusOf([&] {
              loop.reset();
              return 0;
            }),
            0);
  loop->Leave();
}

TEST(LoopThreads, WhoTakesTheWordRunsWhatHePostedBefore) {
  const auto loop = OpenLoop({.posters_drive = false});
  std::vector<int> order;
  // Nobody runs it: the thread that the loop belongs to does not turn.
  loop->Post([&] { order.push_back(1); });
  ASSERT_TRUE(loop->TryEnter());
  EXPECT_TRUE(order.empty());
  loop->RunPosted();
  order.push_back(2);
  loop->Leave();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(LoopThreads, EnterWaitsForAThreadAtWorkAndNotForOneThatSleeps) {
  const auto loop = OpenLoop();
  std::atomic<bool> holds{false};
  std::atomic<bool> wanted{false};
  std::thread worker([&] {
    ASSERT_TRUE(loop->TryEnter());
    holds = true;
    EXPECT_TRUE(Eventually([&] { return wanted.load(); }));
    loop->Leave();
  });
  ASSERT_TRUE(Eventually([&] { return holds.load(); }));
  int64_t timeout_ns = 0;
  EXPECT_EQ(loop->Enter(&timeout_ns).code(), LEVER_BUSY);
  wanted = true;
  timeout_ns = 20 * kNanosPerSecond;
  ASSERT_TRUE(loop->Enter(&timeout_ns).ok());
  EXPECT_LE(timeout_ns, 20 * kNanosPerSecond);
  loop->Leave();
  worker.join();

  SleepingTurn sleeper(loop.get());
  timeout_ns = -1;
  EXPECT_EQ(loop->Enter(&timeout_ns).code(), LEVER_BUSY);
  loop->Wake();
  EXPECT_TRUE(sleeper.Join());
}

}  // namespace
}  // namespace lever
