// Streams of resources that go on where the resource moves to, at the caller's side.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/client/client_stream.h"
#include "tests/client/redirect_fixture.h"

namespace lever::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Resume : public Redirect {
 protected:
  Resume() {
    SendTable(1, 7);
    for (const auto& instance : instances) instance->on_call = Accept;
    host->on_call = Accept;
  }

  // As an owner does whose resources can resume streams.
  static void Accept(TestCall&, rpc::Call& call) {
    rpc::HeaderList headers;
    headers.Add("lever-resume", "1");
    call.SendHeaders(&headers);
    call.Read(UINT64_MAX);
  }
  static Request OfRoom(uint64_t credit = 1000) {
    Request request;
    request.address = "/hello/room/watchChan";
    request.read_messages = credit;
    return request;
  }
  // A stream that "a" has begun.
  Result& Open(Request request = OfRoom()) {
    Result& result = Stream(std::move(request));
    Settle();
    EXPECT_THAT(CallsOf(0), SizeIs(1));
    return result;
  }
  Status Write(Result& result, const std::string& bytes) {
    Status status;
    Do([&] { status = result.stream->Write(Kind::kRaw, Bytes(bytes)); });
    Settle();
    return status;
  }
  void Say(TestCall& at, const std::function<void(v1::Message&)>& fill) {
    v1::Message message;
    fill(message);
    Do([&] { at.call->Write(Packed(message)); });
    Settle();
  }
  void SayRaw(TestCall& at, const std::string& bytes) {
    Say(at, [&](v1::Message& message) { message.set_raw(bytes); });
  }
  void SayMoved(TestCall& at, const std::string& owner, uint64_t generation, uint64_t consumed) {
    Say(at, [&](v1::Message& message) {
      message.mutable_moved()->set_owner(owner);
      message.mutable_moved()->set_shard(shard_);
      message.mutable_moved()->set_generation(generation);
      message.mutable_moved()->set_consumed(consumed);
    });
  }
  void Finish(TestCall& at, const Status& status = Status::Ok()) {
    // Null if the caller has ended it meanwhile.
    Do([&] {
      if (at.call != nullptr) at.call->Finish(status);
    });
    Settle();
  }
  void Move(TestCall& at, const std::string& owner, uint64_t generation, uint64_t consumed) {
    SayMoved(at, owner, generation, consumed);
    Finish(at);
  }
  // What it resumes there, as its first message says.
  void ExpectResumed(const TestCall& at, const std::string& token, uint64_t received,
                     uint64_t consumed) {
    ASSERT_FALSE(at.messages.empty());
    const v1::Message first = ParseMessage(at.messages[0]);
    EXPECT_EQ(first.value(), "\x90");
    EXPECT_TRUE(first.has_resume());
    EXPECT_EQ(first.resume(), token);
    EXPECT_EQ(first.received(), received);
    EXPECT_EQ(first.consumed(), consumed);
  }
  // The messages behind the first.
  std::vector<std::string> Sent(const TestCall& at) {
    std::vector<std::string> sent;
    for (size_t i = 1; i < at.messages.size(); ++i) sent.push_back(ParseMessage(at.messages[i]).raw());
    return sent;
  }
  void ExpectEnd(Result& result, lever_status code, lever_executed executed,
                 const std::string& says = "") {
    ASSERT_TRUE(Ended(result));
    EXPECT_EQ(result.status.code(), code) << result.status.ToString();
    EXPECT_EQ(result.status.executed(), executed);
    EXPECT_THAT(result.status.message(), HasSubstr(says));
    EXPECT_EQ(result.ends, 1);
  }
};

