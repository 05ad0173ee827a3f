// The loop's descriptor under the pollers that other event loops use, with a bound of one source a
// turn: it is readable if and only if Turn(0) would do something.
#include <sys/epoll.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "liblever/base/random.h"
#include "tests/base/loop_testing.h"

namespace lever {
namespace {

constexpr int kWaitLimitMs = 10'000;

enum class Kind { kPoll, kLevelTriggered, kEdgeTriggered };

// Waits for a loop's descriptor as an embedding event loop does.
class OuterPoller {
 public:
  OuterPoller(Kind kind, int fd) : kind_(kind), fd_(fd) {
    if (kind == Kind::kPoll) return;
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = EPOLLIN, .data = {}};
    if (kind == Kind::kEdgeTriggered) event.events |= EPOLLET;
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }

  bool Wait(int timeout_ms) {
    if (kind_ == Kind::kPoll) return Readable(fd_, timeout_ms);
    epoll_event event;
    return ::epoll_wait(epoll_.get(), &event, 1, timeout_ms) == 1;
  }

 private:
  Kind kind_;
  int fd_;
  UniqueFd epoll_;
};

class LoopPoller : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Loop> loop_ = OpenLoop({.events_per_turn = 1});
  OuterPoller poller_{GetParam(), loop_->fd()};

  // What a binding does when its poller reports the descriptor. Returns the turns that did
  // something.
  int TurnUntilNothing() {
    int turns = 0;
    while (TurnOf(*loop_)) ++turns;
    return turns;
  }
  void ExpectQuiet() {
    EXPECT_FALSE(Readable(loop_->fd()));
    EXPECT_FALSE(poller_.Wait(0));
  }
};

TEST_P(LoopPoller, IsQuietWhenThereIsNothing) {
  ExpectQuiet();
  EXPECT_EQ(TurnUntilNothing(), 0);
  ExpectQuiet();
}

TEST_P(LoopPoller, ReportsEachSourceUntilAllWereServed) {
  std::vector<std::unique_ptr<ReadingSource>> sources;
  for (int i = 0; i < 5; ++i) sources.push_back(std::make_unique<ReadingSource>(loop_.get()));
  for (int round = 0; round < 3; ++round) {
    for (auto& source : sources) source->Send("x");
    EXPECT_TRUE(poller_.Wait(0));
    EXPECT_EQ(TurnUntilNothing(), 5);
    ExpectQuiet();
  }
  for (auto& source : sources) EXPECT_EQ(source->received, "xxx");
}

TEST_P(LoopPoller, ReportsWorkThatNoEdgeAnnounces) {
  ReadingSource source(loop_.get());
  source.bytes_per_call = 1;
  source.Send("abc");
  EXPECT_TRUE(poller_.Wait(0));
  // One turn alone, as after a failed allocation of the embedding loop: it leaves work.
  EXPECT_TRUE(TurnOf(*loop_));
  EXPECT_TRUE(Readable(loop_->fd()));
  EXPECT_TRUE(poller_.Wait(0)) << "leaving with work left is a new edge";
  TurnUntilNothing();
  EXPECT_EQ(source.received, "abc");
  ExpectQuiet();
}

// Each of these turns leaves work behind a descriptor that is readable already.
TEST_P(LoopPoller, ReportsWorkThatIsLeftAgainToWhoWantsAnEdge) {
  ReadingSource source(loop_.get());
  source.bytes_per_call = 1;
  source.Send("abcd");
  for (int turn = 0; turn < 3; ++turn) {
    ASSERT_TRUE(poller_.Wait(0)) << turn;
    ASSERT_TRUE(loop_->TryEnter());
    EXPECT_TRUE(loop_->RunTurn(0).ok());
    loop_->WantEdge();
    loop_->Leave();
  }
  TurnUntilNothing();
  EXPECT_EQ(source.received, "abcd");
  ExpectQuiet();
  // Without work there is nothing to tell.
  ASSERT_TRUE(loop_->TryEnter());
  loop_->WantEdge();
  loop_->Leave();
  ExpectQuiet();
}

// The edge is spent on a turn that could not begin, and nobody has fetched what it told of.
TEST_P(LoopPoller, ReportsWhatCameWhileAnotherThreadHeldTheLoop) {
  ReadingSource source(loop_.get());
  ASSERT_TRUE(loop_->TryEnter());
  source.Send("x");
  EXPECT_TRUE(poller_.Wait(0));
  std::thread([&] { EXPECT_EQ(loop_->Turn(0).status().code(), LEVER_BUSY); }).join();
  loop_->Leave();
  EXPECT_TRUE(poller_.Wait(0)) << "no edge for what the kernel has";
  EXPECT_EQ(TurnUntilNothing(), 1);
  EXPECT_EQ(source.received, "x");
  ExpectQuiet();
}

TEST_P(LoopPoller, ReportsWhatIsLeftDirtyAndWhatWaitsOutside) {
  int ends = 0;
  FunctionTurnEnd end([&] { ++ends; });
  ASSERT_TRUE(loop_->TryEnter());
  loop_->AtTurnEnd(&end);
  loop_->Leave(LeaveMode::kDeferFlush);
  EXPECT_TRUE(poller_.Wait(0));
  EXPECT_EQ(TurnUntilNothing(), 1);
  EXPECT_EQ(ends, 1);
  ExpectQuiet();
  {
    LoopHold hold(loop_.get());
    loop_->SetWorkOutside(true);
  }
  EXPECT_TRUE(poller_.Wait(0));
  {
    LoopHold hold(loop_.get());
    loop_->SetWorkOutside(false);
  }
  ExpectQuiet();
}

