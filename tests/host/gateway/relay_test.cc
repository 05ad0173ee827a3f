// gRPC calls that go through the host.
#include <gmock/gmock.h>

#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

using Headers = std::vector<std::pair<std::string, std::string>>;

class RelayTest : public GatewayTest {
 protected:
  TestCall& Call(rpc::Channel& channel, const GrpcAsk& ask, const std::vector<SliceList>& messages,
                 bool close = true) {
    return Begin(channel, calls.emplace_back(), ask, messages, close);
  }
  TestCall& Call(rpc::Channel& channel, const GrpcAsk& ask) {
    return Call(channel, ask, {ValueMessage("\x91\x05")});
  }
  TestCall& Stream(rpc::Channel& channel, std::string_view url = "/hello/echoChan",
                   uint64_t credit = UINT64_MAX) {
    return Call(channel,
                {.path = route::kStreamPath, .headers = {{"lever-url", std::string(url)}},
                 .timeout_ns = -1, .credit = credit},
                {ValueMessage("\x90")}, false);
  }
  bool UntilEnd(const TestCall& call) {
    return Until([&] { return call.ended(); });
  }
  std::deque<TestCall> calls;
};

TEST_F(RelayTest, ACallIsPassedOnAndItsAnswerBack) {
  TestInstance& instance = Serve();
  TestCall& call = Call(Client(), {.path = route::kInvokePath,
                                   .headers = {{"lever-url", "lever://dev.lever/hello/echo"},
                                               {"traceparent", "00-1"},
                                               {"x-bin", std::string("\0\xff", 2)},
                                               {"lever-caller", "lever://dev.lever/evil"}}});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(ParseMessage(call.messages.at(0)).value(), "\x91\x05");
  EXPECT_EQ(instance.metadata.Find("traceparent"), "00-1");
  EXPECT_EQ(instance.metadata.Find("x-bin"), std::string("\0\xff", 2));
  EXPECT_EQ(instance.caller, "") << "who says so is not believed";
  EXPECT_EQ(counters.calls.load(), 1u);
}

TEST_F(RelayTest, TheHostSaysWhoCalls) {
  TestInstance& instance = NewInstance();
  Publish({&instance}, Private::kYes);
  TestCall& outside = Call(Client(), {});
  ASSERT_TRUE(UntilEnd(outside));
  EXPECT_EQ(outside.status.code(), LEVER_PERMISSION_DENIED);
  EXPECT_EQ(outside.status.executed(), LEVER_EXECUTED_NO);
  rpc::Channel& shop = Client({"lever://dev.lever/shop", "dev.lever", "shop", 77});
  TestCall& inside = Call(shop, {});
  ASSERT_TRUE(UntilEnd(inside));
  EXPECT_TRUE(inside.status.ok()) << inside.Text();
  EXPECT_EQ(instance.caller, "lever://dev.lever/shop");
}

TEST_F(RelayTest, WhatIsInAMessageIsNotLookedAt) {
  Serve();
  // The instance refuses it, not the host.
  TestCall& call = Call(Client(), {}, {Bytes("\xff\xff\xff")});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(counters.calls.load(), 1u);
}

TEST_F(RelayTest, BadRequestsAreRefusedUnexecuted) {
  Serve();
  const auto refused = [&](const Headers& headers, lever_status code) {
    TestCall& call = Call(Client(), {.path = route::kInvokePath, .headers = headers});
    ASSERT_TRUE(UntilEnd(call));
    EXPECT_EQ(call.status.code(), code) << call.Text();
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  };
  refused({}, LEVER_INVALID_ARGUMENT);
  refused({{"lever-url", "hello/echo"}}, LEVER_INVALID_ARGUMENT);
  refused({{"lever-url", "/hello/echo"}, {"lever-proto", "2"}}, LEVER_FAILED_PRECONDITION);
  refused({{"lever-url", "/hello/echo"}, {"lever-resource", "%zz"}}, LEVER_INVALID_ARGUMENT);
  refused({{"lever-url", "/nobody/echo"}}, LEVER_NOT_FOUND);
  EXPECT_EQ(counters.calls.load(), 0u);
}

TEST_F(RelayTest, TheDeadlineThatIsLeftIsPassedOn) {
  Publish({});
  TestCall& call = Call(Client(), {.path = route::kInvokePath,
                                   .headers = {{"lever-url", "/hello/echo"}},
                                   .timeout_ns = 10 * kNanosPerSecond});
  const int64_t deadline_ns = clock.NowNs() + 10 * kNanosPerSecond;
  ASSERT_TRUE(Until([&] { return router->held() == 1; }));
  Advance(4 * kNanosPerSecond);
  TestInstance& instance = NewInstance();
  Publish({&instance});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(instance.deadline_ns, deadline_ns);
}

