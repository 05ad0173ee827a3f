// What becomes of calls that come in: refused before the program hears of them, or handed to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "liblever/service/attachment.h"
#include "tests/service/service_fixture.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Dispatch : public ServiceTest {
 protected:
  Dispatch() {
    Start();
    caller = Introduced();
  }
  void ExpectRefused(TestCall& call, lever_status code, const std::string& says) {
    ASSERT_TRUE(Until([&] { return call.ended(); })) << says;
    EXPECT_EQ(call.status.code(), code) << call.Text();
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO) << call.Text();
    EXPECT_THAT(call.Text(), HasSubstr(says));
    EXPECT_FALSE(call.replied);
    EXPECT_EQ(program.calls + program.streams, 0) << says;
  }
  rpc::Channel* caller;
};

TEST_F(Dispatch, ACallReachesItsMethodAndIsAnswered) {
  TestCall* answered = nullptr;
  program.on_call = [&](IncomingCall& call) {
    EXPECT_EQ(call.method(), methods);
    EXPECT_EQ(call.kind(), Kind::kValue);
    EXPECT_EQ(Concat(call.payload()), "\x91\x05");
    EXPECT_EQ(call.caller(), "lever://dev.lever/shop");
    EXPECT_EQ(call.deadline_ns(), clock.NowNs() + kNanosPerSecond);
    EXPECT_EQ(call.metadata().size(), 2u);  // and the user-agent
    EXPECT_EQ(call.metadata().Find("color"), "red");
    ASSERT_TRUE(call.Begin());
    rpc::HeaderList trailing;
    trailing.Add("size", "3");
    trailing.Add("lever-executed", "no");
    trailing.Add("grpc-status", "13");
    EXPECT_TRUE(call.Reply(Kind::kValue, Bytes("\x05"), &trailing).ok());
  };
  answered = &Call(caller, {.headers = {{"lever-url", "lever://dev.lever/hello/echo"},
                                        {"lever-attempt", "1"},
                                        {"color", "red"}},
                            .deadline_ns = clock.NowNs() + kNanosPerSecond});
  ASSERT_TRUE(Until([&] { return answered->ended(); }));
  EXPECT_TRUE(answered->status.ok()) << answered->Text();
  EXPECT_EQ(ParseMessage(answered->messages.at(0)).value(), "\x05");
  EXPECT_EQ(answered->trailers.Find("size"), "3");
  EXPECT_EQ(answered->trailers.size(), 1u);
}

TEST_F(Dispatch, CompressedRequestsAreAnsweredCompressed) {
  // A raw argument of 1,000 bytes, which comes back.
  const std::string text = std::string("\x12\xe8\x07", 3) + std::string(1000, 't');
  for (const auto compression : {rpc::Compression::kGzip, rpc::Compression::kIdentity}) {
    bool compressed = false;
    TestCall& call = Call(caller, {.compression = compression}, {Bytes(text)});
    call.on_message = [&](TestCall&, rpc::Call& answer) {
      compressed = answer.message_was_compressed();
    };
    ASSERT_TRUE(Until([&] { return call.ended(); }));
    EXPECT_TRUE(call.status.ok()) << call.Text();
    EXPECT_EQ(call.messages.back(), text);
    EXPECT_EQ(compressed, compression == rpc::Compression::kGzip);
  }
}