TEST_F(Resume, AMovedStreamGoesOnAtTheOwnerThatIsNamed) {
  Result& result = Open();
  TestCall& at_a = CallsOf(0)[0];
  EXPECT_EQ(at_a.headers.Find("lever-resume"), "1");
  EXPECT_FALSE(ParseMessage(at_a.messages[0]).has_resume());
  for (const char* message : {"1", "2", "3", "4"}) EXPECT_TRUE(Write(result, message).ok());
  EXPECT_THAT(Sent(at_a), ElementsAre("1", "2", "3", "4"));
  Say(at_a, [](auto& message) {
    message.set_raw("x");
    message.set_resume("token");
    message.set_consumed(1);
  });
  SayRaw(at_a, "y");
  Move(at_a, "b", 8, 2);
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  TestCall& at_b = CallsOf(1)[0];
  EXPECT_EQ(Generation(at_b), Stamp(8));
  EXPECT_EQ(at_b.headers.Find("lever-resume"), "1");
  EXPECT_EQ(at_b.headers.Find("lever-attempt"), "1");
  ExpectResumed(at_b, "token", 2, 2);
  EXPECT_THAT(Sent(at_b), ElementsAre("3", "4"));
  // It is one stream to its program.
  EXPECT_TRUE(Write(result, "5").ok());
  SayRaw(at_b, "z");
  EXPECT_THAT(Sent(at_b), ElementsAre("3", "4", "5"));
  EXPECT_THAT(result.messages, ElementsAre("x", "y", "z"));
  Do([&] { result.stream->CloseSend(); });
  Settle();
  EXPECT_THAT(at_b.log, HasSubstr("P"));
  Finish(at_b);
  ExpectEnd(result, LEVER_OK, LEVER_EXECUTED_YES);
  ASSERT_TRUE(result.resume.has_value());
  EXPECT_EQ(result.resume->token, "token");
  EXPECT_EQ(result.resume->received, 3u);
  EXPECT_EQ(ThroughHost(), 0u);
}

TEST_F(Resume, ItMovesAgainAndAgain) {
  Result& result = Open();
  uint64_t generation = 7;
  for (int i = 1; i <= 20; ++i) {
    TestCall& here = CallsOf((i + 1) % 2).back();
    EXPECT_TRUE(Write(result, std::to_string(i)).ok());
    Say(here, [&](auto& message) {
      message.set_raw("m");
      message.set_resume("t" + std::to_string(i));
    });
    // Each second owner reads nothing.
    Move(here, i % 2 == 1 ? "b" : "a", ++generation, i / 2 * 2);
    TestCall& there = CallsOf(i % 2).back();
    ASSERT_NE(there.call, nullptr);
    ExpectResumed(there, "t" + std::to_string(i), i, i / 2 * 2);
    EXPECT_THAT(Sent(there), SizeIs(i % 2));
  }
  EXPECT_FALSE(result.ended());
  EXPECT_EQ(result.messages.size(), 20u);
}

TEST_F(Resume, AnOwnerThatIsNotKnownIsFoundByTheHost) {
  Result& result = Open();
  EXPECT_TRUE(Write(result, "1").ok());
  Move(CallsOf(0)[0], "", 7, 0);
  ASSERT_EQ(ThroughHost(), 1u);
  TestCall& at_host = *HostCalls().back();
  ExpectResumed(at_host, "", 0, 0);
  EXPECT_THAT(Sent(at_host), ElementsAre("1"));
  Move(at_host, "an instance of no table", 9, 1);
  ASSERT_EQ(ThroughHost(), 2u);
  EXPECT_EQ(Generation(*HostCalls().back()), Stamp(9));
  ExpectResumed(*HostCalls().back(), "", 0, 1);
  EXPECT_FALSE(result.ended());
}

TEST_F(Resume, AHalfClosedOneIsHalfClosedThereToo) {
  Result& result = Open();
  EXPECT_TRUE(Write(result, "1").ok());
  Do([&] { result.stream->CloseSend(); });
  Settle();
  Move(CallsOf(0)[0], "b", 8, 0);
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  EXPECT_THAT(Sent(CallsOf(1)[0]), ElementsAre("1"));
  EXPECT_THAT(CallsOf(1)[0].log, HasSubstr("P"));
  EXPECT_EQ(Write(result, "2").code(), LEVER_FAILED_PRECONDITION);
  Finish(CallsOf(1)[0]);
  ExpectEnd(result, LEVER_OK, LEVER_EXECUTED_YES);
}

