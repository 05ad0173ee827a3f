// Direct connections: the watch, introductions, who is picked, and the host as the way that is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/client/client_fixture.h"

namespace lever::client {
namespace {

class Direct : public ClientTest {
 protected:
  Direct() { Open(); }
  size_t Calls(size_t instance) { return instances[instance]->calls.size(); }
};

TEST_F(Direct, TheFirstCallGoesThroughTheHostAndAsksForARoute) {
  host->on_call = Succeed;
  ASSERT_TRUE(Ended(Call()));
  ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches[0].received.size() == 2; }));
  EXPECT_TRUE(host->watches[0].received[0].has_hello());
  EXPECT_EQ(host->watches[0].received[1].subscribe().environment(), "dev.lever");
  EXPECT_EQ(host->watches[0].received[1].subscribe().service(), "hello");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Ended(Call()));
  EXPECT_EQ(host->watches[0].received.size(), 2u) << "one subscription a service";
  EXPECT_EQ(client->stats().calls_through_host, 6u);
}

TEST_F(Direct, OnceIntroducedCallsGoStraightToTheInstance) {
  AddInstance("a");
  ConnectDirectly();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Ended(Call()));
  EXPECT_EQ(Calls(0), 10u);
  EXPECT_EQ(HostCalls().size(), 1u);
  EXPECT_EQ(client->stats().calls_direct, 10u);
}

TEST_F(Direct, CompressedRequestsGoCompressedToHostAndInstance) {
  AddInstance("a");
  std::string came;
  const TestCall::Hook look = [&](TestCall& handler, rpc::Call& call) {
    call.set_compression(rpc::Compression::kGzip);
    call.Read(1);
    handler.on_message = [&](TestCall&, rpc::Call& answered) {
      came += answered.message_was_compressed() ? 'c' : '-';
      answered.Write(Bytes(std::string("\x12\xe8\x07", 3) + std::string(1000, 'r')));
      answered.Finish(Status::Ok());
    };
  };
  // The array of a text of 1,000 bytes.
  const std::string text = std::string("\x91\xda\x03\xe8", 4) + std::string(1000, 't');
  const auto call = [&](bool compress) {
    Result& result = Call({.address = {}, .payload = Bytes(text), .compress = compress});
    return Ended(result) && result.payload == std::string(1000, 'r');
  };
  host->on_call = look;
  ASSERT_TRUE(call(true));
  ConnectDirectly();
  instances[0]->on_call = look;
  for (bool compress : {false, true, false}) ASSERT_TRUE(call(compress));
  EXPECT_EQ(came, "c-c-");
}

TEST_F(Direct, OnlyThroughHostMeansThat) {
  Close();
  closed = false;
  Do([&] { client.reset(); });
  ClientOptions options;
  options.only_through_host = true;
  Open(std::move(options));
  host->on_call = Succeed;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Ended(Call()));
  EXPECT_TRUE(host->watches.empty());
  EXPECT_EQ(HostCalls().size(), 3u);
}

TEST_F(Direct, ARefusedCallGoesToAnotherInstanceAndThenToTheHost) {
  AddInstance("a");
  AddInstance("b");
  ConnectDirectly();
  for (const auto& instance : instances) instance->on_call = FailWith(SurelyNotRun());
  Result& result = Call();
  ASSERT_TRUE(Ended(result));
  EXPECT_TRUE(result.status.ok()) << result.status.ToString();
  EXPECT_EQ(Calls(0), 1u);
  EXPECT_EQ(Calls(1), 1u);
  EXPECT_EQ(HostCalls().size(), 2u);
  EXPECT_EQ(HostCalls()[1]->headers.Find("lever-attempt"), "3");
}

