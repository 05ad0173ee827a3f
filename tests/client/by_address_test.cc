// Direct connections to instances at addresses of their own: the token that is shown there, and what becomes of
// one that is not taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/rpc/tls_identity.h"
#include "tests/client/client_fixture.h"

namespace lever::client {
namespace {

class ByAddress : public ClientTest {
 protected:
  // Over a connection on which nothing can be handed over.
  ByAddress() {
    Do([&] {
      link = std::move(route::HostLink::Over(loop.get(), host->Adopt(), UniqueFd(), 7)).value();
      auto opened = Client::Open(loop.get(), {.link = link}, this_handler());
      ASSERT_TRUE(opened.ok());
      client = std::move(opened).value();
    });
    host->on_call = Succeed;
    Instance& instance = AddInstance("a");
    instance.on_call = [this](TestCall& handler, rpc::Call& call) { OnInstanceCall(handler, call); };
    Do([&] {
      rpc::ListenOptions listen;
      listen.tls = rpc::TlsServerContext::Of(identity).value();
      ASSERT_TRUE(instance.server->Listen(*rpc::Endpoint::Parse("tls:127.0.0.1:0"), listen).ok());
    });
  }
  void OnInstanceCall(TestCall& handler, rpc::Call& call) {
    const auto token = call.headers().Find("lever-token");
    seen.push_back(token ? "token " + std::string(*token) : "none");
    if (call.path() != route::kHealthCheckPath) return Succeed(handler, call);
    if (!answer.ok()) return call.Finish(answer);
    Succeed(handler, call);
  }
  // The host lists the instance, and is asked for a way to it.
  v1::Introduce Asked(FakeHost::Listens listens = FakeHost::Listens::kYes) {
    EXPECT_TRUE(Ended(ClientTest::Call()));
    EXPECT_TRUE(Until([&] { return !host->watches.empty() && host->watches.back().received.size() >= 2; }));
    Do([&] { host->SendRoutes("hello", ++revision, {"a"}, listens); });
    return Taken();
  }
  v1::Introduce Taken() {
    std::vector<v1::Introduce> asked;
    for (int i = 0; i < 200 && asked.empty(); ++i) {
      Settle();
      asked = host->TakeIntroduceRequests();
    }
    return asked.empty() ? v1::Introduce() : asked.front();
  }
  void Answer(uint64_t id, const std::string& address, const std::string& key_hash, const std::string& token) {
    v1::ToWatcher message;
    auto* introduced = message.mutable_introduced();
    introduced->set_id(id);
    introduced->set_address(address);
    introduced->set_key_hash(key_hash);
    introduced->set_token(token);
    Do([&] { host->watches.back().Send(message); });
  }
  std::string Address() { return instances[0]->server->bound().ToString(); }
  bool Direct() {
    return Until([&] { return client->stats().direct_connections == 1; });
  }
  // A call, which finds its way.
  void CallGoes() {
    Result& call = ClientTest::Call();
    ASSERT_TRUE(Ended(call));
    EXPECT_TRUE(call.status.ok()) << call.status.ToString();
  }

