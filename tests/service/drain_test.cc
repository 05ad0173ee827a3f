// The order of a drain: the state machine by itself, and a service that goes through it.
#include "liblever/service/drain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "liblever/base/random.h"
#include "tests/service/service_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using Phase = Drain::Phase;
using Step = Drain::Step;

// Lets time pass to where the machine asked to be woken, and takes its step.
Step Wake(const Drain& before, Drain* drain, int64_t* now_ns, bool empty) {
  *now_ns = std::max(*now_ns, before.WakeNs());
  return drain->Next(*now_ns, empty);
}

TEST(DrainMachine, ServesUntilItBegins) {
  Drain drain;
  EXPECT_EQ(drain.phase(), Phase::kServing);
  EXPECT_EQ(drain.WakeNs(), kNever);
  drain.RequestCame(5);
  EXPECT_EQ(drain.Next(kNever - 1, true), Step::kNone);
  EXPECT_FALSE(drain.refusing());
}

TEST(DrainMachine, RefusesOnceNoRequestHasComeForTwoHundredMilliseconds) {
  Drain drain;
  drain.Begin(0, kDrainTimeoutNs);
  drain.RequestCame(100 * kNanosPerMilli);
  EXPECT_EQ(drain.Next(kQuietNs, true), Step::kNone);
  EXPECT_EQ(drain.Next(100 * kNanosPerMilli + kQuietNs - 1, true), Step::kNone);
  EXPECT_FALSE(drain.refusing());
  EXPECT_EQ(drain.Next(100 * kNanosPerMilli + kQuietNs, false), Step::kRefuse);
  EXPECT_TRUE(drain.refusing());
}

TEST(DrainMachine, RefusesAfterTwoSecondsHoweverManyCome) {
  Drain drain;
  drain.Begin(0, kDrainTimeoutNs);
  int64_t now_ns = 0;
  for (; now_ns < kQuietMaxNs; now_ns += 10 * kNanosPerMilli) {
    drain.RequestCame(now_ns);
    ASSERT_EQ(drain.Next(now_ns, false), Step::kNone);
  }
  EXPECT_EQ(drain.Next(now_ns, false), Step::kRefuse);
}

TEST(DrainMachine, IsDrainedWhenNothingIsLeft) {
  Drain drain;
  drain.Begin(0, kDrainTimeoutNs);
  EXPECT_EQ(drain.Next(kQuietNs, true), Step::kRefuse);
  EXPECT_EQ(drain.Next(kQuietNs, false), Step::kNone);
  EXPECT_EQ(drain.Next(kQuietNs + 1, true), Step::kDrained);
  EXPECT_EQ(drain.WakeNs(), kNever);
  EXPECT_EQ(drain.Next(kNever - 1, true), Step::kNone);
}

TEST(DrainMachine, CutsOffAtTheTimeoutAndWaitsASecondMore) {
  Drain drain;
  drain.Begin(0, 5 * kNanosPerSecond);
  EXPECT_EQ(drain.Next(kQuietNs, false), Step::kRefuse);
  EXPECT_EQ(drain.Next(5 * kNanosPerSecond - 1, false), Step::kNone);
  EXPECT_EQ(drain.Next(5 * kNanosPerSecond, false), Step::kCutOff);
  EXPECT_EQ(drain.Next(6 * kNanosPerSecond - 1, false), Step::kNone);
  EXPECT_EQ(drain.Next(6 * kNanosPerSecond, false), Step::kDrained);
}

TEST(DrainMachine, ATimeoutShorterThanTheQuietEndsTheQuiet) {
  Drain drain;
  drain.Begin(0, kNanosPerMilli);
  EXPECT_EQ(drain.WakeNs(), kNanosPerMilli);
  EXPECT_EQ(drain.Next(kNanosPerMilli, false), Step::kRefuse);
  EXPECT_EQ(drain.Next(kNanosPerMilli, false), Step::kCutOff);
}

TEST(DrainMachine, ASecondBeginChangesNothing) {
  Drain drain;
  drain.Begin(0, kNanosPerSecond);
  drain.Begin(kNanosPerSecond / 2, kDrainTimeoutNs);
  EXPECT_EQ(drain.WakeNs(), kQuietNs);
}