TEST_F(Dispatch, RefusesByItsHeadersWhatMustNotRun) {
  struct Row {
    Ask ask;
    lever_status code;
    const char* says;
  };
  const auto invoke = [](std::vector<std::pair<std::string, std::string>> headers) {
    return Ask{.headers = std::move(headers)};
  };
  const std::vector<Row> rows = {
      {invoke({{"lever-url", "/hello/nope"}}), LEVER_NOT_FOUND, "no method 'nope' in service hello"},
      {invoke({{"lever-url", "/hello/echoChan"}}), LEVER_UNIMPLEMENTED, "called by Stream"},
      {{.path = route::kStreamPath}, LEVER_UNIMPLEMENTED, "called by Invoke"},
      {invoke({}), LEVER_INVALID_ARGUMENT, "needs the header lever-url"},
      {invoke({{"lever-url", "hello/echo"}}), LEVER_INVALID_ARGUMENT, ""},
      {invoke({{"lever-url", "/hello/res/echo"}}), LEVER_INVALID_ARGUMENT, ""},
      {invoke({{"lever-url", "/hello/"}}), LEVER_INVALID_ARGUMENT, ""},
      {invoke({{"lever-url", "/hello/9lives"}}), LEVER_INVALID_ARGUMENT, ""},
      {invoke({{"lever-url", "/other/echo"}}), LEVER_NOT_FOUND, "instance of lever://dev.lever/hello"},
      {invoke({{"lever-url", "lever://live.lever/hello/echo"}}), LEVER_NOT_FOUND, "not of"},
      {invoke({{"lever-url", "/hello/echo"}, {"lever-resource", "room"}}), LEVER_NOT_FOUND,
       "service hello has no resources"},
      {invoke({{"lever-url", "/hello/echo"}, {"lever-proto", "2"}}), LEVER_UNIMPLEMENTED,
       "lever-proto '2' is not spoken here, only 1"},
      {invoke({{"lever-url", "/hello/echo"}, {"lever-proto", "10"}}), LEVER_UNIMPLEMENTED, "'10'"},
      {invoke({{"lever-url", "/hello/echo"}, {"lever-proto", ""}}), LEVER_UNIMPLEMENTED, "''"},
      {{.path = "/shop.v1.Shop/Buy"}, LEVER_UNIMPLEMENTED, "no gRPC method '/shop.v1.Shop/Buy'"},
      {{.path = "/lever.v1.Lever/Delete"}, LEVER_UNIMPLEMENTED, "no gRPC method"},
  };
  for (const Row& row : rows) ExpectRefused(Call(caller, row.ask), row.code, row.says);
}

TEST_F(Dispatch, RefusesByTheirBytesArgumentsThatAreNone) {
  v1::Message error, moved, none;
  error.set_error_value("\x90");
  moved.mutable_moved()->set_owner("x");
  none.set_consumed(3);
  const std::vector<SliceList> messages = {
      ValueMessage("\x05"),                                  // not an array
      ValueMessage(std::string_view("\xdd\xff\0\0\0", 5)),   // claims four thousand million arguments
      ValueMessage("\x91"),                                  // cut short
      ValueMessage("\x90\x90"),                              // one more behind it
      ValueMessage("\x91\xa1\xff"),                          // not UTF-8
      ValueMessage(std::string(200, '\x91') + "\xc0"),       // too deep
      ValueMessage(""),
      Packed(error), Packed(moved), Packed(none), Bytes("\x0a\x7f\x90"), Bytes("\xff"), SliceList(),
  };
  for (const SliceList& message : messages) {
    ExpectRefused(Call(caller, {}, {message}), LEVER_INVALID_ARGUMENT, "");
    ExpectRefused(Call(caller, {.path = route::kStreamPath, .headers = {{"lever-url", "/hello/echoChan"}}},
                       {message}, false),
                  LEVER_INVALID_ARGUMENT, "");
  }
  ExpectRefused(Call(caller, {}, {}), LEVER_INVALID_ARGUMENT, "one message");
  ExpectRefused(Call(caller, {.path = route::kStreamPath, .headers = {{"lever-url", "/hello/echoChan"}}}, {}),
                LEVER_INVALID_ARGUMENT, "first message");
}

TEST_F(Dispatch, AnUnknownMinorProtocolIsOurs) {
  TestCall& call = Call(caller, {.headers = {{"lever-url", "/hello/echo"}, {"lever-proto", "1.9"}}});
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok()) << call.Text();
}

TEST_F(Dispatch, AMessageAboveTheTransportsLimitSurelyDidNotRun) {
  TestCall& call = Call(caller, {}, {ValueMessage(std::string(rpc::kMessageBytesMax + 1, 'x'))});
  ExpectRefused(call, LEVER_RESOURCE_EXHAUSTED, "above the limit of 4194304");
}

TEST_F(ServiceTest, TheServicesOwnLimitOnMessagesHolds) {
  ServiceOptions options;
  options.message_bytes_max = 1000;
  Start(std::move(options));
  rpc::Channel* caller = Introduced();
  const auto raw = [](size_t size) {
    v1::Message message;
    message.set_raw(std::string(size, 'x'));
    return Packed(message);
  };
  TestCall& small = Call(caller, {}, {raw(900)});
  ASSERT_TRUE(Until([&] { return small.ended(); }));
  EXPECT_TRUE(small.status.ok());
  for (const std::string_view path : {route::kInvokePath, route::kStreamPath}) {
    const char* url = path == route::kInvokePath ? "/hello/echo" : "/hello/echoChan";
    TestCall& large = Call(caller, {.path = path, .headers = {{"lever-url", url}}}, {raw(1000)});
    ASSERT_TRUE(Until([&] { return large.ended(); }));
    EXPECT_EQ(large.status.code(), LEVER_RESOURCE_EXHAUSTED) << large.Text();
    EXPECT_EQ(large.status.executed(), LEVER_EXECUTED_NO);
  }
  EXPECT_EQ(program.calls, 1);
  EXPECT_EQ(program.streams, 0);
}