TEST_F(Direct, AnInstanceThatDiesUnderACallIsOutcomeUnknownAndIsLeft) {
  AddInstance("a");
  ConnectDirectly();
  instances[0]->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  Result& running = Call();
  ASSERT_TRUE(Until([&] { return Calls(0) == 1; }));
  Do([&] { instances[0]->server.reset(); });
  ASSERT_TRUE(Ended(running));
  EXPECT_EQ(running.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(running.status.executed(), LEVER_EXECUTED_UNKNOWN);
  // All that is sent after its socket closed succeeds.
  for (int i = 0; i < 5; ++i) {
    Result& next = Call();
    ASSERT_TRUE(Ended(next));
    EXPECT_TRUE(next.status.ok()) << next.status.ToString();
  }
  EXPECT_EQ(client->stats().direct_connections, 0u);
}

TEST_F(Direct, OfTwoTheOneWithLessInFlightIsTaken) {
  AddInstance("a");
  AddInstance("b");
  ConnectDirectly();
  instances[0]->on_call = [](TestCall&, rpc::Call& call) { call.Read(1); };
  // As many as it takes to have some held by the first.
  for (int i = 0; i < 1000 && Calls(0) < 3; ++i) {
    Call();
    Settle();
  }
  ASSERT_GE(Calls(0), 1u);
  const size_t held = Calls(0), before = Calls(1);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Ended(Call()));
  EXPECT_EQ(Calls(0), held) << "it has calls in flight, the other has none";
  EXPECT_EQ(Calls(1), before + 20);
}

TEST_F(Direct, IdleInstancesShareTheCalls) {
  for (const char* id : {"a", "b", "c", "d"}) AddInstance(id);
  ConnectDirectly();
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(Ended(Call()));
  for (size_t i = 0; i < 4; ++i) EXPECT_GT(Calls(i), 20u) << i;
}

TEST_F(Direct, AnInstanceThatLeavesTheTableFinishesWhatItHas) {
  AddInstance("a");
  ConnectDirectly();
  rpc::Call* held = nullptr;
  instances[0]->on_call = [&](TestCall&, rpc::Call& call) {
    call.Read(1);
    held = &call;
  };
  Result& running = Call();
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Do([&] { host->SendRoutes("hello", ++revision, {}); });
  ASSERT_TRUE(Until([&] { return client->stats().direct_connections == 0; }));
  ASSERT_TRUE(Ended(Call()));
  EXPECT_EQ(Calls(0), 1u);
  EXPECT_EQ(HostCalls().size(), 2u);
  Do([&] {
    held->Write(ValueMessage("\x07"));
    held->Finish(Status::Ok());
  });
  ASSERT_TRUE(Ended(running));
  EXPECT_TRUE(running.status.ok());
  EXPECT_EQ(running.payload, "\x07");
}

TEST_F(Direct, AnOlderTableIsDropped) {
  AddInstance("a");
  revision = 10;
  ConnectDirectly();
  Do([&] { host->SendRoutes("hello", 5, {}); });
  Do([&] { host->SendRoutes("nobody", 50, {"a"}); });
  Settle();
  EXPECT_EQ(client->stats().direct_connections, 1u);
}

TEST_F(Direct, AnIntroductionThatFailsIsAskedForAgainLater) {
  AddInstance("a");
  host->on_call = Succeed;
  ASSERT_TRUE(Ended(Call()));
  ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches[0].received.size() == 2; }));
  Do([&] { host->SendRoutes("hello", 1, {"a"}); });
  std::vector<int64_t> asked_ns;
  for (int i = 0; i < 3000 && asked_ns.size() < 6; ++i) {
    for (const v1::Introduce& asked : host->TakeIntroduceRequests()) {
      asked_ns.push_back(clock.NowNs());
      v1::ToWatcher failed;
      failed.mutable_introduced()->set_id(asked.id());
      failed.mutable_introduced()->set_status(LEVER_UNAVAILABLE);
      failed.mutable_introduced()->set_message("its socket is full");
      Do([&] { host->watches[0].Send(failed); });
    }
    Result& call = Call();
    ASSERT_TRUE(Ended(call));
    EXPECT_TRUE(call.status.ok()) << "calls go through the host meanwhile";
    Advance(10 * kNanosPerMilli);
  }
  ASSERT_EQ(asked_ns.size(), 6u);
  for (size_t i = 1; i < asked_ns.size(); ++i) {
    EXPECT_GE(asked_ns[i] - asked_ns[i - 1], route::kIntroductionRetryMinNs << (i - 1)) << i;
  }
}

