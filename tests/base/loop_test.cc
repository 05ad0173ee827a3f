// Sources, turn ends and the bounds of a turn.
#include "liblever/base/loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <thread>
#include <vector>

#include "tests/base/loop_testing.h"

namespace lever {
namespace {

using ::testing::ElementsAre;

TEST(Loop, ATurnWithNothingToDoDoesNothing) {
  auto loop = OpenLoop();
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_FALSE(TurnOf(*loop, kNanosPerMilli));
}

TEST(Loop, DescriptorsAreCloseOnExec) {
  auto loop = OpenLoop();
  EXPECT_EQ(::fcntl(loop->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(Loop, CallsASourceWhenItIsReadable) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  EXPECT_FALSE(TurnOf(*loop));
  source.Send("hello");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(source.received, "hello");
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_EQ(source.calls, 1);
}

TEST(Loop, ASourceThatIsNotDrainedIsCalledAgainWithoutAnEdge) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  source.bytes_per_call = 1;
  source.Send("abc");
  for (int turn = 0; turn < 3; ++turn) EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(source.received, "abc");
  EXPECT_TRUE(TurnOf(*loop)) << "the source has not seen EAGAIN yet";
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(Loop, HangUpOfThePeerIsReported) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  source.ClosePeer();
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_NE(source.last_events & EPOLLRDHUP, 0u);
  EXPECT_NE(source.last_events & EPOLLHUP, 0u);
}

TEST(Loop, APausedSourceIsNotCalledAndDoesNotMakeTheDescriptorReadable) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  ASSERT_TRUE(loop->Rewatch(&source, 0).ok());
  source.Send("x");
  source.ClosePeer();  // not even a hang-up
  EXPECT_FALSE(Readable(loop->fd()));
  EXPECT_FALSE(TurnOf(*loop));
  ASSERT_TRUE(loop->Rewatch(&source, EPOLLIN).ok());
  EXPECT_TRUE(Readable(loop->fd())) << "what came meanwhile is announced";
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(source.received, "x");
}

TEST(Loop, PausingTakesASourceOffTheReadyList) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  source.bytes_per_call = 1;
  source.Send("ab");
  EXPECT_TRUE(TurnOf(*loop));
  {
    LoopHold hold(loop.get());
    ASSERT_TRUE(hold.held());
    ASSERT_TRUE(loop->Rewatch(&source, 0).ok());
  }
  EXPECT_FALSE(Readable(loop->fd()));
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_EQ(source.received, "a");
}

TEST(Loop, ASourceThatPausesItselfIsOffTheReadyListWhateverItReturns) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  source.bytes_per_call = 1;
  source.on_ready = [&] { EXPECT_TRUE(loop->Rewatch(&source, 0).ok()); };
  source.Send("ab");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_EQ(source.received, "a");
}

TEST(Loop, ASourceDestroyedByAnotherInTheSameBatchIsNotCalled) {
  auto loop = OpenLoop();
  auto one = std::make_unique<ReadingSource>(loop.get());
  auto other = std::make_unique<ReadingSource>(loop.get());
  int calls = 0;
  one->on_ready = [&] { ++calls, other.reset(); };
  other->on_ready = [&] { ++calls, one.reset(); };
  one->Send("x");
  other->Send("x");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_EQ(calls, 1);
}

TEST(Loop, ASourceThatTakesTheSlotOfADestroyedOneDoesNotGetItsEvents) {
  auto loop = OpenLoop();
  auto one = std::make_unique<ReadingSource>(loop.get());
  auto other = std::make_unique<ReadingSource>(loop.get());
  std::unique_ptr<ReadingSource> heir;
  const auto replace = [&](std::unique_ptr<ReadingSource>& victim) {
    return [&] {
      victim.reset();
      if (heir == nullptr) heir = std::make_unique<ReadingSource>(loop.get());
    };
  };
  one->on_ready = replace(other);
  other->on_ready = replace(one);
  one->Send("x");
  other->Send("x");
  EXPECT_TRUE(TurnOf(*loop));
  ASSERT_NE(heir, nullptr);
  EXPECT_EQ(heir->calls, 0);
}