TEST_F(Resume, WhatIsWrittenBetweenTwoOwnersGoesToTheSecond) {
  Result& result = Open();
  v1::Message moved;
  moved.mutable_moved()->set_owner("b");
  moved.mutable_moved()->set_shard(shard_);
  moved.mutable_moved()->set_generation(8);
  Do([&] {
    CallsOf(0)[0].call->Write(Packed(moved));
    EXPECT_TRUE(result.stream->Write(Kind::kRaw, Bytes("1")).ok());
  });
  Settle();
  EXPECT_TRUE(Write(result, "2").ok()) << "the owner has not ended it yet";
  instances[1]->on_call = [&](TestCall& test, rpc::Call& call) {
    EXPECT_TRUE(result.stream->Write(Kind::kRaw, Bytes("3")).ok());
    Accept(test, call);
  };
  Finish(CallsOf(0)[0]);
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  EXPECT_THAT(Sent(CallsOf(1)[0]), ElementsAre("1", "2", "3"));
}

TEST_F(Resume, ACutBehindMovedChangesNothing) {
  Result& result = Open();
  EXPECT_TRUE(Write(result, "1").ok());
  SayMoved(CallsOf(0)[0], "b", 8, 0);
  Do([&] { instances[0]->server.reset(); });
  Settle();
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  EXPECT_THAT(Sent(CallsOf(1)[0]), ElementsAre("1"));
  EXPECT_FALSE(result.ended());
}

TEST_F(Resume, ACutBeforeMovedEndsItWithItsPoint) {
  Result& result = Open();
  Say(CallsOf(0)[0], [](auto& message) {
    message.set_raw("x");
    message.set_resume("token");
  });
  Do([&] { instances[0]->server.reset(); });
  ExpectEnd(result, LEVER_UNAVAILABLE, LEVER_EXECUTED_UNKNOWN);
  ASSERT_TRUE(result.resume.has_value());
  EXPECT_EQ(result.resume->token, "token");
  EXPECT_EQ(result.resume->received, 1u);
  EXPECT_THAT(CallsOf(1), SizeIs(0));
}

TEST_F(Resume, ARefusalOfTheResumedIsFollowedWithTheSamePoint) {
  Result& result = Open();
  EXPECT_TRUE(Write(result, "1").ok());
  Say(CallsOf(0)[0], [](auto& message) {
    message.set_raw("x");
    message.set_resume("token");
  });
  instances[1]->on_call = Refuse(9, "a");
  Move(CallsOf(0)[0], "b", 8, 0);
  EXPECT_THAT(CallsOf(1), SizeIs(1));
  ASSERT_THAT(CallsOf(0), SizeIs(2));
  ExpectResumed(CallsOf(0)[1], "token", 1, 0);
  EXPECT_EQ(Generation(CallsOf(0)[1]), Stamp(9));
  EXPECT_THAT(Sent(CallsOf(0)[1]), ElementsAre("1"));
  EXPECT_FALSE(result.ended());
}

TEST_F(Resume, RunOnceItIsOfUnknownOutcomeWhereverItIsRefused) {
  Result& result = Open();
  instances[1]->on_call = FailWith(NotFound("no such room").WithExecuted(LEVER_EXECUTED_NO));
  Move(CallsOf(0)[0], "b", 8, 0);
  ExpectEnd(result, LEVER_NOT_FOUND, LEVER_EXECUTED_UNKNOWN, "no such room");
  EXPECT_TRUE(result.resume.has_value());
}

// ---- What the other side may not say ----

TEST_F(Resume, WithoutTheHeaderNothingIsKeptAndMovedEndsIt) {
  instances[0]->on_call = [](TestCall&, rpc::Call& call) {
    call.SendHeaders();
    call.Read(UINT64_MAX);
  };
  Result& result = Open();
  Say(CallsOf(0)[0], [](auto& message) {
    message.set_raw("x");
    message.set_resume("token");
    message.set_consumed(77);
  });
  SayMoved(CallsOf(0)[0], "b", 8, 0);
  ExpectEnd(result, LEVER_UNAVAILABLE, LEVER_EXECUTED_UNKNOWN, "has moved");
  EXPECT_FALSE(result.resume.has_value());
  EXPECT_THAT(CallsOf(1), SizeIs(0));
}