TEST_P(LoopPoller, ReportsAWakeUntilATurnHasTakenIt) {
  loop_->Wake();
  EXPECT_TRUE(poller_.Wait(0));
  EXPECT_EQ(TurnUntilNothing(), 1);
  ExpectQuiet();
}

TEST_P(LoopPoller, ReportsATimerWhenItIsDue) {
  int fired = 0;
  FunctionTimer timer([&] { ++fired; });
  {
    LoopHold hold(loop_.get());
    loop_->Arm(&timer, loop_->now_ns() + 2 * kNanosPerMilli);
  }
  EXPECT_TRUE(poller_.Wait(kWaitLimitMs));
  EXPECT_EQ(TurnUntilNothing(), 1);
  EXPECT_EQ(fired, 1);
  ExpectQuiet();
}

TEST_P(LoopPoller, MailForALoopThatIsDrivenByItsThreadAloneIsReported) {
  auto loop = OpenLoop({.posters_drive = false});
  OuterPoller poller(GetParam(), loop->fd());
  int runs = 0;
  loop->Post([&] { ++runs; });
  EXPECT_EQ(runs, 0) << "not on the poster's thread";
  EXPECT_TRUE(poller.Wait(0));
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST_P(LoopPoller, IsReadableIfAndOnlyIfATurnWouldDoSomethingWhateverHappens) {
  const uint64_t seed = 42;
  SCOPED_TRACE(seed);
  Random random(seed);
  std::vector<std::unique_ptr<ReadingSource>> sources;
  std::vector<bool> paused(4, false);
  for (int i = 0; i < 4; ++i) {
    sources.push_back(std::make_unique<ReadingSource>(loop_.get()));
    sources.back()->bytes_per_call = i % 2;
  }
  FunctionTurnEnd end([] {});
  int edges_seen = 0;
  for (int step = 0; step < 3000; ++step) {
    const uint32_t which = random.Below(4);
    ReadingSource& source = *sources[which];
    switch (random.Below(8)) {
      case 0:
      case 1:
        source.Send("x");
        break;
      case 2:
        loop_->Post([this, &source, &paused, which] {
          if (!paused[which]) loop_->MarkReady(&source, EPOLLIN);
        });
        break;
      case 3: {
        LoopHold hold(loop_.get());
        paused[which] = !paused[which];
        ASSERT_TRUE(loop_->Rewatch(&source, paused[which] ? 0u : EPOLLIN).ok());
        break;
      }
      case 4:
        ASSERT_TRUE(loop_->TryEnter());
        loop_->AtTurnEnd(&end);
        loop_->Leave(random.Below(2) == 0 ? LeaveMode::kFlush : LeaveMode::kDeferFlush);
        break;
      case 5:
        loop_->Wake();
        break;
      default: {
        const bool readable = Readable(loop_->fd());
        if (GetParam() != Kind::kEdgeTriggered) {
          ASSERT_EQ(poller_.Wait(0), readable) << "step " << step;
        } else if (poller_.Wait(0)) {
          ++edges_seen;
        }
        ASSERT_EQ(TurnOf(*loop_), readable) << "step " << step;
      }
    }
    if (step % 50 == 49) {
      if (Readable(loop_->fd()) && GetParam() == Kind::kEdgeTriggered && edges_seen == 0) {
        ASSERT_TRUE(poller_.Wait(0)) << "no edge by step " << step;
      }
      TurnUntilNothing();
      edges_seen = 0;
      poller_.Wait(0);  // an edge that came while the turns were running may be left
      ASSERT_FALSE(Readable(loop_->fd()));
    }
  }
}

// Another thread enters, leaves work and waits until it was done, while a third keeps taking the
// word so that the driver is told BUSY: no edge may be lost.
TEST_P(LoopPoller, WorkThatOtherThreadsLeaveIsAlwaysReported) {
  constexpr int kRounds = 400;
  ReadingSource source(loop_.get());
  std::atomic<int> served{0};
  source.on_ready = [&] {
    served.fetch_add(1);
    served.notify_one();
  };
  std::atomic<bool> stop{false};

  std::thread worker([&] {
    for (int round = 0; round < kRounds && !stop; ++round) {
      while (!loop_->TryEnter()) std::this_thread::yield();
      loop_->MarkReady(&source, EPOLLOUT);
      loop_->Leave();
      served.wait(round);
    }
  });
  std::thread contender([&] {
    while (!stop) {
      if (loop_->TryEnter()) loop_->Leave();
      std::this_thread::yield();
    }
  });
  while (served.load() < kRounds) {
    if (!poller_.Wait(kWaitLimitMs)) {
      ADD_FAILURE() << "work was left and nothing announced it, after " << served.load();
      break;
    }
    for (;;) {
      const StatusOr<bool> did = loop_->Turn(0);
      if (!did.ok()) {
        EXPECT_EQ(did.status().code(), LEVER_BUSY);
        break;
      }
      if (!*did) break;
    }
  }
  stop = true;
  served.store(kRounds);  // lets the worker go, whatever was lost
  served.notify_one();
  worker.join();
  contender.join();
}

INSTANTIATE_TEST_SUITE_P(, LoopPoller,
                         ::testing::Values(Kind::kPoll, Kind::kLevelTriggered,
                                           Kind::kEdgeTriggered),
                         [](const auto& info) -> std::string {
                           switch (info.param) {
                             case Kind::kPoll:
                               return "Poll";
                             case Kind::kLevelTriggered:
                               return "LevelTriggered";
                             case Kind::kEdgeTriggered:
                               return "EdgeTriggered";
                           }
                           return "";
                         });

}  // namespace
}  // namespace lever
