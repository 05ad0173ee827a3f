// Streams of resources that go on where their resource moves to, at the method's side.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/policy/grant.h"
#include "liblever/service/consumption.h"
#include "liblever/service/drain.h"
#include "tests/service/resource_service_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ResumeTest : public ResourceServiceTest {
 protected:
  ResumeTest() {
    resource_options.resumes = true;
    program.on_stream = [this](IncomingStream& stream) {
      incoming = &stream;
      if (begins) {
        ASSERT_TRUE(stream.Begin());
      }
    };
  }

  static v1::Message Arguments() {
    v1::Message message;
    message.set_value("\x90");
    return message;
  }
  static v1::Message ResumedAt(const std::string& token, uint64_t received, uint64_t consumed) {
    v1::Message message = Arguments();
    message.set_resume(token);
    message.set_received(received);
    message.set_consumed(consumed);
    return message;
  }
  static SliceList Raw(const std::string& bytes) {
    v1::Message message;
    message.set_raw(bytes);
    return Packed(message);
  }
  // A caller's stream of the cart.
  TestCall& Open(const v1::Message& first = Arguments(), uint64_t credit = UINT64_MAX,
                 const std::string& resume = "1") {
    TestCall& handler = asked.emplace_back();
    Do([&] {
      rpc::HeaderList headers;
      for (const auto& [name, value] : OfCart("watchChan", Gen(7))) headers.Add(name, value);
      if (!resume.empty()) headers.Add("lever-resume", resume);
      rpc::CallOptions options;
      options.path = route::kStreamPath;
      options.metadata = &headers;
      options.initial_credit_messages = credit;
      handler.call = caller->StartCall(options, &handler);
      handler.call->Write(Packed(first));
    });
    return handler;
  }
  // The same, offered to the program, and begun if it begins.
  TestCall& Start(const v1::Message& first = Arguments(), uint64_t credit = UINT64_MAX) {
    StartOwning(7, options);
    TestCall& call = Open(first, credit);
    AnswerState();
    Settle();
    EXPECT_NE(incoming, nullptr);
    return call;
  }
  void Send(TestCall& call, const std::vector<std::string>& messages) {
    Do([&] {
      for (const std::string& message : messages) call.call->Write(Raw(message));
    });
    Settle();
  }
  void Read(uint64_t messages) {
    Do([&] { incoming->Read(messages, 0); });
    Settle();
  }
  void Write(const std::string& bytes) {
    Do([&] { ASSERT_TRUE(incoming->Write(Kind::kRaw, Bytes(bytes)).ok()); });
    Settle();
  }
  Status MoveOn(uint64_t unread) {
    Status status;
    Do([&] { status = incoming->MoveOn(unread); });
    Settle();
    return status;
  }
  std::vector<v1::Message> Received(const TestCall& call) {
    std::vector<v1::Message> received;
    for (const std::string& bytes : call.messages) received.push_back(ParseMessage(bytes));
    return received;
  }
  // What the caller was told last of what was read; 0: nothing.
  uint64_t Consumed(const TestCall& call) {
    uint64_t consumed = 0;
    for (const v1::Message& message : Received(call)) {
      if (message.consumed() == 0) continue;
      EXPECT_GT(message.consumed(), consumed) << "it only rises";
      consumed = message.consumed();
    }
    return consumed;
  }
  void ExpectMoved(const TestCall& call, const std::string& owner, uint64_t generation,
                   uint64_t consumed) {
    ASSERT_TRUE(call.ended());
    EXPECT_TRUE(call.status.ok()) << call.Text();
    ASSERT_FALSE(call.messages.empty());
    const v1::Message last = ParseMessage(call.messages.back());
    ASSERT_TRUE(last.has_moved());
    EXPECT_EQ(last.moved().owner(), owner);
    EXPECT_EQ(last.moved().shard(), shard);
    EXPECT_EQ(last.moved().generation(), generation);
    EXPECT_EQ(last.moved().consumed(), consumed);
  }

  ServiceOptions options;
  bool begins = true;
  IncomingStream* incoming = nullptr;
};