TEST(Loop, ASourceMayDestroyItself) {
  class Once final : public IoSource {
   public:
    explicit Once(Loop* loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {
      EXPECT_TRUE(loop_->Watch(fd_.get(), EPOLLIN, this).ok());
    }
    uint32_t OnReady(uint32_t) override {
      loop_->Unwatch(this);
      delete this;
      return 0;
    }

   private:
    Loop* loop_;
    UniqueFd fd_;
  };
  auto loop = OpenLoop();
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_TRUE(pair.ok());
  new Once(loop.get(), std::move(pair->first));
  ASSERT_EQ(::write(pair->second.get(), "x", 1), 1);
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_FALSE(TurnOf(*loop));
}

TEST(Loop, WatchingWhatCannotBeWatchedIsAnError) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  loop->Unwatch(&source);
  EXPECT_FALSE(loop->Watch(-1, EPOLLIN, &source).ok());
  UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  EXPECT_FALSE(loop->Watch(file.get(), EPOLLIN, &source).ok());
}

TEST(Loop, MarkReadyCallsASourceWithoutAnEdge) {
  auto loop = OpenLoop();
  ReadingSource source(loop.get());
  {
    LoopHold hold(loop.get());
    loop->MarkReady(&source, EPOLLOUT);
  }
  EXPECT_TRUE(Readable(loop->fd()));
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(source.last_events, static_cast<uint32_t>(EPOLLOUT));
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(Loop, ATurnServesAtMostItsBoundOldestFirst) {
  auto loop = OpenLoop({.events_per_turn = 2});
  std::vector<std::unique_ptr<ReadingSource>> sources;
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) {
    sources.push_back(std::make_unique<ReadingSource>(loop.get()));
    sources.back()->on_ready = [&order, i] { order.push_back(i); };
  }
  for (auto& source : sources) source->Send("x");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(order.size(), 2u);
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(order.size(), 4u);
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_FALSE(TurnOf(*loop));
}

TEST(Loop, ASourceWithEndlessWorkDoesNotStarveTheOthers) {
  auto loop = OpenLoop({.events_per_turn = 1});
  ReadingSource busy(loop.get());
  busy.bytes_per_call = 1;
  busy.on_ready = [&] { busy.Send("x"); };
  busy.Send("xx");
  ReadingSource other(loop.get());
  EXPECT_TRUE(TurnOf(*loop));
  other.Send("y");
  for (int turn = 0; turn < 3; ++turn) EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(other.received, "y");
}

TEST(Loop, TurnEndRunsOnceHoweverOftenItWasMarked) {
  auto loop = OpenLoop();
  int ends = 0;
  FunctionTurnEnd end([&] { ++ends; });
  ReadingSource source(loop.get());
  source.on_ready = [&] {
    loop->AtTurnEnd(&end);
    loop->AtTurnEnd(&end);
    EXPECT_EQ(ends, 0) << "not before the end";
  };
  source.Send("x");
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(ends, 1);
  EXPECT_FALSE(TurnOf(*loop));
  EXPECT_EQ(ends, 1);
}

