// An address with "tls:" of a program's own: who calls there shows a token of the host's first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/route/token.h"
#include "liblever/rpc/tls.h"
#include "liblever/service/admission.h"
#include "tests/service/service_fixture.h"

namespace lever::service {
namespace {

using ::testing::HasSubstr;

class Admitting : public ServiceTest {
 protected:
  Admitting() { Tell(*signer); }

  void Tell(const route::TokenSigner& by) {
    v1::TokenKey& key = *host->welcome.add_token_keys();
    key.set_id(by.key().id);
    key.set_public_key(by.key().public_key.data(), by.key().public_key.size());
  }
  void Listen(bool is_private = false) {
    ServiceOptions options;
    options.listen = "tls:127.0.0.1:0";
    options.is_private = is_private;
    Start(std::move(options));
  }
  // A connection to the address, which has shown nothing.
  rpc::Channel* Stranger() {
    Do([&] {
      const auto tls = rpc::TlsClientContext::OpenForKey(attach().received.front().hello().listen_key_hash());
      channels.push_back(rpc::Channel::Once(
          loop.get(), *rpc::Endpoint::Parse(service->details().listening), {}, tls.value()));
    });
    return channels.back().get();
  }
  std::string Token(const std::string& caller = "lever://dev.lever/shop", int64_t life_s = 300) {
    route::TokenClaims claims;
    claims.issuer = "host-1";
    claims.caller = caller;
    claims.audience = host->welcome.instance();
    claims.issued_s = route::UnixNowSeconds();
    claims.expires_s = claims.issued_s + life_s;
    claims.host = caller == "host";
    return signer->Sign(claims);
  }
  // What becomes of a call with a token, or without one.
  TestCall& Ask(rpc::Channel* channel, const std::string& token = "") {
    Ask_ ask;
    if (!token.empty()) ask.headers.emplace_back("lever-token", token);
    TestCall& call = Call(channel, ask);
    EXPECT_TRUE(Until([&] { return call.ended(); }));
    return call;
  }
  using Ask_ = ServiceTest::Ask;
  // It has not run, and the caller is told so.
  void ExpectRefused(const TestCall& call, lever_status code) {
    EXPECT_EQ(call.status.code(), code) << call.Text();
    EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  }

