// The four kinds of call, metadata, statuses.
#include "tests/rpc/call_fixture.h"

namespace lever::rpc {
namespace {

std::string Value(const HeaderList& headers, std::string_view name) {
  return std::string(headers.Find(name).value_or("(none)"));
}

TEST_F(CallTest, UnaryCallIsAnswered) {
  Connect();
  dispatcher.on_call = EchoUnary;
  TestCall& call = Unary("hello");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(call.messages, std::vector<std::string>{"hello"});
  EXPECT_EQ(call.log, "HME");
  EXPECT_TRUE(call.replied);
  EXPECT_FALSE(call.never_written);
  ASSERT_EQ(dispatcher.calls.size(), 1u);
  ASSERT_TRUE(UntilEnd(dispatcher.calls[0]));
  EXPECT_TRUE(dispatcher.calls[0].status.ok()) << dispatcher.calls[0].Text();
  EXPECT_EQ(channel->open_calls(), 0u);
  EXPECT_EQ(server->open_calls(), 0u);
}

TEST_F(CallTest, ServerSeesPathAndTheClientsEnd) {
  Connect();
  std::string path;
  dispatcher.on_call = [&](TestCall& handler, Call& call) {
    path = call.path();
    EchoAll(handler, call);
  };
  TestCall& call = Unary("x", {.path = "/lever.v1.Lever/Invoke"});
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(path, "/lever.v1.Lever/Invoke");
  EXPECT_EQ(dispatcher.calls[0].log, "MPE");
}

TEST_F(CallTest, ServerStreamDeliversTenThousandMessagesInOrder) {
  Connect();
  constexpr int kCount = 10'000;
  int sent = 0;
  const auto pump = [&](TestCall&, Call& call) {
    while (sent < kCount && call.Writable()) call.Write(Bytes(std::to_string(sent++)));
    if (sent < kCount) return call.WantWritable();
    call.Finish(Status::Ok());
  };
  dispatcher.on_call = [&](TestCall& handler, Call& call) {
    handler.on_writable = pump;
    pump(handler, call);
  };
  TestCall& call = Unary("begin");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  ASSERT_EQ(call.messages.size(), static_cast<size_t>(kCount));
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(call.messages[i], std::to_string(i));
}

TEST_F(CallTest, ClientStreamDeliversTenThousandMessagesInOrder) {
  Connect();
  constexpr int kCount = 10'000;
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.Read(UINT64_MAX);
    handler.on_peer_end = [](TestCall& handler, Call& call) {
      call.Write(Bytes(std::to_string(handler.messages.size())));
      call.Finish(Status::Ok());
    };
  };
  int sent = 0;
  const auto pump = [&](TestCall&, Call& call) {
    while (sent < kCount && call.Writable()) call.Write(Bytes(std::to_string(sent++)));
    if (sent < kCount) return call.WantWritable();
    call.CloseSend();
  };
  TestCall& call = Start({}, [&](TestCall& handler, Call& call) {
    handler.on_writable = pump;
    pump(handler, call);
  });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.messages, std::vector<std::string>{std::to_string(kCount)});
  const TestCall& served = dispatcher.calls[0];
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(served.messages[i], std::to_string(i));
}

TEST_F(CallTest, BidirectionalStreamEchoesWhileBothSidesAreOpen) {
  Connect();
  dispatcher.on_call = EchoAll;
  constexpr size_t kCount = 10'000;
  TestCall& call = Start({}, [&](TestCall& handler, Call& call) {
    // Ping-pong: each message is sent when the one before has come back.
    handler.on_message = [&](TestCall& handler, Call& call) {
      if (handler.messages.size() == kCount) return call.CloseSend();
      call.Write(Bytes(std::to_string(handler.messages.size())));
    };
    call.Write(Bytes("0"));
  });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  ASSERT_EQ(call.messages.size(), kCount);
  EXPECT_EQ(call.messages.back(), std::to_string(kCount - 1));
}