TEST_F(Resume, AStreamOfNoResourceIsNotResumed) {
  for (const auto& instance : instances) {
    instance->on_call = [](TestCall& test, rpc::Call& call) {
      EXPECT_FALSE(test.headers.Find("lever-resume").has_value());
      Accept(test, call);
    };
  }
  Request request;
  request.address = "/hello/watchChan";
  request.read_messages = 10;
  Result& result = Stream(std::move(request));
  Settle();
  TestCall& call = CallsOf(0).empty() ? CallsOf(1)[0] : CallsOf(0)[0];
  SayMoved(call, "b", 8, 0);
  ExpectEnd(result, LEVER_UNAVAILABLE, LEVER_EXECUTED_UNKNOWN, "has moved");
}

TEST_F(Resume, ANewOwnerThatDoesNotResumeIsNotBelieved) {
  Result& result = Open();
  instances[1]->on_call = [](TestCall&, rpc::Call& call) {
    call.SendHeaders();
    call.Read(UINT64_MAX);
  };
  Move(CallsOf(0)[0], "b", 8, 0);
  ExpectEnd(result, LEVER_UNIMPLEMENTED, LEVER_EXECUTED_UNKNOWN, "resumed no more");
  EXPECT_TRUE(result.resume.has_value());
}

class Wrong : public Resume {
 protected:
  // The stream has sent one message, of which the method has read none.
  void ExpectBroken(const std::function<void(TestCall&)>& say, const std::string& says) {
    Result& result = Open();
    EXPECT_TRUE(Write(result, "1").ok());
    say(CallsOf(0)[0]);
    ExpectEnd(result, LEVER_INTERNAL, LEVER_EXECUTED_UNKNOWN, says);
    EXPECT_THAT(CallsOf(1), SizeIs(0));
    EXPECT_EQ(ThroughHost(), 0u);
  }
};

TEST_F(Wrong, MoreReadThanWasSent) {
  ExpectBroken([&](TestCall& at) { Say(at, [](auto& m) { m.set_consumed(2); }); }, "was not sent");
}
TEST_F(Wrong, MoreReadThanWasSentOnTheMove) {
  ExpectBroken([&](TestCall& at) { Move(at, "b", 8, 2); }, "was not sent");
}
TEST_F(Wrong, LessReadThanWasSaid) {
  ExpectBroken(
      [&](TestCall& at) {
        Say(at, [](auto& m) { m.set_consumed(1); });
        Move(at, "b", 8, 0);
      },
      "less than it said before");
}
TEST_F(Wrong, MovedTwice) {
  ExpectBroken(
      [&](TestCall& at) {
        SayMoved(at, "b", 8, 0);
        Move(at, "b", 9, 0);
      },
      "after the method's last one");
}
TEST_F(Wrong, AMessageBehindMoved) {
  ExpectBroken(
      [&](TestCall& at) {
        SayMoved(at, "b", 8, 0);
        SayRaw(at, "more");
      },
      "after the method's last one");
}
TEST_F(Wrong, MovedBehindAnError) {
  ExpectBroken(
      [&](TestCall& at) {
        Say(at, [](auto& m) { m.set_error_raw("oops"); });
        Move(at, "b", 8, 0);
      },
      "after the method's last one");
}
TEST_F(Wrong, ABrokenMoved) {
  ExpectBroken(
      [&](TestCall& at) { Say(at, [](auto& m) { m.mutable_moved()->set_shard(UINT64_MAX); }); },
      "lever.v1.Moved");
}
TEST_F(Wrong, ATokenThatIsTooLarge) {
  ExpectBroken(
      [&](TestCall& at) { Say(at, [](auto& m) { m.set_resume(std::string(4097, 't')); }); },
      "too large");
}