  std::unique_ptr<route::TokenSigner> signer = route::TokenSigner::Make().value();
};

TEST_F(Admitting, TheHostIsToldOfTheAddressAndItsKey) {
  Listen();
  const auto& hello = attach().received.front().hello();
  EXPECT_EQ(hello.listen(), service->details().listening);
  EXPECT_THAT(hello.listen(), ::testing::StartsWith("tls:127.0.0.1:"));
  EXPECT_EQ(hello.listen_key_hash().size(), rpc::kKeyHashBytes);
}

TEST_F(Admitting, TheTokenIsShownOnceAndHoldsForTheConnection) {
  std::vector<std::string> callers;
  program.on_call = [&](IncomingCall& call) {
    callers.emplace_back(call.caller());
    EXPECT_FALSE(call.metadata().Find("lever-token").has_value());
    ASSERT_TRUE(call.Begin());
    ASSERT_TRUE(call.Reply(call.kind(), call.payload(), nullptr).ok());
  };
  Listen();
  rpc::Channel* channel = Stranger();
  EXPECT_TRUE(Ask(channel, Token()).status.ok());
  EXPECT_TRUE(Ask(channel).status.ok());
  EXPECT_THAT(callers, ::testing::Each("lever://dev.lever/shop"));
  EXPECT_EQ(callers.size(), 2u);
  EXPECT_TRUE(Ask(Stranger(), Token("")).status.ok());
  EXPECT_EQ(callers.back(), "") << "somebody from outside";
}

TEST_F(Admitting, AHealthCheckIsEnoughToShowIt) {
  Listen();
  rpc::Channel* channel = Stranger();
  TestCall& health = Call(channel, {.path = route::kHealthCheckPath, .headers = {{"lever-token", Token()}}}, {{}});
  ASSERT_TRUE(Until([&] { return health.ended(); }));
  EXPECT_TRUE(health.status.ok()) << health.Text();
  EXPECT_TRUE(Ask(channel).status.ok());
}

TEST_F(Admitting, WithoutAGoodTokenNothingRuns) {
  Listen();
  const auto other = route::TokenSigner::Make().value();
  route::TokenClaims forged;
  forged.audience = host->welcome.instance();
  forged.expires_s = route::UnixNowSeconds() + 60;
  const std::string good = Token();
  ExpectRefused(Ask(Stranger()), LEVER_UNAUTHENTICATED);
  ExpectRefused(Ask(Stranger(), "nonsense"), LEVER_UNAUTHENTICATED);
  ExpectRefused(Ask(Stranger(), other->Sign(forged)), LEVER_UNAUTHENTICATED);
  ExpectRefused(Ask(Stranger(), good.substr(0, good.size() - 8) + "AAAAAAAA"), LEVER_UNAUTHENTICATED);
  ExpectRefused(Ask(Stranger(), Token("lever://dev.lever/shop", 0)), LEVER_UNAUTHENTICATED);
  ExpectRefused(Ask(Stranger(), Token("lever://dev.lever/shop", -60)), LEVER_UNAUTHENTICATED);
  TestCall& stream = Call(Stranger(), {.path = route::kStreamPath, .headers = {{"lever-url", "/hello/echoChan"}}},
                          {ValueMessage("\x90")}, false);
  ASSERT_TRUE(Until([&] { return stream.ended(); }));
  ExpectRefused(stream, LEVER_UNAUTHENTICATED);
  TestCall& health = Call(Stranger(), {.path = route::kHealthCheckPath, .headers = {}}, {{}});
  ASSERT_TRUE(Until([&] { return health.ended(); }));
  ExpectRefused(health, LEVER_UNAUTHENTICATED);
  EXPECT_EQ(program.calls, 0);
  EXPECT_EQ(program.streams, 0);
}

TEST_F(Admitting, AConnectionThatShowedAWrongTokenMayShowTheRightOne) {
  Listen();
  rpc::Channel* channel = Stranger();
  ExpectRefused(Ask(channel, "nonsense"), LEVER_UNAUTHENTICATED);
  EXPECT_TRUE(Ask(channel, Token()).status.ok());
}

TEST_F(Admitting, AnotherTokenOnTheSameConnectionIsRefused) {
  Listen();
  rpc::Channel* channel = Stranger();
  const std::string first = Token();
  EXPECT_TRUE(Ask(channel, first).status.ok());
  EXPECT_TRUE(Ask(channel, first).status.ok()) << "with each call, if a caller wants to";
  ExpectRefused(Ask(channel, Token("lever://dev.lever/other")), LEVER_UNAUTHENTICATED);
  EXPECT_EQ(program.calls, 2);
}

TEST_F(Admitting, AConnectionThatShowsNothingIsClosed) {
  Listen();
  rpc::Channel* channel = Stranger();
  ASSERT_TRUE(Until([&] { return channel->state() == rpc::Channel::State::kReady; }));
  Advance(kAdmissionTimeoutNs);
  EXPECT_TRUE(Until([&] { return channel->state() == rpc::Channel::State::kClosed; }));
}

TEST_F(Admitting, WhenTheTokenExpiresTheConnectionDrainsAndWhatRunsFinishes) {
  Listen();
  rpc::Channel* channel = Stranger();
  EXPECT_TRUE(Ask(channel, Token("lever://dev.lever/shop", 5)).status.ok());
  IncomingCall* held = nullptr;
  program.on_call = [&](IncomingCall& call) {
    ASSERT_TRUE(call.Begin());
    held = &call;
  };
  TestCall& running = Call(channel, {});
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  Advance(5 * kNanosPerSecond);
  ASSERT_TRUE(Until([&] { return channel->state() == rpc::Channel::State::kClosed; }));
  Do([&] { ASSERT_TRUE(held->Reply(held->kind(), held->payload(), nullptr).ok()); });
  ASSERT_TRUE(Until([&] { return running.ended(); }));
  EXPECT_TRUE(running.status.ok()) << running.Text();
}

TEST_F(Admitting, APrivateServiceTakesThoseOfItsEnvironment) {
  Listen(true);
  EXPECT_TRUE(attach().received.front().hello().private_());
  EXPECT_TRUE(Ask(Stranger(), Token("lever://dev.lever/shop")).status.ok());
  EXPECT_TRUE(Ask(Stranger(), Token("host")).status.ok()) << "the host has looked at who calls";
  for (const char* caller : {"", "lever://dev.leverx/shop", "lever://other.env/shop", "lever://other.env/dev.lever/x"}) {
    ExpectRefused(Ask(Stranger(), Token(caller)), LEVER_PERMISSION_DENIED);
  }
  EXPECT_EQ(program.calls, 2);
}

TEST_F(Admitting, TheHostSaysForWhomItCalls) {
  std::string caller;
  program.on_call = [&](IncomingCall& call) {
    caller = call.caller();
    call.Fail(Unavailable("not now"));
  };
  Listen();
  const auto call_as = [&](const std::string& token) {
    Call(Stranger(), {.headers = {{"lever-url", "/hello/echo"},
                                  {"lever-token", token},
                                  {"lever-caller", "lever://dev.lever/front"}}});
    const int before = program.calls;
    EXPECT_TRUE(Until([&] { return program.calls > before; }));
    return caller;
  };
  EXPECT_EQ(call_as(Token("host")), "lever://dev.lever/front");
  EXPECT_EQ(call_as(Token()), "lever://dev.lever/shop") << "nobody else is believed";
}

TEST_F(Admitting, IntroducedConnectionsShowNothing) {
  Listen();
  EXPECT_TRUE(Ask(Introduced()).status.ok());
  EXPECT_TRUE(Ask(Introduced(), "nonsense").status.ok()) << "it is not looked at there";
}

TEST_F(Admitting, AddressesThatCannotBe) {
  Do([&] {
    const auto start = [&](const std::string& listen, bool is_private) {
      ServiceOptions options;
      options.name = "good";
      options.host = "unix:/nowhere";
      options.listen = listen;
      options.is_private = is_private;
      auto opened = Service::Open(loop.get(), std::move(options), &program);
      EXPECT_TRUE(opened.ok());
      return (*opened)->Start();
    };
    EXPECT_THAT(start("tls:0.0.0.0:0", false).message(), HasSubstr("name the one of this machine"));
    EXPECT_THAT(start("tls:[::]:0", false).message(), HasSubstr("name the one of this machine"));
    EXPECT_EQ(start("tls:unix:/tmp/x", false).code(), LEVER_INVALID_ARGUMENT);
    EXPECT_THAT(start("127.0.0.1:0", true).message(), HasSubstr("write tls: before it"));
    EXPECT_EQ(start("127.0.0.1:0", true).code(), LEVER_INVALID_ARGUMENT);
  });
}

}  // namespace
}  // namespace lever::service
