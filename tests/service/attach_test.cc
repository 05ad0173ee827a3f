// The attach session against a fake host: hello and welcome, load reports, what goes wrong.
#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "liblever/base/random.h"
#include "liblever/policy/silence.h"
#include "liblever/service/attach_messages.h"
#include "liblever/service/attachment.h"
#include "liblever/service/load_tracker.h"
#include "tests/service/service_fixture.h"
#include "tests/value/mutation.h"

namespace lever::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Attaching : public ServiceTest {
 protected:
  // As a program that attaches itself.
  void StartAttached(ServiceOptions options = {}) {
    char directory[] = "/tmp/lever-attach-XXXXXX";
    directory_ = ::mkdtemp(directory);
    Do([&] {
      const auto endpoint = *rpc::Endpoint::Parse("unix:" + directory_ + "/host");
      ASSERT_TRUE(host->server->Listen(endpoint).ok());
      options.name = "hello";
      options.host = endpoint.ToString();
      auto opened = Service::Open(loop.get(), std::move(options), &program);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      service = std::move(opened).value();
      AddMethods();
      ASSERT_TRUE(service->Start().ok());
    });
  }
  ~Attaching() override { std::filesystem::remove_all(directory_); }

  // Before the loop has run: what the welcome names is there then.
  void ListenForIntroductions() {
    const std::string path = directory_ + "/introductions";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    host->welcome.set_introduction_path(path);
  }
  UniqueFd AcceptIntroductions() {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    EXPECT_TRUE(socket.valid());
    return socket;
  }
  bool Received(bool (v1::FromInstance::*what)() const) {
    return !host->attaches.empty() && std::any_of(attach().received.begin(), attach().received.end(),
                                                  [what](const auto& m) { return (m.*what)(); });
  }

  UniqueFd listener_;

  std::string directory_ = "/tmp/lever-attach-none";
};

TEST_F(Attaching, AStartedInstanceIsToldWhoItIs) {
  host->welcome.set_config_json(R"({"a":1})");
  host->welcome.set_secrets_json(R"({"token":"hunter2"})");
  Start();
  const auto& hello = attach().received.at(0).hello();
  EXPECT_EQ(hello.protocol_min(), 1u);
  EXPECT_EQ(hello.protocol_max(), 1u);
  EXPECT_EQ(hello.environment(), "");
  EXPECT_EQ(hello.service(), "");
  EXPECT_EQ(hello.pid(), static_cast<uint64_t>(::getpid()));
  EXPECT_EQ(std::vector<std::string>(hello.methods().begin(), hello.methods().end()),
            (std::vector<std::string>{"echo", "echoChan", "other"}));
  EXPECT_TRUE(attach().received.at(1).has_ready());
  const Details& details = service->details();
  EXPECT_EQ(details.environment, "dev.lever");
  EXPECT_EQ(details.name, "hello");
  EXPECT_EQ(details.version, 7u);
  EXPECT_EQ(details.instance, "i-1");
  EXPECT_EQ(details.config_json, R"({"a":1})");
  EXPECT_EQ(details.secrets_json, R"({"token":"hunter2"})");
}

TEST_F(Attaching, AnAttachedProgramSaysWhoItIs) {
  StartAttached();
  ASSERT_TRUE(Until([&] { return service->state() == State::kAttached; }));
  EXPECT_EQ(attach().received.at(0).hello().environment(), "dev.lever");
  EXPECT_EQ(attach().received.at(0).hello().service(), "hello");
}