TEST_F(ResumeTest, AStreamMovesWithWhatWasReadAndTheResourceIsClosedAfterIt) {
  TestCall& call = Start();
  EXPECT_EQ(call.headers.Find("lever-resume"), "1");
  EXPECT_EQ(incoming->resumed(), nullptr);
  Read(10);
  Send(call, {"a", "b", "c", "d"});
  EXPECT_THAT(program.messages, ElementsAre("a", "b", "c", "d"));
  Release(7, "i-2", 8);
  EXPECT_EQ(program.moving, 1);
  EXPECT_FALSE(call.ended());
  // Nothing comes to the method any more, and what it says still goes out.
  Send(call, {"e"});
  Do([&] { call.call->CloseSend(); });
  Settle();
  EXPECT_EQ(program.messages.size(), 4u);
  EXPECT_EQ(program.half_closed, 0);
  Write("the last");
  EXPECT_EQ(Received(call).back().raw(), "the last");
  EXPECT_TRUE(program.closings.empty()) << "the method runs";
  EXPECT_TRUE(MoveOn(1).ok());
  ExpectMoved(call, "i-2", 8, 3);
  EXPECT_EQ(program.closings.size(), 1u);
  ASSERT_EQ(program.ends.size(), 1u);
  EXPECT_TRUE(program.ends[0].ok());
  EXPECT_EQ(program.ends[0].executed(), LEVER_EXECUTED_YES);
}

TEST_F(ResumeTest, TheProgramMayMoveOnAtOnceAndClosesTheResourceFromInside) {
  StartOwning(7);
  std::vector<TestCall*> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(&Open());
  AnswerState();
  Settle();
  EXPECT_EQ(program.streams, 5);
  program.on_moving = [](route::MessageStream& stream) {
    EXPECT_TRUE(static_cast<IncomingStream&>(stream).MoveOn(0).ok());
  };
  Release(7, "i-2", 8);
  Settle();
  for (const TestCall* call : calls) ExpectMoved(*call, "i-2", 8, 0);
  ASSERT_EQ(program.closings.size(), 1u);
  Do([&] {
    EXPECT_TRUE(service->ResourceClosed(program.closings[0].first, Status::Ok(), Kind::kNone, nullptr)
                    .ok());
  });
  ASSERT_TRUE(Until([&] { return Released().size() == 1; }));
  EXPECT_TRUE(Released()[0].clean());
}

TEST_F(ResumeTest, TheNextOwnerMayNotBeKnown) {
  TestCall& call = Start();
  Release(7, "", 0);
  EXPECT_TRUE(MoveOn(0).ok());
  ExpectMoved(call, "", 7, 0);
}

TEST_F(ResumeTest, WhoDoesNotSayThatItResumesIsCutAsEver) {
  StartOwning(7);
  TestCall& call = Open(Arguments(), UINT64_MAX, "");
  TestCall& other = Open(Arguments(), UINT64_MAX, "2");
  AnswerState();
  Settle();
  EXPECT_FALSE(call.headers.Find("lever-resume").has_value());
  EXPECT_FALSE(other.headers.Find("lever-resume").has_value());
  Do([&] {
    incoming->Read(1, 0);
    EXPECT_TRUE(incoming->WriteResumable(Kind::kRaw, Bytes("x"), "token").ok());
  });
  Send(other, {"a"});
  Read(1);
  Write("y");
  for (const v1::Message& message : Received(other)) {
    EXPECT_FALSE(message.has_resume());
    EXPECT_EQ(message.consumed(), 0u);
  }
  EXPECT_EQ(MoveOn(0).code(), LEVER_FAILED_PRECONDITION);
  Release(7, "i-2", 8);
  EXPECT_EQ(program.moving, 0);
  for (TestCall* one : {&call, &other}) {
    ASSERT_TRUE(one->ended());
    EXPECT_EQ(one->status.code(), LEVER_UNAVAILABLE);
    EXPECT_EQ(one->status.executed(), LEVER_EXECUTED_UNKNOWN);
  }
}

TEST_F(ResumeTest, AResourceThatDoesNotResumeCutsAllAndRefusesTheResumed) {
  resource_options.resumes = false;
  TestCall& call = Start();
  EXPECT_FALSE(call.headers.Find("lever-resume").has_value());
  TestCall& resumed = Open(ResumedAt("token", 1, 1));
  ExpectUnrun(resumed, LEVER_UNIMPLEMENTED, "cannot be resumed");
  Release(7, "i-2", 8);
  ASSERT_TRUE(call.ended());
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(program.moving, 0);
}

