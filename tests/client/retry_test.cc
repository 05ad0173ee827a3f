// What is sent again and what is not, by whom and how often; deadlines; cancelling.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "liblever/client/client_stream.h"
#include "liblever/policy/retry.h"
#include "tests/client/client_fixture.h"

namespace lever::client {
namespace {

using ::testing::HasSubstr;

class Retry : public ClientTest {
 protected:
  Retry() { Open(); }
};

TEST_F(Retry, ACallSaysWhatItIs) {
  host->on_call = Succeed;
  rpc::HeaderList metadata;
  metadata.Add("color", "red");
  metadata.Add("lever-caller", "lever://dev.lever/boss");
  metadata.Add("grpc-timeout", "1S");
  Request request;
  request.address = "lever://live/hello/r%C3%A4um/echo";
  request.metadata = &metadata;
  request.deadline_ns = clock.NowNs() + 5 * kNanosPerSecond;
  Result& result = Call(std::move(request));
  ASSERT_TRUE(Ended(result));
  const auto& headers = HostCalls().at(0)->headers;
  EXPECT_EQ(headers.Find("lever-url"), "lever://live/hello/echo");
  EXPECT_EQ(headers.Find("lever-resource"), "r%C3%A4um");
  EXPECT_EQ(headers.Find("lever-proto"), "1");
  EXPECT_EQ(headers.Find("lever-attempt"), "1");
  EXPECT_EQ(headers.Find("color"), "red");
  EXPECT_FALSE(headers.Find("lever-caller").has_value());
  EXPECT_EQ(result.payload, "\x05");
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_YES);
}

TEST_F(Retry, WhatSurelyDidNotRunIsSentAgainAndCounted) {
  int refusals = 3;
  host->on_call = [&](TestCall& handler, rpc::Call& call) {
    if (refusals-- > 0) return call.Finish(SurelyNotRun());
    Succeed(handler, call);
  };
  Result& result = Call();
  ASSERT_TRUE(Ended(result));
  EXPECT_TRUE(result.status.ok()) << result.status.ToString();
  const auto calls = HostCalls();
  ASSERT_EQ(calls.size(), 4u);
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i]->headers.Find("lever-attempt"), std::to_string(i + 1));
  }
  EXPECT_EQ(client->stats().retries, 3u);
}

TEST_F(Retry, AtMostFourTimesWithGrowingWaits) {
  std::vector<int64_t> at_ns;
  host->on_call = [&](TestCall&, rpc::Call& call) {
    at_ns.push_back(clock.NowNs());
    call.Finish(SurelyNotRun());
  };
  Result& result = Call();
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_NO);
  ASSERT_EQ(at_ns.size(), 1u + policy::kRetriesMax);
  for (size_t i = 1; i < at_ns.size(); ++i) {
    const int64_t waited = at_ns[i] - at_ns[i - 1];
    EXPECT_GE(waited, (policy::kRetryFirstNs << (i - 1)) * 8 / 10);
    EXPECT_LE(waited, (policy::kRetryFirstNs << (i - 1)) * 12 / 10 + kNanosPerMilli);
  }
}

TEST_F(Retry, WhatMayHaveRunIsNot) {
  for (const lever_status code : {LEVER_UNAVAILABLE, LEVER_RESOURCE_EXHAUSTED, LEVER_INTERNAL, LEVER_UNKNOWN}) {
    const size_t before = HostCalls().size();
    host->on_call = FailWith(Status(code, "who knows"));
    Result& result = Call();
    ASSERT_TRUE(Ended(result));
    EXPECT_EQ(result.status.code(), code);
    EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_UNKNOWN);
    EXPECT_EQ(HostCalls().size(), before + 1);
  }
}

TEST_F(Retry, AnErrorOfTheCallsOwnIsNotThoughItDidNotRun) {
  for (const lever_status code : {LEVER_NOT_FOUND, LEVER_INVALID_ARGUMENT, LEVER_UNIMPLEMENTED, LEVER_PERMISSION_DENIED}) {
    const size_t before = HostCalls().size();
    host->on_call = FailWith(Status(code, "no").WithExecuted(LEVER_EXECUTED_NO));
    Result& result = Call();
    ASSERT_TRUE(Ended(result));
    EXPECT_EQ(result.status.code(), code);
    EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_NO);
    EXPECT_EQ(HostCalls().size(), before + 1);
  }
}