// Every history of up to twelve events: a request, time passing a little or to the next wake, all
// requests ended or not. Whatever comes, the steps come in their order, each once, and within bounds.
TEST(DrainMachine, EveryHistoryKeepsTheOrder) {
  constexpr int kEvents = 12;
  constexpr int64_t kTimeoutNs = 3 * kNanosPerSecond;
  enum Event { kRequest, kLittle, kWake, kEmpty, kEventKinds };
  int histories = 0;
  for (int code = 0; code < (1 << (2 * kEvents)); code += 1 + code % 7) {
    Drain drain;
    int64_t now_ns = 0;
    bool empty = false;
    std::vector<Step> steps;
    drain.Begin(now_ns, kTimeoutNs);
    int64_t refused_ns = kNever;
    for (int i = 0; i < kEvents; ++i) {
      switch ((code >> (2 * i)) % kEventKinds) {
        case kRequest:
          drain.RequestCame(now_ns);
          if (!drain.refusing()) empty = false;
          break;
        case kLittle: now_ns += 90 * kNanosPerMilli; break;
        case kWake:
          if (drain.WakeNs() != kNever) now_ns = std::max(now_ns, drain.WakeNs());
          break;
        case kEmpty: empty = true; break;
      }
      for (Step step = drain.Next(now_ns, empty); step != Step::kNone; step = drain.Next(now_ns, empty)) {
        steps.push_back(step);
        if (step == Step::kRefuse) refused_ns = now_ns;
        if (step == Step::kDrained) {
          ASSERT_TRUE(empty || now_ns >= kTimeoutNs + kCutOffNs);
        }
      }
      // What Next() had nothing to say to now, it has nothing to say to before WakeNs().
      ASSERT_GT(drain.WakeNs(), now_ns);
    }
    ++histories;
    static const std::vector<std::vector<Step>> kOrders = {
        {}, {Step::kRefuse}, {Step::kRefuse, Step::kDrained}, {Step::kRefuse, Step::kCutOff},
        {Step::kRefuse, Step::kCutOff, Step::kDrained}};
    ASSERT_NE(std::find(kOrders.begin(), kOrders.end(), steps), kOrders.end()) << code;
    if (refused_ns != kNever) {
      ASSERT_LE(std::min(kQuietNs, now_ns), refused_ns) << code;
    }
    // Left alone it always ends, and in time.
    for (int i = 0; i < 5 && drain.phase() != Phase::kDrained; ++i) {
      const Drain before = drain;
      Wake(before, &drain, &now_ns, false);
    }
    ASSERT_EQ(drain.phase(), Phase::kDrained) << code;
  }
  EXPECT_GT(histories, 1'000'000);
}

// ---- A service ----

class DrainingService : public ServiceTest {
 protected:
  // What the host has heard: "ready", "draining", "drained".
  std::vector<std::string> Heard() {
    std::vector<std::string> heard;
    for (const auto& message : attach().received) {
      if (message.has_ready()) heard.push_back("ready");
      if (message.has_draining()) heard.push_back("draining");
      if (message.has_drained()) heard.push_back("drained " + std::to_string(message.drained().cut_off()));
    }
    return heard;
  }
  void RequestDrain(int64_t timeout_ns) {
    v1::ToInstance message;
    message.mutable_drain()->set_timeout_ns(static_cast<uint64_t>(timeout_ns));
    message.mutable_drain()->set_reason("idle");
    Do([&] { attach().Send(message); });
    ASSERT_TRUE(Until([&] { return service->state() == State::kDraining; }));
  }
  bool Drained() {
    for (int i = 0; i < 100 && service->state() != State::kDrained; ++i) Advance(100 * kNanosPerMilli);
    return service->state() == State::kDrained;
  }
};

TEST_F(DrainingService, WithoutCallsGoesThroughItsStatesInOrder) {
  Start();
  Do([&] { service->Drain(); });
  ASSERT_TRUE(Drained());
  Settle();
  EXPECT_THAT(program.states,
              ElementsAre(State::kStarting, State::kAttached, State::kDraining, State::kDrained));
  EXPECT_THAT(Heard(), ElementsAre("ready", "draining", "drained 0"));
  // The session was ended from our side, in order.
  ASSERT_TRUE(Until([&] { return attach().call == nullptr; }));
  EXPECT_TRUE(attach().handler->status.ok()) << attach().handler->Text();
}