TEST_F(ServiceTest, BeyondTheConcurrencyCallsAreRefusedUntilOneEnds) {
  ServiceOptions options;
  options.concurrency_max = 2;
  Start(std::move(options));
  std::deque<IncomingCall*> held;
  program.on_call = [&](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    held.push_back(&call);
  };
  rpc::Channel* caller = Introduced();
  TestCall& first = Call(caller, {});
  TestCall& second = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held.size() == 2; }));
  TestCall& third = Call(caller, {});
  TestCall& stream = Stream(caller);
  ASSERT_TRUE(Until([&] { return third.ended() && stream.ended(); }));
  for (TestCall* refused : {&third, &stream}) {
    EXPECT_EQ(refused->status.code(), LEVER_RESOURCE_EXHAUSTED);
    EXPECT_EQ(refused->status.executed(), LEVER_EXECUTED_NO);
    EXPECT_EQ(refused->trailers.Find("lever-refused"), "full");
  }
  Do([&] { EXPECT_TRUE(held.front()->Reply(Kind::kRaw, Bytes("1"), nullptr).ok()); });
  ASSERT_TRUE(Until([&] { return first.ended(); }));
  TestCall& fourth = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held.size() == 3; }));
  Do([&] {
    EXPECT_TRUE(held[1]->Reply(Kind::kRaw, Bytes("2"), nullptr).ok());
    EXPECT_TRUE(held[2]->Reply(Kind::kRaw, Bytes("4"), nullptr).ok());
  });
  ASSERT_TRUE(Until([&] { return second.ended() && fourth.ended(); }));
  EXPECT_TRUE(fourth.status.ok());
}

TEST_F(Dispatch, AMethodWhoseDeadlineHasPassedDoesNotBegin) {
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) { held = &call; };
  TestCall& call = Call(caller, {.deadline_ns = clock.NowNs() + kNanosPerSecond});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  // Before the loop's timers have noticed.
  clock.Advance(kNanosPerSecond);
  Do([&] { EXPECT_FALSE(held->Begin()); });
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(program.cancelled, 0);
}

TEST_F(Dispatch, AMethodWhoseCallerIsGoneDoesNotBegin) {
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) { held = &call; };
  TestCall& call = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Do([&] { call.call->Cancel(Cancelled("changed my mind")); });
  ASSERT_TRUE(Until([&] { return program.cancelled == 1; }));
  Do([&] { EXPECT_FALSE(held->Begin()); });
  Advance(kReportSpacingNs);
  // It counts no more: the service can drain.
  EXPECT_EQ(Loads().back().calls(), 0u);
}

TEST_F(Dispatch, ACancelledMethodIsToldOnceAndItsAnswerIsDropped) {
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    held = &call;
  };
  TestCall& call = Call(caller, {.deadline_ns = clock.NowNs() + kNanosPerSecond});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Advance(kNanosPerSecond);
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_EQ(call.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(program.cancelled, 1);
  Do([&] { EXPECT_TRUE(held->Reply(Kind::kRaw, Bytes("late"), nullptr).ok()); });
  Settle();
  EXPECT_EQ(call.ends, 1);
  EXPECT_FALSE(call.replied);
}