TEST_F(Resume, AMoveToAShardThatIsNoneGoesThroughTheHost) {
  Result& result = Open();
  Say(CallsOf(0)[0], [](auto& message) {
    message.mutable_moved()->set_owner("b");
    message.mutable_moved()->set_shard(UINT32_MAX);
    message.mutable_moved()->set_generation(8);
  });
  Finish(CallsOf(0)[0]);
  EXPECT_FALSE(result.ended());
  EXPECT_EQ(CallsOf(0).size() + CallsOf(1).size() + ThroughHost(), 2u);
}

// ---- The writer waits ----

class Paced : public Resume {
 protected:
  static constexpr size_t kPiece = 16 * 1024;
  // More than is kept of any.
  static constexpr uint64_t kWrites = 2 * kUnreadBytesMax / kPiece;
  // Writes until it is told to wait: the number of messages.
  uint64_t Fill(Result& result) {
    uint64_t written = 0;
    for (; result.stream->Writable() && written < kWrites; ++written) {
      EXPECT_TRUE(Write(result, std::string(kPiece, 'w')).ok());
    }
    return written;
  }
  void AskForWritable(Result& result) {
    Do([&] { result.stream->WantWritable(); });
    Settle();
  }
};

TEST_F(Paced, TheWriterWaitsWhileMuchIsUnread) {
  Result& result = Open();
  TestCall& at_a = CallsOf(0)[0];
  const uint64_t written = Fill(result);
  EXPECT_LE(written, kReplayBytesMax / kPiece);
  EXPECT_GE(written, kReplayBytesMax / kPiece - 1);
  EXPECT_EQ(at_a.messages.size(), written + 1) << "all of it is there";
  AskForWritable(result);
  EXPECT_EQ(result.writable, 0);
  Say(at_a, [&](auto& message) { message.set_consumed(written / 2 - 1); });
  EXPECT_EQ(result.writable, 0) << "more than half is unread";
  Say(at_a, [&](auto& message) { message.set_consumed(written / 2 + 1); });
  EXPECT_EQ(result.writable, 1);
  EXPECT_TRUE(result.stream->Writable());
  EXPECT_GT(Fill(result), 0u);
}

TEST_F(Paced, EmptyMessagesAreBoundedToo) {
  Result& result = Open();
  uint64_t written = 0;
  Do([&] {
    for (; result.stream->Writable() && written < 100'000; ++written) {
      ASSERT_TRUE(result.stream->Write(Kind::kRaw, {}).ok());
    }
  });
  EXPECT_LE(written, kReplayBytesMax / kSentMessageBytes);
}

TEST_F(Paced, AWriterThatWaitsGoesOnAtTheNewOwner) {
  Result& result = Open();
  const uint64_t written = Fill(result);
  AskForWritable(result);
  Move(CallsOf(0)[0], "b", 8, 0);
  TestCall& at_b = CallsOf(1)[0];
  EXPECT_THAT(Sent(at_b), SizeIs(written));
  EXPECT_EQ(result.writable, 0);
  EXPECT_FALSE(result.stream->Writable());
  Say(at_b, [&](auto& message) { message.set_consumed(written); });
  EXPECT_EQ(result.writable, 1);
  Finish(at_b);
  ExpectEnd(result, LEVER_OK, LEVER_EXECUTED_YES);
}

TEST_F(Paced, WhatMovedSaysIsReadLetsItWriteThere) {
  Result& result = Open();
  const uint64_t written = Fill(result);
  AskForWritable(result);
  Move(CallsOf(0)[0], "b", 8, written);
  EXPECT_THAT(Sent(CallsOf(1)[0]), SizeIs(0));
  EXPECT_EQ(result.writable, 1);
}

TEST_F(Paced, BeforeItHasBegunTooAndNotAfterItHasWhereNothingIsKept) {
  instances[0]->on_call = [](TestCall&, rpc::Call& call) { call.Read(UINT64_MAX); };
  Result& result = Open();
  EXPECT_LE(Fill(result), kReplayBytesMax / kPiece);
  AskForWritable(result);
  EXPECT_EQ(result.writable, 0);
  Do([&] { CallsOf(0)[0].call->SendHeaders(); });
  Settle();
  EXPECT_EQ(result.writable, 1);
  EXPECT_EQ(Fill(result), kWrites) << "as any stream";
}

