// Streams that come in, from their headers to their one end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/service/service_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;

class IncomingStreams : public ServiceTest {
 protected:
  IncomingStreams() {
    Start();
    caller = Introduced();
    program.on_stream = [&](IncomingStream& stream) {
      incoming = &stream;
      if (begin) began = stream.Begin();
    };
  }
  TestCall& Open() {
    TestCall& call = Stream(caller);
    EXPECT_TRUE(Until([&] { return incoming != nullptr; }));
    return call;
  }
  void Send(TestCall& call, std::string_view value) {
    Do([&] { call.call->Write(ValueMessage(value)); });
  }
  rpc::Channel* caller;
  IncomingStream* incoming = nullptr;
  bool begin = true;
  bool began = false;
};

TEST_F(IncomingStreams, HeadersGoAtOnceWhenItHasBegun) {
  begin = false;
  TestCall& call = Open();
  Settle();
  EXPECT_EQ(call.log, "");
  Do([&] { EXPECT_TRUE(incoming->Begin()); });
  ASSERT_TRUE(Until([&] { return call.log == "H"; }));
}

TEST_F(IncomingStreams, MessagesGoBothWaysAndTheEndIsTold) {
  program.on_message = [](route::MessageStream& stream) { stream.Read(1, 0); };
  program.on_half_closed = [](route::MessageStream& stream) { stream.CloseSend(); };
  TestCall& call = Open();
  Do([&] {
    incoming->Read(1, 0);
    EXPECT_TRUE(incoming->Write(Kind::kValue, Bytes("\x01")).ok());
    EXPECT_TRUE(incoming->Write(Kind::kRaw, {}).ok());
    EXPECT_EQ(incoming->Write(Kind::kErrorValue, Bytes("\x01")).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(incoming->Write(Kind::kValue, Bytes("\x91")).code(), LEVER_INVALID_ARGUMENT);
  });
  Send(call, "\x07");
  Send(call, "\x08");
  Do([&] { call.call->CloseSend(); });
  ASSERT_TRUE(Until([&] { return call.ended() && !program.ends.empty(); }));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_THAT(program.messages, ElementsAre("\x07", "\x08"));
  EXPECT_EQ(program.half_closed, 1);
  EXPECT_EQ(call.messages.size(), 2u);
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_TRUE(program.ends[0].ok());
  EXPECT_EQ(program.ends[0].executed(), LEVER_EXECUTED_YES);
}

TEST_F(IncomingStreams, WithoutCreditNothingIsDelivered) {
  TestCall& call = Open();
  for (int i = 0; i < 5; ++i) Send(call, "\x07");
  Settle();
  EXPECT_EQ(program.messages.size(), 0u);
  Do([&] { incoming->Read(2, 0); });
  ASSERT_TRUE(Until([&] { return program.messages.size() == 2; }));
  Settle();
  EXPECT_EQ(program.messages.size(), 2u);
}

TEST_F(IncomingStreams, CreditInBytesCoversAtLeastOneMessageAndIsMadeUpFirst) {
  TestCall& call = Open();
  for (int i = 0; i < 5; ++i) Send(call, "\x93\x01\x02\x03");
  Do([&] { incoming->Read(100, 1); });
  Settle();
  EXPECT_EQ(program.messages.size(), 1u);
  Do([&] { incoming->Read(100, 3); });
  Settle();
  EXPECT_EQ(program.messages.size(), 1u);
  Do([&] { incoming->Read(100, 5); });
  Settle();
  EXPECT_EQ(program.messages.size(), 3u);
}

TEST_F(IncomingStreams, BookkeepingIsNotDeliveredAndCostsNoCredit) {
  TestCall& call = Open();
  Do([&] { incoming->Read(1, 0); });
  v1::Message note;
  note.set_received(5);
  for (int i = 0; i < 3; ++i) Do([&] { call.call->Write(Packed(note)); });
  Send(call, "\x07");
  ASSERT_TRUE(Until([&] { return program.messages.size() == 1; }));
}

TEST_F(IncomingStreams, TheMethodsErrorIsTheLastMessageWithStatusZero) {
  TestCall& call = Open();
  Do([&] {
    EXPECT_EQ(incoming->Fail(Kind::kValue, Bytes("\x01")).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_TRUE(incoming->Fail(Kind::kErrorValue, Bytes("\xa3" "bad")).ok());
    EXPECT_EQ(incoming->Fail(Kind::kErrorValue, Bytes("\x01")).code(), LEVER_FAILED_PRECONDITION);
    EXPECT_EQ(incoming->Write(Kind::kRaw, {}).code(), LEVER_FAILED_PRECONDITION);
  });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(ParseMessage(call.messages.back()).error_value(), "\xa3" "bad");
}

TEST_F(IncomingStreams, ACallersMessageThatIsBrokenEndsIt) {
  for (const std::string& message : {std::string("\x0a\x01\x91"), std::string("\x1a\x01\x01"), std::string("\xff")}) {
    program.ends.clear();
    incoming = nullptr;
    TestCall& call = Open();
    Do([&] {
      incoming->Read(10, 0);
      call.call->Write(Bytes(message));
    });
    ASSERT_TRUE(Until([&] { return call.ended() && !program.ends.empty(); }));
    EXPECT_EQ(call.status.code(), LEVER_INVALID_ARGUMENT) << call.Text();
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN) << "it had begun";
    EXPECT_EQ(program.ends.size(), 1u);
  }
  EXPECT_TRUE(program.messages.empty());
}

TEST_F(IncomingStreams, ACallerThatCancelsEndsIt) {
  TestCall& call = Open();
  Do([&] { call.call->Cancel(Cancelled("enough")); });
  ASSERT_TRUE(Until([&] { return !program.ends.empty(); }));
  EXPECT_EQ(program.ends[0].code(), LEVER_CANCELLED);
  EXPECT_EQ(call.status.code(), LEVER_CANCELLED);
}

TEST_F(IncomingStreams, AConnectionThatBreaksEndsIt) {
  Open();
  Do([&] { channels.back()->Close(Unavailable("gone")); });
  ASSERT_TRUE(Until([&] { return !program.ends.empty(); }));
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_FALSE(program.ends[0].ok());
}

// Seen: a stream that its program had cancelled before it began told its caller `lever-executed: no`,
// and then began all the same.
TEST_F(IncomingStreams, GivenUpBeforeItBeganItDoesNotBegin) {
  begin = false;
  TestCall& call = Open();
  Do([&] {
    incoming->Cancel(Unavailable("not today"));
    EXPECT_FALSE(incoming->Begin());
  });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  Settle();
  EXPECT_TRUE(program.ends.empty()) << "Begin() was its last word";
}

TEST_F(IncomingStreams, WhoseDeadlineHasPassedDoesNotBegin) {
  begin = false;
  TestCall& call = Call(caller, {.path = route::kStreamPath,
                                 .headers = {{"lever-url", "/hello/echoChan"}},
                                 .deadline_ns = clock.NowNs() + kNanosPerSecond},
                        {ValueMessage("\x90")}, false);
  ASSERT_TRUE(Until([&] { return incoming != nullptr; }));
  clock.Advance(kNanosPerSecond);
  Do([&] { EXPECT_FALSE(incoming->Begin()); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.code(), LEVER_DEADLINE_EXCEEDED);
}

TEST_F(IncomingStreams, AFullQueueIsWritableAgainOnce) {
  TestCall& call = Open();
  int writable = 0;
  class Counter final : public StreamHandler {
   public:
    explicit Counter(int* count) : count_(count) {}
    void OnMessage(route::MessageStream&, Kind, SliceList) override {}
    void OnWritable(route::MessageStream&) override { ++*count_; }
    void OnEnd(route::MessageStream&, Outcome) override { *count_ += 1000; }

   private:
    int* count_;
  } counter(&writable);
  Do([&] {
    incoming->set_handler(&counter);
    while (incoming->Writable()) ASSERT_TRUE(incoming->Write(Kind::kRaw, Bytes(std::string(64 * 1024, 'x'))).ok());
    incoming->WantWritable();
    EXPECT_EQ(writable, 0);
  });
  ASSERT_TRUE(Until([&] { return writable > 0; }));
  Settle();
  EXPECT_EQ(writable, 1);
  Do([&] { incoming->CloseSend(); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  ASSERT_TRUE(Until([&] { return writable == 1001; }));
}

TEST_F(IncomingStreams, CloseEndsThemWithCancelledAndIsLast) {
  TestCall& call = Open();
  program.on_call = [](IncomingCall& held) { EXPECT_TRUE(held.Begin()); };
  TestCall& unanswered = Call(caller, {});
  ASSERT_TRUE(Until([&] { return program.calls == 1; }));
  Do([&] {
    service->Close();
    EXPECT_FALSE(program.closed);
  });
  ASSERT_TRUE(Until([&] { return program.closed; }));
  EXPECT_EQ(program.ends.size(), 1u);
  EXPECT_EQ(program.ends[0].code(), LEVER_CANCELLED);
  EXPECT_EQ(program.cancelled, 1);
  ASSERT_TRUE(Until([&] { return call.ended() && unanswered.ended(); }));
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(unanswered.status.executed(), LEVER_EXECUTED_UNKNOWN);
}

}  // namespace
}  // namespace lever::service