TEST_F(Dispatch, AnAnswerIsAValueOrAnErrorOrTrouble) {
  const auto answer = [&](const std::function<void(IncomingCall&)>& with) -> TestCall& {
    program.on_call = with;
    TestCall& call = Call(caller, {});
    EXPECT_TRUE(Until([&] { return call.ended(); }));
    return call;
  };
  TestCall& error = answer([](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    EXPECT_TRUE(call.Reply(Kind::kErrorValue, Bytes("\xa3" "bad"), nullptr).ok());
  });
  EXPECT_TRUE(error.status.ok());
  EXPECT_EQ(ParseMessage(error.messages.at(0)).error_value(), "\xa3" "bad");

  TestCall& failed = answer([](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    call.Fail(Internal("it threw").WithExecuted(LEVER_EXECUTED_NO));
  });
  EXPECT_EQ(failed.status.code(), LEVER_INTERNAL);
  EXPECT_EQ(failed.status.executed(), LEVER_EXECUTED_UNKNOWN) << "user code has begun";

  TestCall& refused = answer([](IncomingCall& call) { call.Fail(Unavailable("not yet")); });
  EXPECT_EQ(refused.status.executed(), LEVER_EXECUTED_NO);

  TestCall& broken = answer([](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    EXPECT_EQ(call.Reply(Kind::kValue, Bytes("\x91"), nullptr).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(call.Reply(Kind::kNone, {}, nullptr).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_TRUE(call.Reply(Kind::kRaw, {}, nullptr).ok());
  });
  EXPECT_TRUE(broken.status.ok());
  EXPECT_TRUE(ParseMessage(broken.messages.at(0)).has_raw());
}

TEST_F(Dispatch, WhoCallsIsWhomTheHostIntroducedAndTheHostIsBelieved) {
  std::vector<std::string> callers;
  program.on_call = [&](IncomingCall& call) {
    callers.emplace_back(call.caller());
    ASSERT_TRUE(call.Begin());
    EXPECT_TRUE(call.Reply(Kind::kRaw, {}, nullptr).ok());
  };
  const Ask claims = {.headers = {{"lever-url", "/hello/echo"}, {"lever-caller", "lever://dev.lever/boss"}}};
  const auto call = [&](rpc::Channel* channel, const Ask& ask) {
    TestCall& handler = Call(channel, ask);
    ASSERT_TRUE(Until([&] { return handler.ended(); }));
    EXPECT_TRUE(handler.status.ok()) << handler.Text();
  };
  call(caller, claims);
  call(Introduced("", false), claims);
  call(Introduced("", true), claims);
  call(Introduced("", true), {});
  EXPECT_THAT(callers, ElementsAre("lever://dev.lever/shop", "", "lever://dev.lever/boss", ""));
}

TEST_F(ServiceTest, AtAnAddressOfItsOwnNobodyIsBelieved) {
  ServiceOptions options;
  options.listen = "127.0.0.1:0";
  Start(std::move(options));
  ASSERT_NE(service->details().listening, "");
  std::string seen = "none";
  program.on_call = [&](IncomingCall& call) {
    seen = call.caller();
    ASSERT_TRUE(call.Begin());
    EXPECT_TRUE(call.Reply(Kind::kRaw, {}, nullptr).ok());
  };
  Do([&] {
    rpc::ConnectionOptions options;
    options.role = rpc::Role::kClient;
    channels.push_back(rpc::Channel::To(
        loop.get(), *rpc::Endpoint::Parse(service->details().listening), options));
  });
  TestCall& call = Call(channels.back().get(),
                        {.headers = {{"lever-url", "/hello/echo"}, {"lever-caller", "lever://dev.lever/boss"}}});
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(seen, "");
}

TEST_F(Dispatch, AnswersHealthChecks) {
  const auto check = [&](std::string_view request) -> TestCall& {
    TestCall& call = Call(caller, {.path = "/grpc.health.v1.Health/Check", .headers = {}}, {Bytes(request)});
    EXPECT_TRUE(Until([&] { return call.ended(); }));
    return call;
  };
  EXPECT_EQ(check("").messages.at(0), "\x08\x01");
  EXPECT_EQ(check("\x0a\x0elever.v1.Lever").messages.at(0), "\x08\x01");
  EXPECT_EQ(check("\x0a\x01x").status.code(), LEVER_NOT_FOUND);
  EXPECT_EQ(check("\x0a\x7fx").status.code(), LEVER_INVALID_ARGUMENT);
  // Seen: a field of another wire type ended the process.
  EXPECT_EQ(check("\x08\x01").messages.at(0), "\x08\x01");
  Do([&] { service->Drain(); });
  EXPECT_EQ(check("").messages.at(0), "\x08\x02");
}

TEST_F(Dispatch, AnIntroductionThatCannotBeUsedIsAnsweredByItsId) {
  v1::Introduction packet;
  packet.mutable_incoming()->set_id(77);
  auto datagrams = SocketPair(SOCK_SEQPACKET);
  Do([&] { host->SendIntroduction(packet, datagrams->first); });
  std::vector<v1::Introduction> answers;
  ASSERT_TRUE(Until([&] {
    for (auto& answer : host->ReadIntroductions()) answers.push_back(answer);
    return !answers.empty();
  }));
  EXPECT_EQ(answers[0].failed(), 77u);
  // The socket goes on.
  TestCall& call = Call(Introduced(), {});
  ASSERT_TRUE(Until([&] { return call.ended(); }));
  EXPECT_TRUE(call.status.ok());
}

}  // namespace
}  // namespace lever::service