TEST_F(Direct, AnIntroductionThatIsNotAnsweredIsGivenUpAfterFiveSeconds) {
  AddInstance("a");
  host->on_call = Succeed;
  ASSERT_TRUE(Ended(Call()));
  ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches[0].received.size() == 2; }));
  Do([&] { host->SendRoutes("hello", 1, {"a"}); });
  std::vector<v1::Introduce> first;
  ASSERT_TRUE(Until([&] {
    first = host->TakeIntroduceRequests();
    return !first.empty();
  }));
  Advance(route::kIntroductionTimeoutNs);
  Advance(route::kIntroductionRetryMinNs);
  ASSERT_TRUE(Ended(Call()));
  ASSERT_TRUE(Until([&] { return !host->watches[0].received.empty() && host->watches[0].received.back().has_introduce(); }));
  // The late answer is refused by its id.
  auto pair = SocketPair(SOCK_STREAM);
  v1::Introduction packet;
  packet.mutable_outgoing()->set_id(first[0].id());
  host->SendIntroduction(packet, pair->first);
  std::vector<v1::Introduction> answers;
  ASSERT_TRUE(Until([&] {
    for (auto& answer : host->ReadIntroductions()) answers.push_back(answer);
    return !answers.empty();
  }));
  EXPECT_EQ(answers[0].failed(), first[0].id());
  ASSERT_TRUE(Until([&] {
    AnswerIntroductions();
    return client->stats().direct_connections == 1;
  }));
}

TEST_F(Direct, AServiceThatIsNotUsedIsForgotten) {
  AddInstance("a");
  ConnectDirectly();
  AdvanceInSteps(route::kRouteIdleNs + 2 * route::kRouteSweepNs, route::kRouteSweepNs / 2);
  EXPECT_EQ(client->stats().direct_connections, 0u);
  EXPECT_EQ(link->router().subscriptions(), 0u);
  Result& again = Call();
  ASSERT_TRUE(Ended(again));
  EXPECT_TRUE(again.status.ok());
}

TEST_F(Direct, AServiceThatIsInUseIsNotForgotten) {
  AddInstance("a");
  ConnectDirectly();
  rpc::Call* held = nullptr;
  instances[0]->on_call = [&](TestCall&, rpc::Call& call) {
    call.Read(1);
    call.SendHeaders();
    held = &call;
  };
  Result& stream = Stream();
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  AdvanceInSteps(2 * route::kRouteIdleNs, route::kRouteSweepNs / 6);
  EXPECT_FALSE(stream.ended()) << stream.status.ToString();
  EXPECT_EQ(client->stats().direct_connections, 1u);
}

TEST_F(Direct, AHostThatSpeaksAnotherProtocolLeavesItsWay) {
  host->watch_welcome.set_protocol(2);
  host->on_call = Succeed;
  for (int i = 0; i < 3; ++i) {
    Result& call = Call();
    ASSERT_TRUE(Ended(call));
    EXPECT_TRUE(call.status.ok());
    Advance(kNanosPerSecond);
  }
  EXPECT_EQ(client->stats().calls_through_host, 3u);
}

TEST_F(Direct, TheTableOfARestartedHostReplacesTheOld) {
  char directory[] = "/tmp/lever-direct-XXXXXX";
  const std::string path = std::string(::mkdtemp(directory)) + "/host";
  Close();
  closed = false;
  Do([&] {
    client.reset();
    ASSERT_TRUE(host->server->Listen(*rpc::Endpoint::Parse("unix:" + path)).ok());
    link = std::move(route::HostLink::To(loop.get(), "unix:" + path, {}, 7)).value();
    ClientOptions options;
    options.link = link;
    client = std::move(Client::Open(loop.get(), std::move(options), this_handler())).value();
  });
  host->on_call = Succeed;
  ASSERT_TRUE(Ended(Call()));
  ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches.back().received.size() == 2; }));
  Do([&] {
    host->SendRoutes("hello", 90, {"a", "b"});
    host->watches.back().call->Finish(Unavailable("restarting"));
  });
  const size_t sessions = host->watches.size();
  ASSERT_TRUE(Until([&] {
    Advance(10 * kNanosPerMilli);
    return host->watches.size() == sessions + 1 && host->watches.back().received.size() >= 2;
  }));
  EXPECT_EQ(host->watches.back().received[1].subscribe().service(), "hello") << "asked for anew";
  // Its revisions begin anew too.
  // Nothing can be handed over here, but an address can be asked for.
  Do([&] { host->SendRoutes("hello", 1, {"c"}, FakeHost::Listens::kYes); });
  ASSERT_TRUE(Until([&] {
    for (const auto& asked : host->TakeIntroduceRequests()) {
      if (asked.instance() == "c") return true;
    }
    return false;
  }));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace lever::client