  std::shared_ptr<const rpc::TlsIdentity> identity = rpc::TlsIdentity::Make().value();
  Status answer;  // to the token
  std::vector<std::string> seen;
};

TEST_F(ByAddress, ItIsAskedForWhereNothingCanBeHandedOver) {
  const v1::Introduce asked = Asked();
  EXPECT_EQ(asked.instance(), "a");
  EXPECT_TRUE(asked.by_address());
}

TEST_F(ByAddress, AnInstanceWithoutAnAddressIsNotAskedFor) {
  EXPECT_EQ(Asked(FakeHost::Listens::kNo).id(), 0u);
  CallGoes();
  EXPECT_EQ(client->stats().calls_direct, 0u);
}

TEST_F(ByAddress, TheTokenIsShownOnceAndThenCallsGoThere) {
  Answer(Asked().id(), Address(), identity->key_hash(), "t.o.k");
  ASSERT_TRUE(Direct());
  for (int i = 0; i < 5; ++i) CallGoes();
  EXPECT_EQ(client->stats().calls_direct, 5u);
  EXPECT_THAT(seen, ::testing::ElementsAre("token t.o.k", "none", "none", "none", "none", "none"));
}

TEST_F(ByAddress, NoCallGoesThereBeforeTheTokenIsTaken) {
  rpc::Call* shown = nullptr;
  instances[0]->on_call = [&](TestCall&, rpc::Call& call) {
    call.Read(1);
    shown = &call;
  };
  Answer(Asked().id(), Address(), identity->key_hash(), "t.o.k");
  ASSERT_TRUE(Until([&] { return shown != nullptr; }));
  CallGoes();
  EXPECT_EQ(client->stats().calls_direct, 0u);
  Do([&] {
    shown->Write(rpc::Bytes(std::string("\x08\x01", 2)));
    shown->Finish(Status::Ok());
  });
  EXPECT_TRUE(Direct());
}

TEST_F(ByAddress, ATokenThatIsNotTakenIsAskedForAnewLaterAndCallsGoThroughTheHost) {
  answer = Status(LEVER_UNAUTHENTICATED, "it expired").WithExecuted(LEVER_EXECUTED_NO);
  Answer(Asked().id(), Address(), identity->key_hash(), "t.o.k");
  ASSERT_TRUE(Until([&] { return seen.size() == 1; }));
  CallGoes();
  EXPECT_EQ(client->stats().direct_connections, 0u);
  answer = Status::Ok();
  Advance(route::kIntroductionRetryMinNs);
  CallGoes();
  const v1::Introduce again = Taken();
  ASSERT_NE(again.id(), 0u);
  Answer(again.id(), Address(), identity->key_hash(), "n.e.w");
  EXPECT_TRUE(Direct());
  EXPECT_EQ(seen.back(), "token n.e.w");
}

TEST_F(ByAddress, AServerWithAnotherKeyIsShownNothing) {
  Answer(Asked().id(), Address(), rpc::TlsIdentity::Make().value()->key_hash(), "t.o.k");
  Settle();
  CallGoes();
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(client->stats().calls_direct, 0u);
}

TEST_F(ByAddress, AddressesThatCannotBeAreNotConnectedTo) {
  const std::string plain = Address().substr(4);
  uint64_t id = Asked().id();
  for (const auto& [address, key, token] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {plain, identity->key_hash(), "t.o.k"},
           {Address(), "short", "t.o.k"},
           {Address(), "", "t.o.k"},
           {Address(), identity->key_hash(), ""},
           {"tls:nonsense", identity->key_hash(), "t.o.k"},
           {"tls:127.0.0.1:1", identity->key_hash(), "t.o.k"}}) {
    SCOPED_TRACE(address);
    ASSERT_NE(id, 0u);
    Answer(id, address, key, token);
    Settle();
    CallGoes();
    Advance(route::kIntroductionRetryMaxNs);
    CallGoes();
    id = Taken().id();
  }
  EXPECT_TRUE(seen.empty());
}

TEST_F(ByAddress, AConnectionThatDrainsIsReplacedWithAnotherToken) {
  Answer(Asked().id(), Address(), identity->key_hash(), "o.n.e");
  ASSERT_TRUE(Direct());
  rpc::Call* held = nullptr;
  instances[0]->on_call = [&](TestCall& handler, rpc::Call& call) {
    if (call.path() == route::kHealthCheckPath) return OnInstanceCall(handler, call);
    call.Read(1);
    held = &call;
  };
  Result& running = ClientTest::Call();
  ASSERT_TRUE(Until([&] { return held != nullptr; }));
  // What its end does when the token has expired.
  auto next = rpc::Server::Make(loop.get(), instances[0].get());
  Do([&] {
    rpc::ListenOptions listen;
    listen.tls = rpc::TlsServerContext::Of(identity).value();
    ASSERT_TRUE(next->Listen(*rpc::Endpoint::Parse("tls:127.0.0.1:0"), listen).ok());
    std::swap(next, instances[0]->server);
    next->Drain([] {});
  });
  ASSERT_TRUE(Until([&] { return client->stats().direct_connections == 0; }));
  Advance(route::kIntroductionRetryMinNs);
  CallGoes();
  const v1::Introduce again = Taken();
  ASSERT_NE(again.id(), 0u);
  EXPECT_FALSE(running.ended()) << "it goes on where it is";
  Answer(again.id(), Address(), identity->key_hash(), "t.w.o");
  ASSERT_TRUE(Direct());
  EXPECT_EQ(seen.back(), "token t.w.o");
  Do([&] {
    held->Write(ValueMessage("\x07"));
    held->Finish(Status::Ok());
  });
  ASSERT_TRUE(Ended(running));
  EXPECT_TRUE(running.status.ok());
  Do([&] { next.reset(); });
}

TEST_F(ByAddress, AnInstanceThatIsGoneMeanwhileIsNotConnectedTo) {
  const uint64_t id = Asked().id();
  Do([&] { host->SendRoutes("hello", ++revision, {}); });
  Settle();
  Answer(id, Address(), identity->key_hash(), "t.o.k");
  Settle();
  CallGoes();
  EXPECT_TRUE(seen.empty());
}

// One whose socket can be handed over, but not taken by the instance: the host answers with the address.
class EitherWay : public ByAddress {
 protected:
  EitherWay() {
    Close();
    closed = false;
    Do([&] { client.reset(); });
    Open();
  }
};

TEST_F(EitherWay, TheHostChooses) {
  const v1::Introduce asked = Asked();
  EXPECT_FALSE(asked.by_address());
  Answer(asked.id(), Address(), identity->key_hash(), "t.o.k");
  ASSERT_TRUE(Direct());
  CallGoes();
  EXPECT_EQ(client->stats().calls_direct, 1u);
}

}  // namespace
}  // namespace lever::client