TEST_F(Attaching, AProgramThatTheHostCannotReachIsToldAndNotAttached) {
  host->welcome.set_introduction_path("/nowhere/introduction.sock");
  StartAttached();
  ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
  EXPECT_THAT(program.states, ElementsAre(State::kStarting, State::kDetached));
  EXPECT_EQ(program.last_status.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(program.last_status.message(), HasSubstr("/nowhere/introduction.sock"));
  EXPECT_THAT(program.last_status.message(), HasSubstr("an address to listen on"));
}

TEST_F(Attaching, AnAddressToListenOnIsAWayWithoutTheIntroductionSocket) {
  host->welcome.set_introduction_path("/nowhere/introduction.sock");
  ServiceOptions options;
  options.listen = "127.0.0.1:0";
  StartAttached(std::move(options));
  ASSERT_TRUE(Until([&] { return service->state() == State::kAttached; }));
}

TEST_F(Attaching, AProgramIsAttachedWhenCallsFindItAndHasNoneBefore) {
  host->answer_ready = false;
  StartAttached();
  ListenForIntroductions();
  ASSERT_TRUE(Until([&] { return Received(&v1::FromInstance::has_ready); }));
  host->introductions = AcceptIntroductions();
  TestCall& early = Call(Introduced(), {});
  Settle();
  EXPECT_EQ(program.calls, 0);
  EXPECT_THAT(program.states, ElementsAre(State::kStarting));
  v1::ToInstance serving;
  serving.mutable_serving();
  Do([&] { attach().Send(serving); });
  ASSERT_TRUE(Until([&] { return early.ended(); }));
  EXPECT_EQ(early.status.code(), LEVER_OK);
  EXPECT_THAT(program.states, ElementsAre(State::kStarting, State::kAttached));
}

TEST_F(Attaching, ADrainBeforeItIsAttachedTellsWhoCalledAlready) {
  host->answer_ready = false;
  StartAttached();
  ListenForIntroductions();
  ASSERT_TRUE(Until([&] { return Received(&v1::FromInstance::has_ready); }));
  host->introductions = AcceptIntroductions();
  TestCall& early = Call(Introduced(), {});
  Settle();
  Do([&] { service->Drain(); });
  ASSERT_TRUE(Until([&] { return early.ended(); }));
}

TEST_F(Attaching, TheHostsLimitHoldsBesideTheProgramsOwn) {
  host->welcome.set_concurrency_max(1);
  ServiceOptions options;
  options.concurrency_max = 5;
  Start(std::move(options));
  program.on_call = [](IncomingCall& call) { EXPECT_TRUE(call.Begin()); };
  rpc::Channel* caller = Introduced();
  Call(caller, {});
  ASSERT_TRUE(Until([&] { return program.calls == 1; }));
  TestCall& second = Call(caller, {});
  ASSERT_TRUE(Until([&] { return second.ended(); }));
  EXPECT_EQ(second.status.code(), LEVER_RESOURCE_EXHAUSTED);
}

TEST_F(Attaching, LoadIsReportedAtTheEdgesAtOnceAndElseByTheInterval) {
  host->welcome.set_load_interval_ns(100 * kNanosPerMilli);
  Start();
  std::vector<IncomingCall*> held;
  program.on_call = [&](IncomingCall& call) {
    EXPECT_TRUE(call.Begin());
    held.push_back(&call);
  };
  Advance(kNanosPerSecond);
  Advance(kReportSpacingNs);
  const size_t before = Loads().size();
  rpc::Channel* caller = Introduced();
  Call(caller, {});
  ASSERT_TRUE(Until([&] { return held.size() == 1; }));
  Settle();
  ASSERT_EQ(Loads().size(), before + 1) << "the first call is told at once";
  EXPECT_EQ(Loads().back().calls(), 1u);
  // More of them wait for the interval, and are told together.
  for (int i = 0; i < 3; ++i) Call(caller, {});
  ASSERT_TRUE(Until([&] { return held.size() == 4; }));
  AdvanceInSteps(90 * kNanosPerMilli, 10 * kNanosPerMilli);
  EXPECT_EQ(Loads().size(), before + 1);
  Advance(10 * kNanosPerMilli);
  ASSERT_EQ(Loads().size(), before + 2);
  EXPECT_EQ(Loads().back().calls(), 4u);
  EXPECT_EQ(Loads().back().calls_total(), 4u);
  // The last end is an edge, but never sooner than the spacing after the report before.
  for (IncomingCall* call : held) Do([&] { EXPECT_TRUE(call->Reply(Kind::kRaw, {}, nullptr).ok()); });
  Settle();
  EXPECT_EQ(Loads().size(), before + 2);
  Advance(kReportSpacingNs - 1);
  EXPECT_EQ(Loads().size(), before + 2);
  Advance(1);
  ASSERT_EQ(Loads().size(), before + 3);
  EXPECT_EQ(Loads().back().calls(), 0u);
  // Nothing changes, nothing is told before the heartbeat.
  AdvanceInSteps(policy::kHeartbeatNs - 50 * kNanosPerMilli, 50 * kNanosPerMilli);
  EXPECT_EQ(Loads().size(), before + 3);
}

TEST_F(Attaching, WhatHasEndedIsReportedAndWhatOfItWithAnError) {
  host->welcome.set_load_interval_ns(100 * kNanosPerMilli);
  Start();
  rpc::Channel* caller = Introduced();
  const auto reported = [&] {
    Settle();
    Advance(kNanosPerSecond);
    return std::make_pair(Loads().back().ended_total(), Loads().back().errors_total());
  };
  TestCall& good = Call(caller, {});
  ASSERT_TRUE(Until([&] { return good.ended(); }));
  EXPECT_EQ(reported(), std::make_pair(uint64_t{1}, uint64_t{0}));

  program.on_call = [](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    SliceList error;
    error.push_back(Slice::Copy("\xa2no"));
    EXPECT_TRUE(call.Reply(Kind::kErrorValue, std::move(error), nullptr).ok());
  };
  TestCall& own = Call(caller, {});
  ASSERT_TRUE(Until([&] { return own.ended(); }));
  EXPECT_EQ(reported(), std::make_pair(uint64_t{2}, uint64_t{1}));

  program.on_call = [](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    call.Fail(Internal("it broke"));
  };
  TestCall& broken = Call(caller, {});
  ASSERT_TRUE(Until([&] { return broken.ended(); }));
  EXPECT_EQ(reported(), std::make_pair(uint64_t{3}, uint64_t{2}));

  // Refused before it began, and given up by its caller.
  program.on_call = [](IncomingCall& call) { call.Fail(Unavailable("not now")); };
  TestCall& refused = Call(caller, {});
  ASSERT_TRUE(Until([&] { return refused.ended(); }));
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    held = &call;
  };
  TestCall& given_up = Call(caller, {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Do([&] { given_up.call->Cancel(Cancelled("enough")); });
  ASSERT_TRUE(Until([&] { return program.cancelled == 1; }));
  Do([&] { held->Fail(Internal("it was cancelled")); });
  EXPECT_EQ(reported(), std::make_pair(uint64_t{3}, uint64_t{2}));

  // One whose deadline passes is not what its caller wanted.
  held = nullptr;
  Call(caller, {.deadline_ns = loop->now_ns() + kNanosPerSecond});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Advance(2 * kNanosPerSecond);
  ASSERT_TRUE(Until([&] { return program.cancelled == 2; }));
  Do([&] { held->Fail(Internal("it was cancelled")); });
  EXPECT_EQ(reported(), std::make_pair(uint64_t{4}, uint64_t{3}));
}

TEST_F(Attaching, AnIdleInstanceSaysEverySecondThatItLives) {
  Start();
  Advance(policy::kHeartbeatNs);
  const size_t before = Loads().size();
  AdvanceInSteps(10 * kNanosPerSecond, 100 * kNanosPerMilli);
  EXPECT_EQ(Loads().size(), before + 10);
  EXPECT_EQ(Loads().back().calls_total(), 0u);
}

TEST_F(Attaching, ACallerThatCallsAgainAndAgainCostsFiftyReportsASecond) {
  Start();
  rpc::Channel* caller = Introduced();
  Advance(kNanosPerSecond);
  const size_t before = Loads().size();
  for (int i = 0; i < 500; ++i) {
    TestCall& call = Call(caller, {});
    ASSERT_TRUE(Until([&] { return call.ended(); }));
    Advance(2 * kNanosPerMilli);
  }
  EXPECT_LE(Loads().size() - before, 51u);
  EXPECT_GE(Loads().size() - before, 20u);
}

TEST_F(Attaching, AnotherProtocolIsRefusedAndSaidSo) {
  host->welcome.set_protocol(2);
  StartAttached();
  ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
  EXPECT_THAT(program.last_status.message(), HasSubstr("the host speaks attach protocol 2, this library 1"));
  // Asked again, in case that the host is replaced; not as fast as it can.
  EXPECT_EQ(host->attaches.size(), 1u);
  host->welcome.set_protocol(1);
  ASSERT_TRUE(Until([&] {
    Advance(100 * kNanosPerMilli);
    return service->state() == State::kAttached;
  }));
}

TEST_F(Attaching, AHostThatSpeaksNonsenseIsLeft) {
  host->accept_attach = false;
  StartAttached();
  ASSERT_TRUE(Until([&] { return !host->attaches.empty() && !attach().received.empty(); }));
  Do([&] { attach().SendRaw("\x0a\x7f"); });
  ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
  EXPECT_THAT(program.last_status.message(), HasSubstr("not a lever.v1.ToInstance"));
}

TEST_F(Attaching, ASecondWelcomeIsNonsense) {
  Start();
  v1::ToInstance again;
  *again.mutable_welcome() = host->welcome;
  Do([&] { attach().Send(again); });
  ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
  EXPECT_THAT(program.last_status.message(), HasSubstr("second welcome"));
}

TEST_F(Attaching, WhatALaterProtocolSaysIsPassedOver) {
  Start();
  Do([&] { attach().SendRaw("\x7a\x02hi"); });
  Settle();
  EXPECT_EQ(service->state(), State::kAttached);
}

TEST_F(Attaching, ReconnectsWithGrowingWaitsWhenTheHostIsGone) {
  StartAttached();
  ASSERT_TRUE(Until([&] { return service->state() == State::kAttached; }));
  for (int i = 0; i < 3; ++i) {
    const size_t sessions = host->attaches.size();
    Do([&] { attach().call->Finish(Unavailable("restarting")); });
    ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
    Settle();
    EXPECT_EQ(host->attaches.size(), sessions) << "not at once";
    ASSERT_TRUE(Until([&] {
      Advance(10 * kNanosPerMilli);
      return service->state() == State::kAttached;
    }));
    EXPECT_EQ(host->attaches.size(), sessions + 1);
  }
}

TEST_F(Attaching, AskedAgainByAHostThatNeverWelcomesItSlowsDown) {
  host->accept_attach = false;
  StartAttached();
  std::vector<int64_t> opened_ns;
  size_t sessions = 0;
  for (int steps = 0; opened_ns.size() < 12 && steps < 100'000; ++steps) {
    Advance(10 * kNanosPerMilli);
    if (host->attaches.size() == sessions || attach().received.empty()) continue;
    sessions = host->attaches.size();
    opened_ns.push_back(clock.NowNs());
    Do([&] { attach().call->Finish(Unavailable("not now")); });
  }
  ASSERT_EQ(opened_ns.size(), 12u);
  for (size_t i = 1; i < opened_ns.size(); ++i) {
    const int64_t wanted = std::min(rpc::kReconnectMinNs << (i - 1), rpc::kReconnectMaxNs);
    const int64_t waited = opened_ns[i] - opened_ns[i - 1];
    EXPECT_GE(waited, wanted * 8 / 10) << i;
    EXPECT_LE(waited, wanted * 12 / 10 + 50 * kNanosPerMilli) << i;
  }
}

TEST_F(Attaching, OverInheritedSocketsTheEndIsTheEnd) {
  Start();
  Do([&] { host->server->Close(Unavailable("the host died")); });
  ASSERT_TRUE(Until([&] { return service->state() == State::kDetached; }));
  const size_t sessions = host->attaches.size();
  AdvanceInSteps(20 * kNanosPerSecond, kNanosPerSecond);
  EXPECT_EQ(host->attaches.size(), sessions);
}

TEST_F(Attaching, MethodsAndStartsAreCheckedWhenTheyAreMade) {
  Start();
  Do([&] {
    EXPECT_EQ(service->AddMethod("late", nullptr).code(), LEVER_FAILED_PRECONDITION);
    EXPECT_EQ(service->Start().code(), LEVER_FAILED_PRECONDITION);
    Program other;
    auto attached = Service::Open(loop.get(), {.name = "Bad Name", .host = "unix:/nowhere", .listen = ""}, &other);
    EXPECT_EQ(attached.status().code(), LEVER_INVALID_ARGUMENT);
    attached = Service::Open(loop.get(), {.name = "good", .host = "", .listen = ""}, &other);
    EXPECT_EQ(attached.status().code(), LEVER_INVALID_ARGUMENT);
    attached = Service::Open(loop.get(), {.name = "good", .host = "unix:/nowhere", .listen = ""}, &other);
    ASSERT_TRUE(attached.ok());
    EXPECT_TRUE((*attached)->AddMethod("one", nullptr).ok());
    EXPECT_EQ((*attached)->AddMethod("one", nullptr).code(), LEVER_ALREADY_EXISTS);
    EXPECT_EQ((*attached)->AddMethod("1", nullptr).code(), LEVER_INVALID_ARGUMENT);
  });
}

// ---- Inherited sockets ----

class Inherited : public ::testing::Test {
 protected:
  // In a child, because a process takes them once.
  static void InChild(const char* variable, int attach, int introduction) {
    EXPECT_EXIT(
        {
          ::setenv("LEVER_FDS", variable, 1);
          const InheritedSockets sockets = TakeInheritedSockets();
          const InheritedSockets again = TakeInheritedSockets();
          ::_exit(sockets.attach == attach && sockets.introduction == introduction && again.attach == -1 ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "")
        << variable;
  }
};

TEST_F(Inherited, AreTakenOnceAndOnlyIfTheyAreThere) {
  auto pair = SocketPair(SOCK_STREAM);
  const int a = pair->first.get(), b = pair->second.get();
  const std::string both = std::to_string(a) + "," + std::to_string(b);
  InChild(both.c_str(), a, b);
  for (const char* wrong : {"", ",", "3", "0,1", "-3,4", "3,4,5", "x,y", "999,998", "3;4", " 3,4",
                            "99999999999,4"}) {
    InChild(wrong, -1, -1);
  }
}

// ---- Messages ----

TEST(AttachMessages, TenThousandMutationsAreReadAsProtobufReadsThemOrRefused) {
  v1::ToInstance welcome, drain;
  welcome.mutable_welcome()->set_protocol(1);
  welcome.mutable_welcome()->set_environment("dev.lever");
  welcome.mutable_welcome()->set_instance("i-1");
  welcome.mutable_welcome()->set_nonce("0123456789abcdef");
  welcome.mutable_welcome()->set_load_interval_ns(250'000'000);
  drain.mutable_drain()->set_timeout_ns(30'000'000'000);
  drain.mutable_drain()->set_reason("idle");
  const std::vector<std::string> seeds = {welcome.SerializeAsString(), drain.SerializeAsString()};
  const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  Random random(TestSeed());
  int parsed_count = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string bytes = Mutated(seeds, "\x08\x0a\x10\x12\x18\x1a\xff\x7f\x80", &random);
    ToInstance parsed;
    const Status read = ParseToInstance(bytes, &parsed);
    if (!read.ok()) {
      EXPECT_EQ(read.code(), LEVER_INVALID_ARGUMENT);
      continue;
    }
    // One field, the welcome: of two of them protobuf makes one, and we take the last.
    const bool one = bytes.size() > 2 && bytes[0] == '\x0a' && static_cast<size_t>(bytes[1]) == bytes.size() - 2;
    v1::ToInstance oracle;
    const auto* ours = std::get_if<InstanceWelcome>(&parsed);
    // It refuses text that is not UTF-8, which we do not look at.
    if (!one || !oracle.ParseFromString(bytes)) continue;
    ASSERT_NE(ours, nullptr);
    ++parsed_count;
    EXPECT_EQ(ours->protocol, oracle.welcome().protocol());
    EXPECT_EQ(ours->environment, oracle.welcome().environment());
    EXPECT_EQ(ours->instance, oracle.welcome().instance());
    EXPECT_EQ(ours->nonce, oracle.welcome().nonce());
    EXPECT_EQ(ours->load_interval_ns, oracle.welcome().load_interval_ns());
  }
  EXPECT_GT(parsed_count, 200);
}

TEST(LoadTracker, TellsTheMedianOfTheRecentCallsAndWhenItWasActive) {
  LoadTracker load;
  EXPECT_EQ(load.Report(), LoadReport());
  load.CallBegan(10);
  load.StreamBegan(20);
  EXPECT_EQ(load.in_flight(), 2u);
  EXPECT_EQ(load.Report().calls, 1u);
  EXPECT_EQ(load.Report().streams, 1u);
  EXPECT_EQ(load.Report().last_active_ns, 20u);
  EXPECT_EQ(load.Report().latency_ns, 0u);
  load.CallEnded(30, 5);
  load.StreamEnded(40);
  EXPECT_EQ(load.in_flight(), 0u);
  EXPECT_EQ(load.Report().latency_ns, 5u);
  EXPECT_EQ(load.Report().calls_total, 1u);
  EXPECT_EQ(load.Report().last_active_ns, 40u);
  for (int i = 0; i < 100; ++i) {
    load.CallBegan(50);
    load.CallEnded(50, i % 2 == 0 ? 1000 : 3000);
  }
  const uint64_t median = load.Report().latency_ns;
  EXPECT_TRUE(median == 1000 || median == 3000);
  // A change is followed within as many calls as are kept.
  for (size_t i = 0; i < LoadTracker::kRecentCalls; ++i) {
    load.CallBegan(60);
    load.CallEnded(60, 9);
  }
  EXPECT_EQ(load.Report().latency_ns, 9u);
  load.CallBegan(70);
  load.CallEnded(70, -5);
  EXPECT_EQ(load.Report().latency_ns, 9u);
}

}  // namespace
}  // namespace lever::service
