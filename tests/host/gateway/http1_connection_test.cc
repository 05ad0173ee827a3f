// What HTTP/1.1 adds: pipelines, connections that go on or end, bodies, patience.
#include <gmock/gmock.h>

#include "liblever/base/log.h"
#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

class Http1ConnectionTest : public HttpTest {
 protected:
  static std::string Get(std::string_view path = "/-/healthz") {
    return Http1Request("GET", path, {}, "");
  }
  static std::string Call(std::string_view body, std::string_view path = "/hello/echo") {
    return Http1Request("POST", path, {}, body);
  }
  bool UntilEnded(RawClient& client) {
    return Until([&] { return client.Pull(); });
  }
};

TEST_F(Http1ConnectionTest, AConnectionServesRequestAfterRequest) {
  Serve();
  RawClient client(Connect());
  for (int i = 0; i < 5; ++i) {
    client.Send(Call("[" + std::to_string(i) + "]"));
    const Response response = Answer(client);
    EXPECT_EQ(response.body, "[" + std::to_string(i) + "]");
    EXPECT_FALSE(response.fields.contains("connection"));
  }
  EXPECT_EQ(front->connections(), 1u);
}

TEST_F(Http1ConnectionTest, APipelineIsAnsweredInItsOrder) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += Call("[" + std::to_string(i) + "]") + Get("/-/readyz");
  client.Send(requests);
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(Answer(client).body, "[" + std::to_string(i) + "]");
    ASSERT_EQ(Answer(client).body, "ok\n");
  }
  EXPECT_EQ(instance.calls, 500);
}

TEST_F(Http1ConnectionTest, APipelineThatIsNotReadStopsInTheKernel) {
  Serve();
  RawClient client(Connect());
  const std::string request = Call("[\"" + std::string(20'000, 'x') + "\"]");
  // Until nothing moves any more: replies are not read, so requests are not taken.
  size_t sent = 0;
  for (int still = 0; still < 20;) {
    if (client.unsent() == 0) client.Send(request), ++sent;
    client.Push();
    const uint64_t before = counters.calls.load();
    const size_t unsent = client.unsent();
    Settle();
    client.Push();
    still = counters.calls.load() == before && client.unsent() == unsent && unsent > 0 ? still + 1 : 0;
    ASSERT_LT(sent, 100'000u);
  }
  EXPECT_LT(counters.calls.load(), sent);
  // And it goes on where it stopped.
  for (size_t i = 0; i < sent; ++i) ASSERT_EQ(Answer(client).status, 200) << i;
}

TEST_F(Http1ConnectionTest, ThePipelinesNextRequestWaitsForTheReplyBefore) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  client.Send(Call("[1]", "/hello/hang") + Call("[2]"));
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Settle();
  EXPECT_EQ(instance.calls, 1);
  Do([&] { (void)instance.hanging[0]->Reply(Kind::kValue, Json("[1]"), nullptr); });
  EXPECT_EQ(Answer(client).body, "[1]");
  EXPECT_EQ(Answer(client).body, "[2]");
}

TEST_F(Http1ConnectionTest, ConnectionCloseAndHttp10AreHonoured) {
  Serve();
  RawClient closing(Connect());
  closing.Send(Http1Request("POST", "/hello/echo", {{"connection", "close"}}, "[1]"));
  const Response response = Answer(closing);
  EXPECT_EQ(response.fields.at("connection"), "close");
  EXPECT_TRUE(UntilEnded(closing));
  EXPECT_FALSE(closing.reset());

  RawClient old(Connect());
  old.Send("POST /hello/echo HTTP/1.0\r\nhost: localhost\r\ncontent-length: 3\r\n\r\n[1]");
  EXPECT_EQ(Answer(old).body, "[1]");
  EXPECT_TRUE(UntilEnded(old));

  RawClient kept(Connect());
  for (int i = 0; i < 2; ++i) {
    kept.Send("GET /-/healthz HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n\r\n");
    EXPECT_EQ(Answer(kept).fields.at("connection"), "keep-alive");
  }
}

TEST_F(Http1ConnectionTest, ABodyMayComeInChunks) {
  Serve();
  RawClient client(Connect());
  client.Send(
      "POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
      "2;a=b\r\n[1\r\n3\r\n,2]\r\n0\r\nx: y\r\n\r\n" +
      Call("[3]"));
  EXPECT_EQ(Answer(client).body, "[1,2]");
  EXPECT_EQ(Answer(client).body, "[3]");
}

TEST_F(Http1ConnectionTest, Expect100IsAnsweredBeforeTheBody) {
  Serve();
  RawClient client(Connect());
  client.Send(
      "POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nexpect: "
      "100-Continue\r\n\r\n");
  ASSERT_TRUE(Until([&] {
    client.Pull();
    return client.received() == "HTTP/1.1 100 Continue\r\n\r\n";
  }));
  client.Send("[1]");
  EXPECT_EQ(Answer(client).body, "[1]");
  // Not to who is refused: the connection ends, for the body may come or not.
  client.Send(
      "POST /no/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nexpect: "
      "100-continue\r\n\r\n");
  const Response refused = Answer(client);
  EXPECT_EQ(refused.status, 404);
  EXPECT_EQ(refused.fields.at("connection"), "close");
  EXPECT_TRUE(UntilEnded(client));

  RawClient odd(Connect());
  odd.Send(Http1Request("POST", "/hello/echo", {{"expect", "tea"}}, "[1]"));
  EXPECT_EQ(Answer(odd).status, 417);
}

TEST_F(Http1ConnectionTest, ARefusedRequestsBodyIsReadAndTheConnectionGoesOn) {
  Serve();
  RawClient client(Connect());
  client.Send(Http1Request("POST", "/no/echo", {}, std::string(100'000, 'x')) + Get());
  EXPECT_EQ(Answer(client).status, 404);
  EXPECT_EQ(Answer(client).body, "ok\n");
}

TEST_F(Http1ConnectionTest, ATooLargeBodyIsAnsweredAndEndsTheConnectionInOrder) {
  Serve();
  RawClient client(Connect());
  client.Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n");
  client.Send(std::string(1'000'000, 'x'));
  const Response response = Answer(client);
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.fields.at("connection"), "close");
  // The reply was not lost to a reset, though the client went on sending.
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_FALSE(client.reset());
  client.Close();
  EXPECT_TRUE(Until([&] { return front->connections() == 0; }));

  RawClient chunked(Connect());
  chunked.Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
  chunked.Send("500000\r\n" + std::string(5 * 1024 * 1024, ' ') + "\r\n0\r\n\r\n");
  EXPECT_EQ(Answer(chunked).status, 413);
}

TEST_F(Http1ConnectionTest, AMalformedRequestIs400AndTheLast) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  client.Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n"
              "transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + Call("[1]"));
  const Response response = Answer(client);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.fields.at("connection"), "close");
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_EQ(client.received(), "");
  EXPECT_EQ(instance.calls, 0);
}

TEST_F(Http1ConnectionTest, AChunkThatMakesNoSenseIs400AndNothingRuns) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  client.Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
              "3\r\n[1]\r\nzzzzz\r\n" + Call("[2]"));
  EXPECT_EQ(Answer(client).status, 400);
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_EQ(instance.calls, 0);
}