TEST_F(DrainingService, TakesCallsUntilItIsQuietThenRefusesThemUnexecuted) {
  Start();
  rpc::Channel* caller = Introduced();
  TestCall& warm = Call(caller, {});
  ASSERT_TRUE(Until([&] { return warm.ended(); }));
  // It holds the drain up, so that the connection stays for what comes late.
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    EXPECT_TRUE(call.Begin());
    held = &call;
  };
  TestCall& running = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  program.on_call = nullptr;
  RequestDrain(30 * kNanosPerSecond);
  for (int i = 0; i < 5; ++i) {
    Advance(150 * kNanosPerMilli);
    TestCall& late = Call(caller, {});
    ASSERT_TRUE(Until([&] { return late.ended(); }));
    EXPECT_TRUE(late.status.ok()) << late.Text();
  }
  TestCall* refused = nullptr;
  for (int i = 0; i < 10 && refused == nullptr; ++i) {
    Advance(kQuietNs);
    TestCall& late = Call(caller, {});
    ASSERT_TRUE(Until([&] { return late.ended(); }));
    if (!late.status.ok()) refused = &late;
  }
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(refused->status.executed(), LEVER_EXECUTED_NO) << refused->Text();
  EXPECT_FALSE(running.ended());
  EXPECT_EQ(service->state(), State::kDraining);
  Do([&] { EXPECT_TRUE(held->Reply(Kind::kRaw, Bytes("done"), nullptr).ok()); });
  ASSERT_TRUE(Until([&] { return running.ended(); }));
  EXPECT_TRUE(running.status.ok()) << running.Text();
  ASSERT_TRUE(Drained());
  EXPECT_THAT(Heard(), ElementsAre("ready", "drained 0"));
}

TEST_F(DrainingService, ACallThatWasOfferedBeforeTheRefusalDoesNotBeginAfterIt) {
  Start();
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) { held = &call; };
  TestCall& call = Call(Introduced(), {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  RequestDrain(30 * kNanosPerSecond);
  Advance(kQuietNs);
  Do([&] { EXPECT_FALSE(held->Begin()); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_TRUE(Drained());
}

TEST_F(DrainingService, WhatRunsTooLongIsCutOffAndCounted) {
  Start();
  IncomingCall* held = nullptr;
  IncomingCall* offered = nullptr;
  program.on_call = [&](IncomingCall& call) {
    if (held == nullptr) {
      EXPECT_TRUE(call.Begin());
      held = &call;
    } else {
      offered = &call;
    }
  };
  program.on_stream = [](IncomingStream& stream) { EXPECT_TRUE(stream.Begin()); };
  rpc::Channel* caller = Introduced();
  TestCall& running = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  TestCall& waiting = Call(caller, {});
  TestCall& stream = Stream(caller);
  ASSERT_TRUE(Until([&] { return offered != nullptr && stream.log == "H"; }));
  RequestDrain(3 * kNanosPerSecond);
  AdvanceInSteps(3 * kNanosPerSecond, 100 * kNanosPerMilli);
  ASSERT_TRUE(Until([&] { return running.ended() && waiting.ended() && stream.ended(); }));
  for (TestCall* cut : {&running, &stream}) {
    EXPECT_EQ(cut->status.code(), LEVER_UNAVAILABLE) << cut->Text();
    EXPECT_EQ(cut->status.executed(), LEVER_EXECUTED_UNKNOWN) << cut->Text();
  }
  EXPECT_EQ(waiting.status.executed(), LEVER_EXECUTED_NO) << "it had not begun";
  EXPECT_EQ(program.cancelled, 2);
  EXPECT_EQ(program.ends.size(), 1u);
  // The program never answers: the drain ends all the same.
  ASSERT_TRUE(Drained());
  Settle();
  EXPECT_EQ(Heard().back(), "drained 3");
}

TEST_F(DrainingService, TheShortestTimeoutIsTheHostsPatience) {
  host->welcome.set_drain_timeout_ns(20 * kNanosPerSecond);
  Start();
  program.on_call = [](IncomingCall& call) { EXPECT_TRUE(call.Begin()); };
  TestCall& call = Call(Introduced(), {});
  ASSERT_TRUE(Until([&] { return program.calls == 1; }));
  RequestDrain(1 * kNanosPerSecond);
  AdvanceInSteps(1 * kNanosPerSecond, 100 * kNanosPerMilli);
  ASSERT_TRUE(Until([&] { return call.ended(); }));
}

TEST_F(DrainingService, AHostThatGoesMeanwhileDoesNotStopIt) {
  Start();
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    EXPECT_TRUE(call.Begin());
    held = &call;
  };
  TestCall& call = Call(Introduced(), {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  RequestDrain(30 * kNanosPerSecond);
  Do([&] { host->server->Close(Unavailable("the host died")); });
  Advance(kQuietNs);
  Do([&] { EXPECT_TRUE(held->Reply(Kind::kRaw, Bytes("done"), nullptr).ok()); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok());
  ASSERT_TRUE(Drained());
}

TEST_F(DrainingService, ClosedInTheMiddleItStillTellsItsEndOnce) {
  Start();
  program.on_call = [](IncomingCall& call) { EXPECT_TRUE(call.Begin()); };
  TestCall& call = Call(Introduced(), {});
  ASSERT_TRUE(Until([&] { return program.calls == 1; }));
  RequestDrain(30 * kNanosPerSecond);
  Advance(kQuietNs);
  Close();
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(program.cancelled, 1);
}

}  // namespace
}  // namespace lever::service