TEST_F(Paced, WhoReadsNothingIsNotKeptWaiting) {
  Result& result = Open(OfRoom(0));
  TestCall& at_a = CallsOf(0)[0];
  EXPECT_EQ(Fill(result), kWrites) << "it could not hear what was read";
  // It cannot go on elsewhere any more, and says so.
  Do([&] { result.stream->Read(1, 0); });
  Say(at_a, [](auto& message) { message.set_consumed(kWrites - 10); });
  EXPECT_FALSE(result.ended());
  SayRaw(at_a, "x");
  EXPECT_THAT(result.messages, ElementsAre("x"));
  Do([&] { result.stream->Read(1, 0); });
  SayMoved(at_a, "b", 8, kWrites);
  ExpectEnd(result, LEVER_UNAVAILABLE, LEVER_EXECUTED_UNKNOWN, "more was written");
  ASSERT_TRUE(result.resume.has_value());
  EXPECT_EQ(result.resume->received, 1u);
  EXPECT_THAT(CallsOf(1), SizeIs(0));
}

TEST_F(Paced, WhoReadsNothingAndWritesLittleGoesOn) {
  Result& result = Open(OfRoom(0));
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(Write(result, std::string(kPiece, 'w')).ok());
  Move(CallsOf(0)[0], "b", 8, 10);
  EXPECT_THAT(CallsOf(1), SizeIs(0)) << "it has not heard of it";
  Do([&] { result.stream->Read(5, 0); });
  Settle();
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  EXPECT_THAT(Sent(CallsOf(1)[0]), SizeIs(30));
  // The credit is for messages, of which `moved` is none.
  for (int i = 0; i < 6; ++i) SayRaw(CallsOf(1)[0], "x");
  EXPECT_EQ(result.messages.size(), 5u);
}

TEST_F(Paced, WhoStopsReadingWhileItWaitsToWriteIsToldToWrite) {
  Result& result = Open(OfRoom(1));
  Fill(result);
  AskForWritable(result);
  EXPECT_EQ(result.writable, 0);
  SayRaw(CallsOf(0)[0], "the last that it has credit for");
  EXPECT_EQ(result.writable, 1);
}

TEST_F(Paced, CreditInBytesOnlyIsCreditToo) {
  Request request = OfRoom(1000);
  request.read_bytes = 10;
  Result& result = Open(std::move(request));
  Fill(result);
  AskForWritable(result);
  EXPECT_EQ(result.writable, 0);
  Say(CallsOf(0)[0], [](auto& message) { message.set_consumed(10); });
  EXPECT_EQ(result.writable, 1);
  SayRaw(CallsOf(0)[0], "more than ten bytes");
  EXPECT_EQ(Fill(result), kWrites);
}

// ---- It is given up ----

TEST_F(Resume, CancelledInAnyPhaseItEndsOnce) {
  const auto cancel = [&](Result& result) {
    Do([&] { result.stream->Cancel(Cancelled("enough")); });
    ExpectEnd(result, LEVER_CANCELLED, LEVER_EXECUTED_UNKNOWN, "enough");
    EXPECT_TRUE(result.resume.has_value());
  };
  Result& behind_moved = Open();
  SayMoved(CallsOf(0).back(), "b", 8, 0);
  cancel(behind_moved);
  EXPECT_THAT(CallsOf(1), SizeIs(0));

  SendTable(1, 10);
  Result& resuming = Stream(OfRoom());
  Settle();
  instances[1]->on_call = [](TestCall&, rpc::Call& call) { call.Read(UINT64_MAX); };
  Move(CallsOf(0).back(), "b", 11, 0);
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  cancel(resuming);

  SendTable(1, 20);
  Result& waiting = Stream(OfRoom());
  Settle();
  // Refused without a hint it waits for its next attempt.
  instances[1]->on_call = FailWith(SurelyNotRun());
  Move(CallsOf(0).back(), "b", 21, 0);
  ASSERT_THAT(CallsOf(1), SizeIs(2));
  EXPECT_FALSE(waiting.ended());
  cancel(waiting);
}