TEST_F(CallTest, HalfClosedClientStillReceives) {
  Connect();
  dispatcher.on_call = [](TestCall& handler, Call& call) { call.Read(1); };
  TestCall& call = Unary("only");
  ASSERT_TRUE(
      Until([&] { return dispatcher.calls.size() == 1 && dispatcher.calls[0].log == "MP"; }));
  for (const char* text : {"a", "b", ""}) {
    Do([&] { dispatcher.calls[0].call->Write(Bytes(text)); });
    Settle();
  }
  EXPECT_EQ(call.messages, (std::vector<std::string>{"a", "b", ""}));
  Do([&] { dispatcher.calls[0].call->Finish(Status::Ok()); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.log, "HMMME");
}

// Broken input ends a stream while its method is writing: its caller is to know why.
TEST_F(CallTest, AServerThatCancelsTellsWhyWhereNoMessageHasBegun) {
  Connect();
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.Write(Bytes("dropped"));
    call.Write(Bytes("dropped as well"));
    call.Cancel(InvalidArgument("broken"));
  };
  TestCall& call = Start({}, [](TestCall&, Call& call) { call.Read(10); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_INVALID_ARGUMENT) << call.Text();
  EXPECT_EQ(call.messages_count, 0u);
}

TEST_F(CallTest, AServerThatCancelsAmidAMessageResets) {
  Connect();
  constexpr size_t kBytes = 3 << 20;
  dispatcher.on_call = [](TestCall& handler, Call& call) { call.Write(Bytes(Pattern(kBytes))); };
  TestCall& call = Start({}, [](TestCall&, Call& call) {});
  ASSERT_TRUE(Until([&] {
    if (dispatcher.calls.empty()) return false;
    const size_t queued = dispatcher.calls[0].call->queued_bytes();
    return queued > 0 && queued < kBytes;
  }));
  Do([&] { dispatcher.calls[0].call->Cancel(InvalidArgument("broken")); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_CANCELLED) << call.Text();
}

TEST_F(CallTest, ServerMayEndBeforeTheClientHas) {
  Connect();
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.Write(Bytes("enough"));
    call.Finish(Status::Ok());
  };
  TestCall& call = Start({}, [](TestCall&, Call& call) { call.Write(Bytes("never read")); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(call.messages, std::vector<std::string>{"enough"});
  ASSERT_TRUE(UntilEnd(dispatcher.calls[0]));
  EXPECT_TRUE(dispatcher.calls[0].status.ok()) << dispatcher.calls[0].Text();
}

TEST_F(CallTest, WriterThatWaitsIsToldWhenTheServerWantsNoMore) {
  Connect();
  dispatcher.on_call = [](TestCall&, Call&) {};
  TestCall& call = Start({.credit = 0}, [](TestCall&, Call& call) {
    const std::string chunk = Pattern(64 * 1024);
    for (int i = 0; i < 32; ++i) call.Write(Bytes(chunk));
    EXPECT_FALSE(call.Writable());
  });
  Settle();
  ASSERT_FALSE(call.call->Writable());
  Do([&] {
    // The message is not read, so that the client's end waits.
    dispatcher.calls[0].call->Write(Bytes("reply"));
    dispatcher.calls[0].call->Finish(Status::Ok());
  });
  ASSERT_TRUE(Until([&] { return call.log == "HW"; })) << call.log;
  EXPECT_TRUE(call.call->Writable());
  Do([&] { call.call->Read(1); });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok());
}

TEST_F(CallTest, MetadataTravelBothWaysAndBytesSurvive) {
  Connect();
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  HeaderList initial, trailing, request;
  initial.Add("x-initial", "one");
  trailing.Add("x-trailing-bin", every_byte);
  request.Add("x-request", "a value");
  request.Add("x-twice", "1");
  request.Add("x-twice", "2");
  request.Add("x-request-bin", every_byte);
  request.Add("x-empty-bin", "");
  dispatcher.on_call = [&](TestCall&, Call& call) {
    call.SendHeaders(&initial);
    call.Finish(Status::Ok(), &trailing);
  };
  TestCall& call = Unary("x", {.metadata = &request});
  ASSERT_TRUE(UntilEnd(call));
  ASSERT_TRUE(call.status.ok()) << call.Text();
  const HeaderList& seen = dispatcher.calls[0].headers;
  EXPECT_EQ(Value(seen, "x-request"), "a value");
  EXPECT_EQ(Value(seen, "x-request-bin"), every_byte);
  EXPECT_EQ(Value(seen, "x-empty-bin"), "");
  EXPECT_TRUE(Value(seen, "user-agent").starts_with("lever/"));
  int twice = 0;
  for (size_t i = 0; i < seen.size(); ++i) twice += seen[i].name == "x-twice";
  EXPECT_EQ(twice, 2);
  for (const char* name : {"te", "content-type", ":path", ":authority", "grpc-timeout"}) {
    EXPECT_EQ(Value(seen, name), "(none)") << name;
  }
  EXPECT_EQ(Value(call.headers, "x-initial"), "one");
  EXPECT_EQ(call.headers.size(), 1u);
  ASSERT_TRUE(call.has_trailers);
  EXPECT_EQ(Value(call.trailers, "x-trailing-bin"), every_byte);
  EXPECT_EQ(call.trailers.size(), 1u);
}

TEST_F(CallTest, ReservedMetadataAreNotSent) {
  Connect();
  HeaderList request;
  for (const char* name :
       {"grpc-timeout", ":path", "te", "content-type", "connection", "host", "user-agent",
        "grpc-anything", "lever-executed", "Upper-Case", "with space"}) {
    request.Add(name, "1n");
  }
  request.Add("x-control", "a\nb");
  request.Add("x-kept", " trimmed ");
  dispatcher.on_call = EchoUnary;
  TestCall& call = Unary("x", {.metadata = &request});
  ASSERT_TRUE(UntilEnd(call));
  ASSERT_TRUE(call.status.ok()) << call.Text();
  const HeaderList& seen = dispatcher.calls[0].headers;
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_EQ(Value(seen, "x-kept"), "trimmed");
  EXPECT_TRUE(Value(seen, "user-agent").starts_with("lever/"));
}

TEST_F(CallTest, StatusAndMessageArriveInAnyLanguage) {
  Connect();
  const std::string message = "100 % nicht möglich: 猫\n\t\x01 done";
  dispatcher.on_call = [&](TestCall&, Call& call) { call.Finish(NotFound(message)); };
  TestCall& call = Unary("x");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_NOT_FOUND);
  EXPECT_EQ(call.status.message(), message);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(call.log, "E") << "a status alone has no headers to show";
  EXPECT_FALSE(call.has_trailers);
}

TEST_F(CallTest, EveryStatusCodeArrives) {
  Connect();
  lever_status code = LEVER_OK;
  dispatcher.on_call = [&](TestCall&, Call& call) { call.Finish(Status(code, "text")); };
  for (int number = 1; number <= 16; ++number) {
    code = static_cast<lever_status>(number);
    TestCall& call = Unary("x");
    ASSERT_TRUE(UntilEnd(call));
    EXPECT_EQ(call.status.code(), code);
    EXPECT_EQ(call.status.message(), "text");
  }
}

TEST_F(CallTest, LongStatusMessageIsCutAndStillArrives) {
  Connect();
  std::string message;
  for (int i = 0; i < 100'000; ++i) message += "ü";
  dispatcher.on_call = [&](TestCall&, Call& call) { call.Finish(Internal(message)); };
  TestCall& call = Unary("x");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_INTERNAL);
  EXPECT_GT(call.status.message().size(), 1000u);
  EXPECT_TRUE(message.starts_with(call.status.message()));
}

TEST_F(CallTest, ExecutedNoCrossesTheWireUnlessAReplyCame) {
  Connect();
  const Status refused = Unavailable("full").WithExecuted(LEVER_EXECUTED_NO);
  dispatcher.on_call = [&](TestCall&, Call& call) { call.Finish(refused); };
  TestCall& without = Unary("x");
  ASSERT_TRUE(UntilEnd(without));
  EXPECT_EQ(without.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_FALSE(without.replied);
  EXPECT_FALSE(without.never_written);
  EXPECT_FALSE(without.has_trailers) << "the mark is not metadata";

  dispatcher.on_call = [&](TestCall&, Call& call) {
    call.Write(Bytes("reply"));
    call.Finish(refused);
  };
  TestCall& with = Unary("x");
  ASSERT_TRUE(UntilEnd(with));
  EXPECT_EQ(with.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(with.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_TRUE(with.replied);
}

TEST_F(CallTest, HandedInConnectionsKeepTheirTag) {
  Connect({}, std::make_shared<std::string>("dev.lever/hello"));
  std::string caller;
  dispatcher.on_call = [&](TestCall&, Call& call) {
    caller = *static_cast<std::string*>(server->connection_tag(call));
    call.Finish(Status::Ok());
  };
  ASSERT_TRUE(UntilEnd(Unary("x")));
  EXPECT_EQ(caller, "dev.lever/hello");
}

TEST_F(CallTest, FinishedCallIgnoresWhatComesAfter) {
  Connect();
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.Finish(Aborted("first"));
    call.Write(Bytes("late"));
    call.SendHeaders();
    call.Finish(Internal("second"));
    call.Read(1);
  };
  TestCall& call = Unary("x");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_EQ(call.status.code(), LEVER_ABORTED);
  ASSERT_TRUE(UntilEnd(dispatcher.calls[0]));
  EXPECT_EQ(dispatcher.calls[0].status.code(), LEVER_ABORTED);
  EXPECT_EQ(dispatcher.calls[0].log, "E");
}

TEST_F(CallTest, ManyCallsAtOnceShareAConnection) {
  Connect();
  dispatcher.on_call = EchoUnary;
  // More than the streams that the server allows at once: the rest waits its turn.
  constexpr int kCount = 3 * static_cast<int>(kStreamsPerConnectionMax);
  for (int i = 0; i < kCount; ++i) Unary(std::to_string(i));
  ASSERT_TRUE(Until([&] { return channel->open_calls() == 0; }));
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(calls[i].status.ok()) << calls[i].Text();
    ASSERT_EQ(calls[i].messages, std::vector<std::string>{std::to_string(i)});
  }
}

// The connection takes no more, which it has not said yet, and there is no other to wait for.
TEST_F(CallTest, ACallThatComesAsAConnectionHandedInDrainsEndsUnwritten) {
  Connect();
  dispatcher.on_call = [&](TestCall& handler, Call& call) {
    call.Read(UINT64_MAX);
    handler.on_message = [&](TestCall& handler, Call& call) {
      server->Drain([] {});
      call.Write(Bytes(handler.messages.back()));
    };
    handler.on_peer_end = [](TestCall&, Call& call) { call.Finish(Status::Ok()); };
  };
  TestCall& first = Start({}, [](TestCall&, Call& call) { call.Write(Bytes("one")); });
  // In the turn in which the GOAWAY has come, too.
  TestCall second;
  first.on_message = [&](TestCall&, Call& call) {
    second.call = channel->StartCall({.path = "/test.Service/Method", .authority = ""}, &second);
    call.CloseSend();
  };
  ASSERT_TRUE(UntilEnd(first));
  ASSERT_TRUE(UntilEnd(second));
  EXPECT_EQ(second.status.code(), LEVER_UNAVAILABLE) << second.Text();
  EXPECT_TRUE(second.never_written);
}

}  // namespace
}  // namespace lever::rpc