TEST(Loop, LeaveFlushesUnlessToldToDefer) {
  auto loop = OpenLoop();
  int ends = 0;
  FunctionTurnEnd end([&] { ++ends; });
  ASSERT_TRUE(loop->TryEnter());
  loop->AtTurnEnd(&end);
  loop->Leave();
  EXPECT_EQ(ends, 1);
  EXPECT_FALSE(Readable(loop->fd()));

  ASSERT_TRUE(loop->TryEnter());
  loop->AtTurnEnd(&end);
  loop->Leave(LeaveMode::kDeferFlush);
  EXPECT_EQ(ends, 1);
  EXPECT_TRUE(Readable(loop->fd())) << "what is dirty is work left";
  ASSERT_TRUE(loop->TryEnter());
  loop->Leave();
  EXPECT_EQ(ends, 2);
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(Loop, AFlushThatWasPromisedIsNotThatOfWhatOthersHavePosted) {
  auto loop = OpenLoop();
  int ends = 0;
  FunctionTurnEnd end([&] { ++ends; });
  ASSERT_TRUE(loop->TryEnter());
  loop->AtTurnEnd(&end);
  loop->Leave(LeaveMode::kPromiseFlush);
  EXPECT_EQ(ends, 0);
  EXPECT_FALSE(Readable(loop->fd())) << "that is the promise";
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(ends, 1);

  ASSERT_TRUE(loop->TryEnter());
  std::thread([&] { loop->Post([&] { loop->AtTurnEnd(&end); }); }).join();
  loop->Leave(LeaveMode::kPromiseFlush);
  EXPECT_EQ(ends, 1);
  EXPECT_TRUE(Readable(loop->fd())) << "who posted does not wait for us to flush";
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_EQ(ends, 2);
}

TEST(Loop, ATurnEndThatMarksItselfForEverDoesNotHangTheTurn) {
  auto loop = OpenLoop();
  bool again = true;
  FunctionTurnEnd end([&] {
    if (again) loop->AtTurnEnd(&end);
  });
  ASSERT_TRUE(loop->TryEnter());
  loop->AtTurnEnd(&end);
  loop->Leave();
  EXPECT_TRUE(Readable(loop->fd())) << "it is still due";
  again = false;
  EXPECT_TRUE(TurnOf(*loop));
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(Loop, ADestroyedTurnEndIsForgotten) {
  auto loop = OpenLoop();
  ASSERT_TRUE(loop->TryEnter());
  {
    FunctionTurnEnd end([] { FAIL(); });
    loop->AtTurnEnd(&end);
  }
  loop->Leave();
}

TEST(Loop, WorkOutsideKeepsTheDescriptorReadable) {
  auto loop = OpenLoop();
  ASSERT_TRUE(loop->TryEnter());
  loop->SetWorkOutside(true);
  loop->Leave();
  EXPECT_TRUE(Readable(loop->fd()));
  ASSERT_TRUE(loop->TryEnter());
  ASSERT_TRUE(loop->RunTurn(0).ok());
  loop->Leave();
  EXPECT_TRUE(Readable(loop->fd())) << "a turn alone does not fetch it";
  ASSERT_TRUE(loop->TryEnter());
  loop->SetWorkOutside(false);
  loop->Leave();
  EXPECT_FALSE(Readable(loop->fd()));
}

TEST(Loop, InsideIsTrueOnlyForTheLoopThatTheThreadHolds) {
  auto outer = OpenLoop();
  auto inner = OpenLoop();
  EXPECT_FALSE(outer->Inside());
  ASSERT_TRUE(outer->TryEnter());
  EXPECT_TRUE(outer->Inside());
  EXPECT_FALSE(inner->Inside());
  {
    LoopHold hold(inner.get());
    EXPECT_TRUE(inner->Inside());
    EXPECT_TRUE(outer->Inside()) << "nested on one thread";
    LoopHold again(inner.get());
    EXPECT_TRUE(again.held());
  }
  EXPECT_FALSE(inner->Inside());
  EXPECT_TRUE(outer->Inside());
  outer->Leave();
  EXPECT_FALSE(outer->Inside());
}

TEST(Loop, ATurnInsideATurnIsBusy) {
  auto loop = OpenLoop();
  int tried = 0;
  loop->Post([&] {
    ++tried;
    EXPECT_EQ(loop->Turn(0).status().code(), LEVER_BUSY);
    EXPECT_EQ(loop->Turn(-1).status().code(), LEVER_BUSY);
  });
  EXPECT_EQ(tried, 1);
}

}  // namespace
}  // namespace lever