TEST_F(Retry, AnIdempotentMethodMayRunTwice) {
  int failures = 2;
  host->on_call = [&](TestCall& handler, rpc::Call& call) {
    if (failures-- > 0) return call.Finish(Unavailable("the instance died"));
    Succeed(handler, call);
  };
  Request request;
  request.idempotent = true;
  Result& result = Call(std::move(request));
  ASSERT_TRUE(Ended(result));
  EXPECT_TRUE(result.status.ok()) << result.status.ToString();
  EXPECT_EQ(HostCalls().size(), 3u);
}

TEST_F(Retry, AfterTheReplyHasBegunNothingIsSentAgain) {
  host->on_call = [&](TestCall& handler, rpc::Call& call) {
    call.Read(1);
    handler.on_message = [](TestCall&, rpc::Call& answered) {
      answered.Write(ValueMessage("\x05"));
      answered.Finish(SurelyNotRun());
    };
  };
  Request request;
  request.idempotent = true;
  Result& result = Call(std::move(request));
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(HostCalls().size(), 1u);
}

TEST_F(Retry, TheBudgetOfAServiceThatFailsRunsOutAndComesBack) {
  host->on_call = FailWith(SurelyNotRun());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Ended(Call()));
  const size_t before = HostCalls().size();
  EXPECT_LT(before, 20u + 8u) << "hardly a retry once half of the tokens are gone";
  ASSERT_TRUE(Ended(Call()));
  EXPECT_EQ(HostCalls().size(), before + 1);
  // Another service has its own.
  Request other;
  other.address = "/other/echo";
  ASSERT_TRUE(Ended(Call(std::move(other))));
  EXPECT_EQ(HostCalls().size(), before + 1 + 5);
  host->on_call = Succeed;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Ended(Call()));
  const size_t healed = HostCalls().size();
  host->on_call = FailWith(SurelyNotRun());
  ASSERT_TRUE(Ended(Call()));
  EXPECT_GT(HostCalls().size(), healed + 1);
}

TEST_F(Retry, NoRetryIsWaitedForThatCouldNotBeginInTime) {
  host->on_call = FailWith(SurelyNotRun());
  Request request;
  request.deadline_ns = clock.NowNs() + 8 * kNanosPerMilli;
  Result& result = Call(std::move(request));
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(HostCalls().size(), 2u);
}

