// Listeners whose connections have to be admitted, and channels that connect once.
#include <gtest/gtest.h>

#include "tests/rpc/call_fixture.h"

namespace lever::rpc {
namespace {

constexpr int64_t kTimeoutNs = 10 * kNanosPerSecond;

class Admission : public CallClockTest {
 protected:
  void SetUp() override {
    CallClockTest::SetUp();
    dispatcher.on_call = [this](TestCall& handler, Call& call) {
      tags.push_back(server->connection_tag(call));
      if (call.headers().Find("admit").has_value()) {
        server->Admit(call, std::make_shared<int>(5), loop->now_ns() + life_ns);
        tags.push_back(server->connection_tag(call));
      }
      EchoUnary(handler, call);
    };
    Do([&] {
      ASSERT_TRUE(server->Listen(*Endpoint::Parse("127.0.0.1:0"), {.admission_timeout_ns = kTimeoutNs}).ok());
      channel = Channel::Once(loop.get(), server->bound());
    });
    ASSERT_TRUE(Until([&] { return channel->state() == Channel::State::kReady; }));
  }
  void Ask(bool admit) {
    HeaderList metadata;
    if (admit) metadata.Add("admit", "1");
    TestCall& call = Unary("x", {.metadata = &metadata});
    ASSERT_TRUE(UntilEnd(call));
    EXPECT_TRUE(call.status.ok()) << call.Text();
  }
  void Pass(int64_t ns) {
    clock.Advance(ns);
    Settle();
  }
  bool Closes() {
    return Until([&] { return channel->state() == Channel::State::kClosed; });
  }

  int64_t life_ns = 60 * kNanosPerSecond;
  std::vector<void*> tags;
};

TEST_F(Admission, AConnectionThatNobodyAdmitsIsClosed) {
  Ask(false);
  EXPECT_EQ(tags, std::vector<void*>{nullptr}) << "what it asks is dispatched without a tag";
  Pass(kTimeoutNs - 1);
  EXPECT_EQ(channel->state(), Channel::State::kReady);
  Pass(1);
  EXPECT_TRUE(Closes());
  EXPECT_EQ(server->open_connections(), 0u);
}

TEST_F(Admission, ItsTagIsThatOfTheCallAndOfThoseThatFollow) {
  Ask(true);
  Ask(false);
  ASSERT_EQ(tags.size(), 3u);
  EXPECT_EQ(tags[0], nullptr);
  ASSERT_NE(tags[1], nullptr);
  EXPECT_EQ(*static_cast<int*>(tags[1]), 5);
  EXPECT_EQ(tags[2], tags[1]);
}

TEST_F(Admission, AtItsEndTheConnectionDrainsAndWhatRunsGoesOn) {
  Call* held = nullptr;
  Ask(true);
  dispatcher.on_call = [&](TestCall&, Call& call) {
    call.Read(1);
    held = &call;
  };
  TestCall& running = Unary("x");
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Pass(life_ns - 1);
  EXPECT_EQ(channel->state(), Channel::State::kReady);
  Pass(1);
  EXPECT_TRUE(Closes());
  EXPECT_EQ(server->open_connections(), 1u);
  Do([&] {
    held->Write(Bytes("done"));
    held->Finish(Status::Ok());
  });
  ASSERT_TRUE(UntilEnd(running));
  EXPECT_TRUE(running.status.ok()) << running.Text();
  EXPECT_EQ(running.messages.at(0), "done");
}

TEST_F(Admission, AnotherListenerAsksForNone) {
  Do([&] {
    ASSERT_TRUE(server->Listen(*Endpoint::Parse("127.0.0.1:0")).ok());
    channel = Channel::Once(loop.get(), server->bound());
  });
  Ask(false);
  Pass(10 * kTimeoutNs);
  Ask(false);
}

TEST_F(Admission, AChannelThatConnectsOnceIsClosedWhenItsConnectionEnds) {
  Do([&] { server.reset(); });
  EXPECT_TRUE(Closes());
  TestCall& late = Unary("x");
  ASSERT_TRUE(UntilEnd(late));
  EXPECT_EQ(late.status.code(), LEVER_UNAVAILABLE);
  EXPECT_TRUE(late.never_written);
}

TEST_F(Admission, AndWhereNobodyListens) {
  const Endpoint gone = server->bound();
  Do([&] {
    server.reset();
    channel = Channel::Once(loop.get(), gone);
  });
  EXPECT_TRUE(Closes());
}

}  // namespace
}  // namespace lever::rpc
