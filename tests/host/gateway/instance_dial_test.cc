// The host's own connections to instances at addresses of theirs.
#include <gmock/gmock.h>

#include "liblever/host/gateway/instance_dial.h"
#include "liblever/route/token.h"
#include "liblever/rpc/tls_identity.h"
#include "tests/host/gateway/router_fixture.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

class InstanceDialTest : public GatewayTest, public rpc::ConnectionHandler {
 protected:
  // An instance that listens, and knows the signer.
  TestInstance& Listening(const std::string& listen) {
    instances.push_back(std::make_unique<TestInstance>(loop.get(), instances.size() + 1));
    TestInstance& instance = *instances.back();
    v1::TokenKey& key = *instance.host.welcome.add_token_keys();
    key.set_id(signer->key().id);
    key.set_public_key(signer->key().public_key.data(), signer->key().public_key.size());
    Do([&] {
      service::ServiceOptions options;
      options.listen = listen;
      instance.Start(std::move(options));
    });
    EXPECT_TRUE(Until([&] { return instance.attached(); }));
    return instance;
  }
  route::AddressWay WayTo(TestInstance& instance, int64_t life_s = 300) {
    const auto& hello = instance.host.attaches.front().received.front().hello();
    route::TokenClaims claims;
    claims.audience = instance.host.welcome.instance();
    claims.expires_s = route::UnixNowSeconds() + life_s;
    claims.host = true;
    return {hello.listen(), hello.listen_key_hash(), signer->Sign(claims)};
  }
  // What comes of a dial; the connection is kept.
  Status Dial(route::AddressWay way) {
    std::optional<Status> result;
    Do([&] {
      dial = std::make_unique<InstanceDial>(loop.get(), std::move(way), this, [&](auto opened) {
        result = opened.status();
        if (opened.ok()) connections.push_back(std::move(opened).value());
      });
      dial->Start();
    });
    EXPECT_TRUE(Until([&] { return result.has_value(); }));
    Do([&] { dial.reset(); });
    return result.value_or(Internal("no end"));
  }
  ~InstanceDialTest() override {
    Do([&] {
      dial.reset();
      connections.clear();
    });
    Settle();
  }

  void OnRequest(rpc::Stream& stream) override {}
  void OnClosed(rpc::Connection& connection, const Status& status) override { ++closed; }

  std::unique_ptr<route::TokenSigner> signer = route::TokenSigner::Make().value();
  std::unique_ptr<InstanceDial> dial;
  std::vector<std::unique_ptr<rpc::Connection>> connections;
  int closed = 0;
};

TEST_F(InstanceDialTest, OverTlsTheTokenIsShownFirst) {
  TestInstance& instance = Listening("tls:127.0.0.1:0");
  EXPECT_TRUE(Dial(WayTo(instance)).ok());
  ASSERT_EQ(connections.size(), 1u);
  EXPECT_TRUE(connections[0]->encrypted());
  EXPECT_TRUE(connections[0]->TakesStreams());
}

TEST_F(InstanceDialTest, ATokenThatIsNotTakenIsSaid) {
  TestInstance& instance = Listening("tls:127.0.0.1:0");
  const Status status = Dial(WayTo(instance, -5));
  EXPECT_EQ(status.code(), LEVER_UNAVAILABLE);
  EXPECT_THAT(status.message(), HasSubstr("it expired 5 s ago"));
  EXPECT_TRUE(connections.empty());
}

TEST_F(InstanceDialTest, AnotherKeyThanTheAnnouncedOneIsRefused) {
  route::AddressWay way = WayTo(Listening("tls:127.0.0.1:0"));
  way.key_hash = rpc::TlsIdentity::Make().value()->key_hash();
  EXPECT_THAT(Dial(way).message(), HasSubstr("has another key"));
}

TEST_F(InstanceDialTest, APlainAddressNeedsNothing) {
  TestInstance& instance = Listening("127.0.0.1:0");
  EXPECT_TRUE(Dial({.address = instance.service->details().listening}).ok());
  EXPECT_FALSE(connections.at(0)->encrypted());
}

TEST_F(InstanceDialTest, NobodyThere) {
  EXPECT_EQ(Dial({"tls:127.0.0.1:1", std::string(rpc::kKeyHashBytes, 'k'), "t"}).code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Dial({.address = "127.0.0.1:1"}).code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Dial({.address = "nonsense"}).code(), LEVER_UNAVAILABLE);
}

TEST_F(InstanceDialTest, WhoSaysNothingIsGivenUpInTime) {
  UniqueFd silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(silent.get(), 1), 0);
  ASSERT_EQ(::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::optional<Status> result;
  Do([&] {
    dial = std::make_unique<InstanceDial>(
        loop.get(),
        route::AddressWay{"tls:127.0.0.1:" + std::to_string(ntohs(address.sin_port)),
                          std::string(rpc::kKeyHashBytes, 'k'), "t"},
        this, [&](auto opened) { result = opened.status(); });
    dial->Start();
  });
  Settle();
  EXPECT_FALSE(result.has_value());
  Advance(kInstanceDialTimeoutNs);
  ASSERT_TRUE(result.has_value());
  EXPECT_THAT(result->message(), HasSubstr("too long"));
}

TEST_F(InstanceDialTest, GivenUpInTheMiddleItSaysNothing) {
  TestInstance& instance = Listening("tls:127.0.0.1:0");
  const route::AddressWay way = WayTo(instance);
  for (int turns = 0; turns < 12; ++turns) {
    bool told = false;
    Do([&] {
      dial = std::make_unique<InstanceDial>(loop.get(), way, this,
                                            [&](auto) { told = true; });
      dial->Start();
    });
    for (int turn = 0; turn < turns && !told; ++turn) ASSERT_TRUE(loop->Turn(kNanosPerMilli).ok());
    Do([&] { dial.reset(); });
    const bool before = told;
    Settle();
    EXPECT_EQ(told, before);
  }
}

TEST_F(InstanceDialTest, CallsOfTheHostGoThere) {
  TestInstance& instance = Listening("tls:127.0.0.1:0");
  control.on_way = [&] { return WayTo(instance); };
  Publish({&instance});
  TestCall handler;
  Begin(Client(), handler, {}, {ValueMessage("\x91\x05")});
  ASSERT_TRUE(Until([&] { return handler.ended(); }));
  EXPECT_TRUE(handler.status.ok()) << handler.Text();
  EXPECT_EQ(instance.calls, 1);
  // What a caller of the host shows is not the instance's to look at.
  TestCall shows;
  Begin(*channels.back(), shows, {.headers = {{"lever-url", "/hello/echo"}, {"lever-token", "nonsense"}}},
        {ValueMessage("\x91\x05")});
  ASSERT_TRUE(Until([&] { return shows.ended(); }));
  EXPECT_TRUE(shows.status.ok()) << shows.Text();
}

}  // namespace
}  // namespace lever::gateway