TEST_F(ResumeTest, BegunOnAnotherThreadItIsToldWhenThatIsKnown) {
  begins = false;
  program.begun_elsewhere = true;
  TestCall& call = Start();
  Release(7, "i-2", 8);
  EXPECT_EQ(program.moving, 0);
  EXPECT_FALSE(call.ended());
  EXPECT_EQ(MoveOn(0).code(), LEVER_FAILED_PRECONDITION);
  Send(call, {"a"});
  Do([&] {
    incoming->Read(5, 0);
    incoming->SetBegun();
  });
  Settle();
  EXPECT_EQ(program.moving, 1);
  EXPECT_TRUE(program.messages.empty());
  EXPECT_EQ(call.headers.Find("lever-resume"), "1") << "or its caller would not go on";
  EXPECT_TRUE(MoveOn(0).ok());
  ExpectMoved(call, "i-2", 8, 0);
}

TEST_F(ResumeTest, OfferedAndNotBegunItIsSentToTheNextOwner) {
  begins = false;
  TestCall& call = Start(ResumedAt("token", 3, 4));
  Release(7, "i-2", 8);
  ExpectUnrun(call, LEVER_UNAVAILABLE, "does not own");
  EXPECT_EQ(call.trailers.Find("lever-owner"), "i-2");
  EXPECT_EQ(program.moving, 0);
  EXPECT_EQ(program.closings.size(), 1u);
}

TEST_F(ResumeTest, AMethodThatDoesNotReturnIsCutAtTheTimeout) {
  options.drain_timeout_ns = 3 * kNanosPerSecond;
  TestCall& call = Start();
  Release(7, "i-2", 8);
  AdvanceInSteps(2 * kNanosPerSecond, kQuietNs);
  EXPECT_FALSE(call.ended());
  EXPECT_TRUE(program.closings.empty());
  AdvanceInSteps(kNanosPerSecond, kQuietNs);
  ASSERT_TRUE(call.ended());
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_EQ(program.closings.size(), 1u);
}

TEST_F(ResumeTest, GivenUpAndMovedOnInTheSameTurnItEndsOnce) {
  options.drain_timeout_ns = 3 * kNanosPerSecond;
  TestCall& call = Start();
  Release(7, "i-2", 8);
  clock.Advance(3 * kNanosPerSecond);
  // Nor has it heard that it is cut off.
  Do([&] {
    incoming->Cancel(Unavailable("the program gives it up"));
    EXPECT_TRUE(incoming->MoveOn(0).ok());
    EXPECT_EQ(incoming->MoveOn(0).code(), LEVER_FAILED_PRECONDITION);
  });
  Settle();
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_EQ(call.ends, 1);
  EXPECT_EQ(program.closings.size(), 1u);
}

TEST_F(ResumeTest, AnErrorOrAnEndWhileItMovesIsTheMethodsOwn) {
  StartOwning(7);
  TestCall& failing = Open();
  AnswerState();
  Settle();
  IncomingStream* first = incoming;
  TestCall& ending = Open();
  Settle();
  Release(7, "i-2", 8);
  EXPECT_EQ(program.moving, 2);
  Do([&] { EXPECT_TRUE(first->Fail(Kind::kErrorRaw, Bytes("oops")).ok()); });
  Settle();
  ASSERT_TRUE(failing.ended());
  EXPECT_TRUE(failing.status.ok());
  EXPECT_EQ(Received(failing).back().error_raw(), "oops");
  EXPECT_TRUE(program.closings.empty());
  Do([&] {
    incoming->CloseSend();
    EXPECT_EQ(incoming->MoveOn(0).code(), LEVER_FAILED_PRECONDITION);
  });
  Settle();
  ASSERT_TRUE(ending.ended());
  EXPECT_TRUE(ending.status.ok());
  EXPECT_TRUE(ending.messages.empty()) << "no `moved`";
  EXPECT_EQ(program.closings.size(), 1u);
}

// ---- Who does not read ----