// Also for a caller that does not keep it itself.
TEST_F(RelayTest, ACallEndsAtItsDeadline) {
  TestInstance& instance = Serve();
  UniqueFd socket = Connect();
  std::unique_ptr<H2Client> client;
  H2Request* request = nullptr;
  Do([&] {
    client = std::make_unique<H2Client>(loop.get(), std::move(socket));
    request = &client->Start("POST", route::kInvokePath,
                             {{"content-type", "application/grpc"},
                              {"te", "trailers"},
                              {"lever-url", "/hello/hang"},
                              {"grpc-timeout", "10S"}});
    request->stream->Write(Slice::Static(std::string_view("\0\0\0\0\4\x0a\2\x91\5", 9)));
    request->stream->EndWrite();
  });
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Advance(10 * kNanosPerSecond);
  ASSERT_TRUE(Until([&] { return request->response.whole; }));
  EXPECT_EQ(request->response.fields.at("grpc-status"), "4");
  EXPECT_FALSE(request->response.fields.contains("lever-executed"));
  EXPECT_TRUE(Until([&] { return instance.cancelled == 1; }));
  Do([&] { client.reset(); });
}

TEST_F(RelayTest, ACallerThatGivesUpCancelsTheMethod) {
  TestInstance& instance = Serve();
  rpc::Channel& channel = Client();
  TestCall& call = Call(channel, {.path = route::kInvokePath, .headers = {{"lever-url", "/hello/hang"}}});
  TestCall& stream = Stream(channel, "/hello/hangChan");
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1 && instance.open.size() == 1; }));
  Do([&] {
    call.call->Cancel(Cancelled("enough"));
    stream.call->Cancel(Cancelled("enough"));
  });
  EXPECT_TRUE(Until([&] { return instance.cancelled == 1 && instance.ends.size() == 1; }));
  // Also one that is held only.
  Publish({});
  TestCall& held = Call(channel, {});
  ASSERT_TRUE(Until([&] { return router->held() == 1; }));
  Do([&] { held.call->Cancel(Cancelled("enough")); });
  EXPECT_TRUE(Until([&] { return router->held() == 0; }));
}