TEST_F(Http1ConnectionTest, AHeadThatDoesNotComeIs408) {
  RawClient client(Connect());
  client.Send("POST /hello/echo HT");
  Settle();
  Advance(kHttp1HeadTimeoutNs);
  EXPECT_EQ(Answer(client).status, 408);
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_EQ(client.received(), "");
}

TEST_F(Http1ConnectionTest, AnIdleConnectionIsClosedWithoutAWord) {
  RawClient client(Connect());
  client.Send(Get());
  EXPECT_EQ(Answer(client).status, 200);
  Advance(kHttp1IdleTimeoutNs - 1);
  EXPECT_FALSE(client.Pull());
  Advance(1);
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_EQ(client.received(), "");
  // The client does not close its side: it is not waited for longer than that.
  Advance(kHttp1LingerTimeoutNs);
  EXPECT_EQ(front->connections(), 0u);
}

TEST_F(Http1ConnectionTest, AReplyThatNobodyReadsIsGivenUp) {
  TestInstance& instance = Serve();
  instance.on_call = [](const std::string&, IncomingCall& call) {
    if (!call.Begin()) return;
    SliceList bytes;
    bytes.push_back(Slice::Copy(std::string(4'000'000, 'x')));
    (void)call.Reply(Kind::kRaw, std::move(bytes), nullptr);
  };
  RawClient client(Connect());
  client.Send(Http1Request("POST", "/hello/echo", {{"accept", "application/octet-stream"}}, "[]"));
  Settle();
  // A little now and then is enough.
  for (int i = 0; i < 5; ++i) {
    Advance(kHttp1StalledTimeoutNs - 1);
    EXPECT_FALSE(client.Pull(300'000));
    Settle();
    EXPECT_EQ(front->connections(), 1u);
  }
  Advance(kHttp1StalledTimeoutNs);
  EXPECT_EQ(front->connections(), 0u);
}

TEST_F(Http1ConnectionTest, RequestsBeforeAHalfCloseAreAnswered) {
  RawClient client(Connect());
  std::string requests;
  for (int i = 0; i < 300; ++i) requests += Get();
  client.Send(requests);
  client.Shutdown();
  for (int i = 0; i < 300; ++i) ASSERT_EQ(Answer(client).body, "ok\n") << i;
  EXPECT_TRUE(UntilEnded(client));
}

TEST_F(Http1ConnectionTest, AHalfCloseWhileACallRunsCancelsIt) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  client.Send(Call("[]", "/hello/hang"));
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  client.Shutdown();
  EXPECT_TRUE(Until([&] { return instance.cancelled == 1; }));
  EXPECT_TRUE(UntilEnded(client));
}

TEST_F(Http1ConnectionTest, ADrainFinishesWhatIsServedAndClosesTheRest) {
  TestInstance& instance = Serve();
  RawClient busy(Connect());
  RawClient idle(Connect());
  idle.Send(Get());
  EXPECT_EQ(Answer(idle).status, 200);
  busy.Send(Call("[]", "/hello/hang"));
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Do([&] { front->Drain(); });
  EXPECT_TRUE(UntilEnded(idle));
  Do([&] { (void)instance.hanging[0]->Reply(Kind::kValue, Json("[1]"), nullptr); });
  const Response response = Answer(busy);
  EXPECT_EQ(response.body, "[1]");
  EXPECT_EQ(response.fields.at("connection"), "close");
  EXPECT_TRUE(UntilEnded(busy));
}

TEST_F(Http1ConnectionTest, ClosingTheFrontEndsEverything) {
  TestInstance& instance = Serve();
  RawClient client(Connect());
  client.Send(Call("[]", "/hello/hang"));
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Do([&] { front->Close(Cancelled("over")); });
  EXPECT_TRUE(UntilEnded(client));
  EXPECT_TRUE(Until([&] { return instance.cancelled == 1; }));
  EXPECT_EQ(front->connections(), 0u);
}

// ---- The front ----

class FrontTest : public Http1ConnectionTest {
 protected:
  FrontTest() {
    SetLogSink(
        [](void* test, LogLevel, std::string_view line) {
          static_cast<FrontTest*>(test)->log.emplace_back(line);
        },
        this);
  }
  ~FrontTest() override { SetLogSink(nullptr, nullptr); }
  std::vector<std::string> log;
};

TEST_F(FrontTest, TlsOnAPlainPortIsClosedAndLoggedOnce) {
  for (int i = 0; i < 3; ++i) {
    RawClient client(Connect());
    client.Send("\x16\x03\x01");
    EXPECT_TRUE(UntilEnded(client));
  }
  ASSERT_EQ(log.size(), 1u);
  EXPECT_THAT(log[0], HasSubstr("TLS on a plain port"));
}

TEST_F(FrontTest, AConnectionThatDoesNotShowWhatItSpeaksIsClosed) {
  RawClient silent(Connect());
  RawClient half(Connect());
  half.Send("PRI * HTTP/2.0\r\n");
  RawClient bare(Connect());
  bare.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  Settle();
  EXPECT_EQ(front->connections(), 3u);
  Advance(rpc::kPrefaceTimeoutNs);
  EXPECT_TRUE(UntilEnded(silent));
  EXPECT_TRUE(UntilEnded(half));
  EXPECT_TRUE(UntilEnded(bare)) << "a preface without SETTINGS";
  Settle();
  EXPECT_EQ(front->connections(), 0u);
}

TEST_F(FrontTest, WhatBeginsAsThePrefaceAndIsNotIsHttp1) {
  RawClient client(Connect());
  client.Send("PR");
  Settle();
  client.Send("OPFIND /-/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
  EXPECT_EQ(Answer(client).status, 405);
}

TEST_F(FrontTest, AConnectionThatGoesAtOnceLeavesNothing) {
  RawClient silent(Connect());
  RawClient half(Connect());
  half.Send("PRI");
  Settle();
  silent.Close();
  half.Close();
  EXPECT_TRUE(Until([&] { return front->connections() == 0; }));
}

}  // namespace
}  // namespace lever::gateway