// The method ends so, with much that its caller has not read.
class UnreadTest : public ResumeTest {
 protected:
  v1::Message LastAfter(const std::function<void()>& end) {
    TestCall& call = Start(Arguments(), 0);
    Write(std::string(200'000, 'm'));
    Release(7, "i-2", 8);
    Do(end);
    Settle();
    EXPECT_FALSE(call.ended());
    EXPECT_EQ(program.closings.size(), 1u) << "the resource does not wait for the caller";
    Do([&] { call.call->Read(10); });
    EXPECT_TRUE(Until([&] { return call.ended(); }));
    EXPECT_TRUE(call.status.ok()) << call.Text();
    return Received(call).back();
  }
};

TEST_F(UnreadTest, ACallerWhoDoesNotReadHoldsUpNoMove) {
  EXPECT_TRUE(LastAfter([&] { EXPECT_TRUE(incoming->MoveOn(0).ok()); }).has_moved());
}

TEST_F(UnreadTest, NorDoesItWhereTheMethodEndsByItself) {
  EXPECT_EQ(LastAfter([&] { incoming->CloseSend(); }).raw().size(), 200'000u);
}

TEST_F(UnreadTest, NorWhereItFails) {
  const auto fail = [&] { EXPECT_TRUE(incoming->Fail(Kind::kErrorRaw, Bytes("oops")).ok()); };
  EXPECT_EQ(LastAfter(fail).error_raw(), "oops");
}

TEST_F(ResumeTest, AMethodThatHasEndedBeforeItsResourceMovesIsNotToldAndHoldsNothingUp) {
  TestCall& call = Start(Arguments(), 0);
  Write(std::string(200'000, 'm'));
  Do([&] { incoming->CloseSend(); });
  Settle();
  EXPECT_FALSE(call.ended()) << "it has not read it";
  Release(7, "i-2", 8);
  EXPECT_EQ(program.moving, 0);
  EXPECT_EQ(program.closings.size(), 1u);
  Do([&] { call.call->Read(10); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok()) << "what it has ended with is not lost";
  EXPECT_EQ(call.messages.size(), 1u);
}

TEST_F(ResumeTest, ItsCallerMayLeaveWhileItMoves) {
  TestCall& call = Start();
  Release(7, "i-2", 8);
  Do([&] { call.call->Cancel(Cancelled("enough")); });
  Settle();
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_EQ(program.closings.size(), 1u) << "without MoveOn(): the stream has ended";
}

TEST_F(ResumeTest, WithoutAGrantNothingIsSaidOfWhereItGoes) {
  TestCall& call = Start();
  Release(7, "i-2", 8);
  clock.Advance(policy::kGrantTermNs);
  EXPECT_TRUE(MoveOn(0).ok());
  ASSERT_TRUE(call.ended());
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_TRUE(call.messages.empty());
  EXPECT_EQ(program.closings.size(), 1u);
}

// ---- Resumed ----

TEST_F(ResumeTest, AResumedStreamIsOfferedWithItsPointAndCountsOn) {
  TestCall& call = Start(ResumedAt("token", 12, 40));
  ASSERT_NE(incoming->resumed(), nullptr);
  EXPECT_EQ(incoming->resumed()->token, "token");
  EXPECT_EQ(incoming->resumed()->received, 12u);
  EXPECT_EQ(incoming->resumed()->consumed, 40u);
  EXPECT_EQ(Concat(incoming->payload()), "\x90");
  Read(2);
  Send(call, {"a", "b", "c"});
  EXPECT_THAT(program.messages, ElementsAre("a", "b"));
  Read(1);
  Write("x");
  EXPECT_EQ(Consumed(call), 41u);
  Release(7, "i-2", 8);
  EXPECT_TRUE(MoveOn(2).ok()) << "a was told to be read; b and c were not";
  ExpectMoved(call, "i-2", 8, 41);
}

TEST_F(ResumeTest, AnEmptyTokenResumesToo) {
  Start(ResumedAt("", 0, 0));
  ASSERT_NE(incoming->resumed(), nullptr);
  EXPECT_EQ(incoming->resumed()->token, "");
}

TEST_F(ResumeTest, UnreadMessagesAreNeverMoreThanCameNorLessThanTold) {
  TestCall& call = Start(ResumedAt("t", 0, 40));
  Read(5);
  Send(call, {"a", "b", "c"});
  Release(7, "i-2", 8);
  EXPECT_TRUE(MoveOn(UINT64_MAX).ok());
  ExpectMoved(call, "i-2", 8, 40);
}

TEST_F(ResumeTest, WhatItsCallerWasToldIsNotTakenBack) {
  TestCall& call = Start();
  Read(5);
  Send(call, {"a", "b", "c"});
  Read(3);
  Write("x");
  EXPECT_EQ(Consumed(call), 3u);
  Release(7, "i-2", 8);
  EXPECT_TRUE(MoveOn(2).ok());
  ExpectMoved(call, "i-2", 8, 3);
}

TEST_F(ResumeTest, NumbersAndTokensThatCannotBeAreRefusedUnexecuted) {
  StartOwning(7);
  const uint64_t beyond = (uint64_t{1} << 52) + 1;
  ExpectUnrun(Open(ResumedAt("t", beyond, 0)), LEVER_INVALID_ARGUMENT, "such numbers");
  ExpectUnrun(Open(ResumedAt("t", 0, beyond)), LEVER_INVALID_ARGUMENT, "such numbers");
  ExpectUnrun(Open(ResumedAt("t", UINT64_MAX, UINT64_MAX)), LEVER_INVALID_ARGUMENT, "such numbers");
  ExpectUnrun(Open(ResumedAt(std::string(4097, 't'), 0, 0)), LEVER_INVALID_ARGUMENT, "4096");
  EXPECT_EQ(program.streams, 0);
  TestCall& most = Open(ResumedAt(std::string(4096, 't'), beyond - 1, beyond - 1));
  AnswerState();
  Settle();
  ASSERT_NE(incoming, nullptr) << most.Text();
  EXPECT_EQ(incoming->resumed()->token.size(), 4096u);
  // Of the service itself no stream is resumed.
  TestCall& plain = Call(caller, {.path = route::kStreamPath, .headers = {{"lever-url", "/hello/echoChan"}, {"lever-resume", "1"}}},
                         {Packed(ResumedAt("t", 0, 0))}, false);
  ExpectUnrun(plain, LEVER_UNIMPLEMENTED, "cannot be resumed");
}

TEST_F(ResumeTest, TokensGoOutWithTheirMessages) {
  TestCall& call = Start();
  Do([&] {
    EXPECT_TRUE(incoming->WriteResumable(Kind::kRaw, Bytes("a"), "one").ok());
    EXPECT_TRUE(incoming->WriteResumable(Kind::kRaw, Bytes("b"), "").ok());
    EXPECT_TRUE(incoming->Write(Kind::kRaw, Bytes("c")).ok());
    EXPECT_TRUE(incoming->WriteResumable(Kind::kRaw, Bytes("d"), std::string(4096, 't')).ok());
    EXPECT_EQ(incoming->WriteResumable(Kind::kRaw, Bytes("e"), std::string(4097, 't')).code(),
              LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(incoming->WriteResumable(Kind::kErrorRaw, Bytes("e"), "t").code(),
              LEVER_INVALID_ARGUMENT);
  });
  Settle();
  const auto received = Received(call);
  ASSERT_EQ(received.size(), 4u);
  EXPECT_EQ(received[0].resume(), "one");
  EXPECT_TRUE(received[1].has_resume());
  EXPECT_EQ(received[1].resume(), "");
  EXPECT_FALSE(received[2].has_resume());
  EXPECT_EQ(received[3].resume().size(), 4096u);
}

// ---- What was read ----

TEST_F(ResumeTest, TheFirstCreditIsTheWindowAndEachLaterOneSaysWhatWasRead) {
  TestCall& call = Start();
  Read(0);
  Read(300);
  std::vector<std::string> small(300, "x");
  Send(call, small);
  EXPECT_EQ(program.messages.size(), 300u);
  EXPECT_EQ(Consumed(call), 0u) << "none was read";
  Read(255);
  EXPECT_EQ(Consumed(call), 0u) << "it is not worth a message of its own";
  Read(1);
  EXPECT_EQ(Consumed(call), 256u);
  EXPECT_EQ(call.messages.size(), 1u);
  Read(4);
  Write("said with it");
  EXPECT_EQ(Consumed(call), 260u);
  EXPECT_EQ(call.messages.size(), 2u);
  Write("nothing new");
  EXPECT_EQ(Received(call).back().consumed(), 0u);
  Read(UINT64_MAX);
  Write("x");
  EXPECT_EQ(Consumed(call), 300u) << "no more than has come";
}

TEST_F(ResumeTest, WhatWasReadIsSaidEach16KilobytesAtTheLatest) {
  TestCall& call = Start();
  Read(1000);
  // In one go; what is read later is said all the same.
  Send(call, std::vector<std::string>(100, std::string(4096, 'x')));
  ASSERT_EQ(program.messages.size(), 100u);
  uint64_t last = 0;
  for (uint64_t read = 1; read <= 100; ++read) {
    Read(1);
    const uint64_t consumed = Consumed(call);
    ASSERT_LE(consumed, read);
    ASSERT_LE(read - consumed, 3u) << "a mark is at each 16 KiB";
    last = consumed;
  }
  EXPECT_EQ(last, 100u);
  EXPECT_EQ(call.messages.size(), 25u);
}

TEST_F(ResumeTest, OneLargeMessageIsSaidAtOnce) {
  TestCall& call = Start();
  Read(1);
  Send(call, {std::string(1 << 20, 'x')});
  ASSERT_TRUE(Until([&] { return program.messages.size() == 1; }));
  Read(1);
  EXPECT_EQ(Consumed(call), 1u);
}

TEST_F(ResumeTest, ACallerWhoDoesNotReadMakesNothingGrowAndIsToldLater) {
  TestCall& call = Start(Arguments(), 0);
  Read(1000);
  const auto write = [&] {
    Do([&] { ASSERT_TRUE(incoming->Write(Kind::kRaw, Bytes(std::string(100'000, 'x'))).ok()); });
  };
  while (incoming->Writable()) write();
  const size_t queued = incoming->queued_bytes();
  for (int i = 0; i < 50; ++i) {
    Send(call, std::vector<std::string>(20, std::string(1000, 'y')));
    Read(20);
  }
  EXPECT_EQ(program.messages.size(), 1000u);
  EXPECT_EQ(incoming->queued_bytes(), queued) << "no reports pile up";
  Do([&] { call.call->Read(UINT64_MAX); });
  ASSERT_TRUE(Until([&] { return Consumed(call) == 1000; })) << "though nothing is read or written any more";
}

TEST_F(ResumeTest, ABrokenMessageEndsItAndNotWhileItMoves) {
  StartOwning(7);
  TestCall& broken = Open();
  AnswerState();
  Settle();
  Do([&] {
    incoming->Read(10, 0);
    broken.call->Write(Bytes("\x0a\xff"));
  });
  Settle();
  ASSERT_TRUE(broken.ended());
  EXPECT_EQ(broken.status.code(), LEVER_INVALID_ARGUMENT);
  TestCall& moved = Open();
  Settle();
  Do([&] {
    incoming->Read(10, 0);
    v1::Message message;
    message.mutable_moved();
    moved.call->Write(Packed(message));
  });
  Settle();
  ASSERT_TRUE(moved.ended()) << "only the method's side moves";
  EXPECT_EQ(moved.status.code(), LEVER_INVALID_ARGUMENT);
  TestCall& last = Open();
  Settle();
  Read(10);
  Release(7, "i-2", 8);
  Do([&] { last.call->Write(Bytes("\x0a\xff")); });
  Settle();
  EXPECT_FALSE(last.ended()) << "it is looked at elsewhere";
  EXPECT_TRUE(MoveOn(0).ok());
  ExpectMoved(last, "i-2", 8, 0);
}

TEST_F(ResumeTest, ADrainMovesStreamsOnAndIsDoneWithThem) {
  TestCall& call = Start();
  program.on_moving = [](route::MessageStream& stream) {
    EXPECT_TRUE(static_cast<IncomingStream&>(stream).MoveOn(0).ok());
  };
  Do([&] { service->Drain(); });
  AdvanceInSteps(kQuietMaxNs, kQuietNs);
  EXPECT_FALSE(call.ended());
  Release(7, "i-2", 8);
  ExpectMoved(call, "i-2", 8, 0);
  ASSERT_EQ(program.closings.size(), 1u);
  Do([&] {
    EXPECT_TRUE(service->ResourceClosed(program.closings[0].first, Status::Ok(), Kind::kNone, nullptr)
                    .ok());
  });
  ASSERT_TRUE(Until([&] { return service->state() == State::kDrained; }));
}

// ---- The numbers alone ----

TEST(Consumption, ABackLogIsToldAsItIsReadAndItsMarksAreFew) {
  Consumption consumption;
  consumption.Begin(100);
  for (int i = 0; i < 100'000; ++i) consumption.Delivered(Consumption::kReportBytes);
  EXPECT_FALSE(consumption.Due());
  EXPECT_FALSE(consumption.News());
  consumption.Read(1);
  EXPECT_TRUE(consumption.Due());
  EXPECT_EQ(consumption.Report(), 101u);
  EXPECT_FALSE(consumption.Due());
  consumption.Read(UINT64_MAX);
  EXPECT_TRUE(consumption.Due());
  EXPECT_EQ(consumption.Report(), 100'100u);
  EXPECT_FALSE(consumption.Due());
  EXPECT_EQ(consumption.AllBut(3), 100'100u);
}

}  // namespace
}  // namespace lever::service