TEST_F(Retry, ADeadlineEndsWhatRunsAndWhatHasPassedIsNotSent) {
  host->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Request request;
  request.deadline_ns = clock.NowNs() + kNanosPerSecond;
  Result& result = Call(std::move(request));
  Settle();
  ASSERT_EQ(HostCalls().size(), 1u);
  Advance(kNanosPerSecond);
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(result.status.executed(), LEVER_EXECUTED_UNKNOWN);
  // The host hears of it.
  ASSERT_TRUE(Until([&] { return HostCalls()[0]->ended(); }));

  Request late;
  late.deadline_ns = clock.NowNs() - 1;
  Result& never = Call(std::move(late));
  ASSERT_TRUE(Ended(never));
  EXPECT_EQ(never.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(never.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(HostCalls().size(), 1u);
}

TEST_F(Retry, AUnaryCallHasSixtySecondsUnlessItSaysOtherwise) {
  host->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Result& call = Call();
  Result& stream = Stream();
  Settle();
  Advance(route::kUnaryTimeoutNs - 1);
  EXPECT_FALSE(call.ended());
  Advance(1);
  EXPECT_EQ(call.status.code(), LEVER_DEADLINE_EXCEEDED);
  EXPECT_FALSE(stream.ended()) << stream.status.ToString();
}

TEST_F(Retry, CancelEndsACallOnceWhereverItIs) {
  host->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Result& running = Call();
  Settle();
  Do([&] {
    running.call->Cancel();
    running.call->Cancel();
    EXPECT_FALSE(running.ended());
  });
  ASSERT_TRUE(Ended(running));
  EXPECT_EQ(running.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(running.status.executed(), LEVER_EXECUTED_UNKNOWN);

  // At once, before anything was written.
  Result& fresh = results.emplace_back();
  Do([&] {
    Request request;
    request.address = "/hello/echo";
    request.payload = Bytes("\x90");
    fresh.call = *client->StartCall(std::move(request), &fresh);
    fresh.call->Cancel();
  });
  ASSERT_TRUE(Ended(fresh));
  EXPECT_EQ(fresh.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(fresh.status.executed(), LEVER_EXECUTED_NO);

  // While it waits to be sent again.
  host->on_call = FailWith(SurelyNotRun());
  Result& waiting = Call();
  Settle();
  ASSERT_FALSE(waiting.ended());
  Do([&] { waiting.call->Cancel(); });
  ASSERT_TRUE(Ended(waiting));
  EXPECT_EQ(waiting.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(waiting.status.executed(), LEVER_EXECUTED_NO);
  for (const Result* result : {&running, &fresh, &waiting}) EXPECT_EQ(result->ends, 1);
}

TEST_F(Retry, AnAnswerThatIsNoneIsTheHostsFault) {
  const auto answered = [&](const std::function<void(rpc::Call&)>& with) -> Result& {
    host->on_call = [with](TestCall& handler, rpc::Call& call) {
      call.Read(1);
      handler.on_message = [with](TestCall&, rpc::Call& answered) { with(answered); };
    };
    Result& result = Call();
    EXPECT_TRUE(Ended(result));
    return result;
  };
  EXPECT_EQ(answered([](rpc::Call& call) { call.Finish(Status::Ok()); }).status.code(), LEVER_INTERNAL);
  EXPECT_EQ(answered([](rpc::Call& call) {
              call.Write(Bytes("\xff"));
              call.Finish(Status::Ok());
            }).status.code(), LEVER_INTERNAL);
  EXPECT_EQ(answered([](rpc::Call& call) {
              call.Write(ValueMessage("\x91"));
              call.Finish(Status::Ok());
            }).status.code(), LEVER_INTERNAL);
  EXPECT_EQ(answered([](rpc::Call& call) {
              call.Write(ValueMessage("\x01"));
              call.Write(ValueMessage("\x02"));
              call.Finish(Status::Ok());
            }).status.code(), LEVER_INTERNAL);
  Result& error = answered([](rpc::Call& call) {
    v1::Message message;
    message.set_error_value("\xa3" "bad");
    call.Write(Packed(message));
    call.Finish(Status::Ok());
  });
  EXPECT_EQ(error.status.code(), LEVER_METHOD_ERROR);
  EXPECT_EQ(error.kind, Kind::kErrorValue);
  EXPECT_EQ(error.payload, "\xa3" "bad");
  EXPECT_EQ(error.status.executed(), LEVER_EXECUTED_YES);
}

TEST_F(Retry, RequestsThatAreNoneAreRefusedAtOnce) {
  const auto refused = [&](Request request, bool stream) {
    Result result;
    lever_status code = LEVER_OK;
    Do([&] {
      code = stream ? client->OpenStream(std::move(request), &result).status().code()
                    : client->StartCall(std::move(request), &result).status().code();
    });
    Settle();
    EXPECT_FALSE(result.ended());
    return code;
  };
  for (const bool stream : {false, true}) {
    Request address, value, kind, path;
    address.address = "hello";
    address.payload = Bytes("\x90");
    EXPECT_EQ(refused(std::move(address), stream), LEVER_INVALID_ARGUMENT);
    value.address = "/hello/echo";
    value.payload = Bytes("\x05");
    EXPECT_EQ(refused(std::move(value), stream), LEVER_INVALID_ARGUMENT);
    kind.address = "/hello/echo";
    kind.kind = Kind::kErrorRaw;
    EXPECT_EQ(refused(std::move(kind), stream), LEVER_INVALID_ARGUMENT);
    path.address = "/hello";
    path.grpc = true;
    path.kind = Kind::kRaw;
    EXPECT_EQ(refused(std::move(path), stream), LEVER_INVALID_ARGUMENT);
  }
  EXPECT_TRUE(HostCalls().empty());
}

TEST_F(Retry, CloseCancelsAllAndIsLast) {
  host->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Result& call = Call();
  Result& stream = Stream();
  Settle();
  bool closed_at_end = true;
  call.on_end = [&] { closed_at_end = closed; };
  Do([&] {
    client->Close();
    EXPECT_FALSE(closed);
    Result late;
    Request request;
    request.address = "/hello/echo";
    request.payload = Bytes("\x90");
    EXPECT_EQ(client->StartCall(std::move(request), &late).status().code(), LEVER_CANCELLED);
  });
  ASSERT_TRUE(Until([&] { return closed; }));
  EXPECT_FALSE(closed_at_end);
  EXPECT_EQ(call.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(stream.status.code(), LEVER_CANCELLED);
  EXPECT_EQ(call.ends + stream.ends, 2);
}

TEST_F(Retry, AHostThatIsGoneEndsCallsAsSurelyNotRun) {
  Do([&] { host->server->Close(Unavailable("the host died")); });
  Settle();
  Result& call = Call();
  Result& stream = Stream();
  ASSERT_TRUE(Ended(call) && Ended(stream));
  for (const Result* result : {&call, &stream}) {
    EXPECT_EQ(result->status.code(), LEVER_UNAVAILABLE);
    EXPECT_EQ(result->status.executed(), LEVER_EXECUTED_NO);
  }
}

TEST_F(Retry, PassThroughIsSentAsItIs) {
  host->on_call = [](TestCall& handler, rpc::Call& call) {
    EXPECT_EQ(call.path(), "/shop.v1.Shop/Buy");
    EXPECT_FALSE(handler.headers.Find("lever-url").has_value());
    call.Read(1);
    handler.on_message = [](TestCall& recorded, rpc::Call& answered) {
      answered.Write(Bytes(recorded.messages.back() + "!"));
      answered.Finish(Status::Ok());
    };
  };
  Request request;
  request.address = "/shop.v1.Shop/Buy";
  request.grpc = true;
  request.kind = Kind::kRaw;
  request.payload = Bytes("\xff");
  Result& result = Call(std::move(request));
  ASSERT_TRUE(Ended(result));
  EXPECT_EQ(result.payload, "\xff!");
  EXPECT_EQ(result.kind, Kind::kRaw);
}

// ---- Streams ----

TEST_F(Retry, AStreamThatSurelyDidNotBeginIsOpenedAgainWithAllThatWasWritten) {
  int refusals = 2;
  std::vector<std::string> got;
  host->on_call = [&](TestCall& handler, rpc::Call& call) {
    call.Read(UINT64_MAX);
    if (refusals > 0) {
      // Only once the three messages are there.
      handler.on_message = [&](TestCall& recorded, rpc::Call& refused) {
        if (recorded.messages.size() < 3) return;
        --refusals;
        refused.Finish(SurelyNotRun());
      };
      return;
    }
    handler.on_peer_end = [&](TestCall& recorded, rpc::Call& ended) {
      got = recorded.messages;
      ended.Finish(Status::Ok());
    };
  };
  Result& stream = Stream();
  Do([&] {
    EXPECT_TRUE(stream.stream->Write(Kind::kValue, Bytes("\x01")).ok());
    EXPECT_TRUE(stream.stream->Write(Kind::kRaw, Bytes("two")).ok());
    stream.stream->CloseSend();
    EXPECT_EQ(stream.stream->Write(Kind::kRaw, {}).code(), LEVER_FAILED_PRECONDITION);
  });
  ASSERT_TRUE(Ended(stream));
  EXPECT_TRUE(stream.status.ok()) << stream.status.ToString();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(ParseMessage(got[0]).value(), "\x90");
  EXPECT_EQ(ParseMessage(got[1]).value(), "\x01");
  EXPECT_EQ(ParseMessage(got[2]).raw(), "two");
}

TEST_F(Retry, AStreamWhoseHeadersCameIsNotOpenedAgain) {
  host->on_call = [](TestCall& handler, rpc::Call& call) {
    call.Read(1);
    handler.on_message = [](TestCall&, rpc::Call& begun) {
      begun.SendHeaders();
      begun.Finish(SurelyNotRun());
    };
  };
  Result& stream = Stream();
  ASSERT_TRUE(Ended(stream));
  EXPECT_EQ(stream.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(HostCalls().size(), 1u);
}

TEST_F(Retry, BeyondTheLimitAStreamIsNotKeptForAnotherTime) {
  size_t bytes = 0;
  host->on_call = [&](TestCall& handler, rpc::Call& call) {
    call.Read(UINT64_MAX);
    handler.on_message = [&](TestCall& recorded, rpc::Call& refused) {
      bytes = recorded.bytes;
      if (bytes > client::kReplayBytesMax) refused.Finish(SurelyNotRun());
    };
  };
  Result& stream = Stream();
  for (int i = 0; i < 5 && !stream.ended(); ++i) {
    Do([&] { EXPECT_TRUE(stream.stream->Write(Kind::kRaw, Bytes(std::string(100'000, 'x'))).ok()); });
    Settle();
  }
  ASSERT_TRUE(Ended(stream));
  EXPECT_EQ(HostCalls().size(), 1u);
  EXPECT_EQ(stream.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(stream.status.executed(), LEVER_EXECUTED_NO) << "it did not begin, though it is not sent again";
}

TEST_F(Retry, AStreamsMessagesComeByCreditAndItsErrorLast) {
  host->on_call = [](TestCall& handler, rpc::Call& call) {
    call.Read(1);
    handler.on_message = [](TestCall&, rpc::Call& begun) {
      for (const char* value : {"\x01", "\x02", "\x03"}) begun.Write(ValueMessage(value));
      v1::Message error;
      error.set_error_value("\xa3" "bad");
      begun.Write(Packed(error));
      begun.Finish(Status::Ok());
    };
  };
  Request request;
  request.read_messages = 2;
  Result& stream = Stream(std::move(request));
  Settle();
  EXPECT_EQ(stream.messages.size(), 2u);
  EXPECT_FALSE(stream.ended());
  Do([&] { stream.stream->Read(10, 0); });
  ASSERT_TRUE(Ended(stream));
  EXPECT_EQ(stream.messages.size(), 3u);
  EXPECT_EQ(stream.status.code(), LEVER_METHOD_ERROR);
  EXPECT_EQ(stream.payload, "\xa3" "bad");
}

TEST_F(Retry, AStreamThatIsCancelledEndsOnceWithWhatItWasGiven) {
  host->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Result& stream = Stream();
  Settle();
  Do([&] {
    stream.stream->Cancel(Aborted("enough"));
    stream.stream->Cancel(Cancelled("again"));
    EXPECT_TRUE(stream.stream->Write(Kind::kRaw, {}).ok()) << "a write that is lost shows in the end";
  });
  ASSERT_TRUE(Ended(stream));
  EXPECT_EQ(stream.status.code(), LEVER_ABORTED);
  EXPECT_EQ(stream.ends, 1);
}

// ---- Echo ----

TEST_F(ClientTest, EchoGivesBackWhatItGets) {
  ClientOptions options;
  options.echo = true;
  Open(std::move(options));
  Request request;
  request.kind = Kind::kRaw;
  request.payload = Bytes("abc");
  Result& call = Call(std::move(request));
  ASSERT_TRUE(Ended(call));
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(call.payload, "abc");
  Result& stream = Stream();
  Do([&] {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(stream.stream->Write(Kind::kRaw, Bytes("m")).ok());
    stream.stream->Read(2, 0);
    stream.stream->CloseSend();
  });
  Settle();
  EXPECT_EQ(stream.messages.size(), 2u);
  EXPECT_FALSE(stream.ended());
  Do([&] { stream.stream->Read(1, 0); });
  ASSERT_TRUE(Ended(stream));
  EXPECT_TRUE(stream.status.ok());
  EXPECT_EQ(stream.messages.size(), 3u);
}

}  // namespace
}  // namespace lever::client