TEST_F(Resume, AClientThatIsClosedEndsItWhereverItIs) {
  Result& running = Open();
  Result& moved = Stream(OfRoom());
  Settle();
  SayMoved(CallsOf(0)[1], "b", 8, 0);
  Result& waiting = Stream(OfRoom());
  Settle();
  instances[1]->on_call = FailWith(SurelyNotRun());
  if (CallsOf(0).size() == 3) Move(CallsOf(0)[2], "b", 9, 0);
  Close();
  for (Result* result : {&running, &moved, &waiting}) {
    EXPECT_EQ(result->ends, 1);
    EXPECT_NE(result->status.code(), LEVER_OK);
  }
  EXPECT_EQ(running.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(moved.status.code(), LEVER_CANCELLED);
}

TEST_F(Resume, ItsDeadlineIsTheWholeStreams) {
  Request request = OfRoom();
  request.deadline_ns = loop->now_ns() + 10 * kNanosPerSecond;
  Result& result = Open(std::move(request));
  Advance(9 * kNanosPerSecond);
  Move(CallsOf(0)[0], "b", 8, 0);
  ASSERT_THAT(CallsOf(1), SizeIs(1));
  Advance(kNanosPerSecond);
  ExpectEnd(result, LEVER_DEADLINE_EXCEEDED, LEVER_EXECUTED_UNKNOWN);
}

// ---- Taken up by the program ----

TEST_F(Resume, AProgramTakesAStreamUpWhereItHadCome) {
  const route::ResumePoint point{.token = "token", .received = 5, .consumed = 99};
  Request request = OfRoom();
  request.resume = &point;
  Result& result = Open(std::move(request));
  ExpectResumed(CallsOf(0)[0], "token", 5, 0);
  EXPECT_TRUE(Write(result, "1").ok());
  SayRaw(CallsOf(0)[0], "x");
  Move(CallsOf(0)[0], "b", 8, 1);
  ExpectResumed(CallsOf(1)[0], "token", 6, 1);
  Finish(CallsOf(1)[0]);
  ExpectEnd(result, LEVER_OK, LEVER_EXECUTED_YES);
  EXPECT_EQ(result.resume->received, 6u);
}

TEST_F(Resume, TakenUpWhereNothingIsResumedItSurelyDidNotRun) {
  const route::ResumePoint point{.token = "token", .received = 5};
  Request request = OfRoom();
  request.resume = &point;
  instances[0]->on_call =
      FailWith(Unimplemented("streams of this resource cannot be resumed").WithExecuted(LEVER_EXECUTED_NO));
  Result& result = Open(std::move(request));
  ExpectEnd(result, LEVER_UNIMPLEMENTED, LEVER_EXECUTED_NO, "cannot be resumed");
  ASSERT_TRUE(result.resume.has_value());
  EXPECT_EQ(result.resume->received, 5u);
}

TEST_F(Resume, OnlyStreamsOfResourcesAreTakenUp) {
  route::ResumePoint point{.token = "token"};
  Result result;
  const auto code = [&](const std::string& address, bool stream, bool grpc = false) {
    lever_status got = LEVER_OK;
    Do([&] {
      Request request;
      request.address = address;
      request.payload = Bytes("\x90");
      request.resume = &point;
      request.grpc = grpc;
      got = stream ? client->OpenStream(std::move(request), &result).status().code()
                   : client->StartCall(std::move(request), &result).status().code();
    });
    return got;
  };
  EXPECT_EQ(code("/hello/room/echo", false), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(code("/hello/echoChan", true), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(code("/package.Service/Method", true, true), LEVER_INVALID_ARGUMENT);
  point.token = std::string(4097, 't');
  EXPECT_EQ(code("/hello/room/watchChan", true), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever::client