TEST_F(RelayTest, AnInstanceThatGoesEndsItsCallsAsUnknown) {
  TestInstance& instance = Serve();
  TestCall& call = Call(Client(), {.path = route::kInvokePath, .headers = {{"lever-url", "/hello/hang"}}});
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Do([&] { instance.service->Close(); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN) << call.Text();
  EXPECT_FALSE(call.status.ok());
}

TEST_F(RelayTest, TheHostRetriesForACallerThatDoesNot) {
  TestInstance& instance = Serve();
  int refusals = 2;
  instance.on_call = [&](const std::string& name, IncomingCall& incoming) {
    if (refusals-- > 0) return incoming.Fail(Unavailable("draining"));
    instance.Serve(name, incoming);
  };
  TestCall& call = Call(Client(), {});
  ASSERT_TRUE(Until([&] {
    clock.Advance(kNanosPerMilli);
    return call.ended();
  }));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(counters.resends.load(), 2u);

  refusals = 100;
  TestCall& again = Call(*channels.back(), {});
  ASSERT_TRUE(Until([&] {
    clock.Advance(kNanosPerMilli);
    return again.ended();
  }));
  EXPECT_EQ(again.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(again.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(refusals, 100 - static_cast<int>(Relay::kAttemptsMax));
}

TEST_F(RelayTest, AnInstanceThatAlwaysRefusesCostsATenthMoreAtMost) {
  TestInstance& instance = Serve();
  int attempts = 0;
  instance.on_call = [&](const std::string&, IncomingCall& incoming) {
    ++attempts;
    incoming.Fail(Unavailable("draining"));
  };
  rpc::Channel& client = Client();
  const auto all_fail = [&](int count) {
    for (int i = 0; i < count; ++i) {
      TestCall& call = Call(client, {});
      ASSERT_TRUE(Until([&] {
        clock.Advance(kNanosPerMilli);
        return call.ended();
      }));
      EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
      EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
    }
  };
  all_fail(200);
  EXPECT_LE(attempts, 220);
  attempts = 0;
  all_fail(200);
  EXPECT_EQ(attempts, 200) << "what was saved up is spent";
  // Successes fill it again.
  const auto refuse = std::exchange(instance.on_call, nullptr);
  for (int i = 0; i < 100; ++i) {
    TestCall& call = Call(client, {});
    ASSERT_TRUE(UntilEnd(call));
    ASSERT_TRUE(call.status.ok()) << call.Text();
  }
  instance.on_call = refuse;
  attempts = 0;
  all_fail(100);
  EXPECT_GT(attempts, 100);
  EXPECT_LE(attempts, 110);
}

TEST_F(RelayTest, ACallerThatRetriesByItselfIsToldAtOnce) {
  TestInstance& instance = Serve();
  int attempts = 0;
  instance.on_call = [&](const std::string&, IncomingCall& incoming) {
    ++attempts;
    incoming.Fail(Unavailable("draining"));
  };
  TestCall& call = Call(Client(), {.path = route::kInvokePath,
                                   .headers = {{"lever-url", "/hello/echo"}, {"lever-attempt", "1"}}});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(attempts, 1);
}

TEST_F(RelayTest, ACallOfWhichNothingWasWrittenGoesToAnotherConnection) {
  TestInstance& instance = Serve();
  const GrpcAsk counted{.path = route::kInvokePath,
                        .headers = {{"lever-url", "/hello/echo"}, {"lever-attempt", "1"}}};
  rpc::Channel& client = Client();
  TestCall& before = Call(client, counted);
  ASSERT_TRUE(UntilEnd(before));
  ASSERT_TRUE(before.status.ok()) << before.Text();
  // Whatever is written from now on fails, and the host does not know yet.
  ASSERT_EQ(::shutdown(control.last_socket, SHUT_WR), 0);
  TestCall& call = Call(client, counted);
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(control.connects, 2);
  EXPECT_EQ(instance.calls, 2);
}

TEST_F(RelayTest, WhatWouldBeRefusedAgainIsNotSentAgain) {
  Serve();
  TestCall& call =
      Call(Client(), {.path = route::kInvokePath, .headers = {{"lever-url", "/hello/nothing"}}});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_NOT_FOUND);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(counters.resends.load(), 0u);
}

TEST_F(RelayTest, AStreamGoesBothWaysAtTheSameTime) {
  Serve();
  TestCall& stream = Stream(Client());
  for (int i = 0; i < 50; ++i) {
    Do([&] { stream.call->Write(ValueMessage(std::string(1, static_cast<char>(i)))); });
    ASSERT_TRUE(Until([&] { return stream.messages.size() == static_cast<size_t>(i + 1); }));
  }
  Do([&] { stream.call->CloseSend(); });
  ASSERT_TRUE(UntilEnd(stream));
  EXPECT_TRUE(stream.status.ok()) << stream.Text();
}

// A window and a queue each way, what the two sides have beyond it, and socket buffers.
constexpr size_t kInFlightMax = 4 * rpc::kStreamWindowBytes + 1024 * 1024;

TEST_F(RelayTest, AMethodThatDoesNotReadStopsTheCaller) {
  TestInstance& instance = Serve();
  TestCall& stream = Stream(Client(), "/hello/hangChan");
  ASSERT_TRUE(Until([&] { return instance.open.size() == 1; }));
  const SliceList message = ValueMessage("\xda\x27\x10" + std::string(10'000, 'x'));
  size_t written = 0;
  for (int still = 0; still < 3;) {
    Do([&] {
      for (; stream.call->Writable(); written += 10'000) stream.call->Write(message);
    });
    const size_t before = written;
    Settle();
    still = written == before && !stream.call->Writable() ? still + 1 : 0;
    ASSERT_LT(written, 4 * kInFlightMax);
  }
  RecordProperty("relay_to_method_bytes", static_cast<int>(written));
  EXPECT_LT(written, kInFlightMax);
  instance.on_message = [](route::MessageStream&, const SliceList&) {};
  Do([&] {
    instance.open[0]->Read(UINT32_MAX, 0);
    stream.call->CloseSend();
  });
  ASSERT_TRUE(UntilEnd(stream));
  EXPECT_EQ(instance.messages, written / 10'000);
}

TEST_F(RelayTest, ACallerThatDoesNotReadStopsTheMethod) {
  TestInstance& instance = Serve();
  size_t written = 0;
  const std::string value = "\xda\x27\x10" + std::string(10'000, 'x');
  const auto write = [&](route::MessageStream& stream) {
    while (stream.Writable() && written < 2'000) {
      SliceList payload;
      payload.push_back(Slice::Copy(value));
      ASSERT_TRUE(stream.Write(Kind::kValue, std::move(payload)).ok());
      ++written;
    }
    written < 2'000 ? stream.WantWritable() : stream.CloseSend();
  };
  instance.on_writable = write;
  instance.on_stream = [&](IncomingStream& stream) {
    if (stream.Begin()) write(stream);
  };
  TestCall& stream = Stream(Client(), "/hello/echoChan", 1);
  size_t before = 1;
  while (written != before) {
    before = written;
    Settle();
  }
  RecordProperty("relay_to_caller_bytes", static_cast<int>(written * 10'000));
  EXPECT_LT(written * 10'000, kInFlightMax);
  Do([&] { stream.call->Read(UINT32_MAX); });
  ASSERT_TRUE(UntilEnd(stream));
  EXPECT_TRUE(stream.status.ok()) << stream.Text();
  EXPECT_EQ(stream.messages_count, 2'000u);
}

}  // namespace
}  // namespace lever::gateway
