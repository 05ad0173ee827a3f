// gRPC calls that the host passes on to programs outside of Lever.
#include <gmock/gmock.h>

#include "liblever/host/gateway/upstream.h"
#include "tests/host/gateway/http_client.h"
#include "tests/host/gateway/outside.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kPath = "/shop.v1.Cart/Add";

class UpstreamTest : public HttpTest {
 protected:
  UpstreamTest() : outside(loop.get()) {
    Do([&] {
      outside.Listen();
      upstreams = std::make_unique<Upstreams>(loop.get());
      ASSERT_TRUE(upstreams->Add({"shop.v1.Cart", outside.address}).ok());
      front->set_upstreams(upstreams.get());
    });
  }
  ~UpstreamTest() override {
    Do([&] { front->Close(Cancelled("the test is over")); });
    Settle();
    Do([&] {
      for (auto& client : clients) client.reset();
      front.reset();
      upstreams.reset();
      outside.listener.reset();
      for (rpc::TestEnd& end : outside.ends) end.connection.reset();
      Open({});
    });
    Settle();
  }
  H2Client& Caller() {
    UniqueFd socket = Connect();
    Do([&] { clients.push_back(std::make_unique<H2Client>(loop.get(), std::move(socket))); });
    return *clients.back();
  }
  H2Request& Start(H2Client& client, Fields fields = {}, std::string_view body = "hello",
                   bool end = true, std::string_view path = kPath) {
    bool typed = false;
    for (const auto& field : fields) typed = typed || field.first == "content-type";
    if (!typed) fields.emplace_back("content-type", "application/grpc");
    fields.emplace_back("te", "trailers");
    H2Request* request = nullptr;
    Do([&] {
      request = &client.Start("POST", path, fields);
      if (!body.empty()) request->stream->Write(Slice::Copy(body));
      if (end) request->stream->EndWrite();
    });
    return *request;
  }
  [[nodiscard]] bool UntilGone(const H2Request& request) {
    return Until([&] { return request.stream == nullptr; });
  }
  // With time going on by milliseconds.
  [[nodiscard]] bool UntilGoneInTime(const H2Request& request) {
    return Until([&] {
      clock.Advance(kNanosPerMilli);
      return request.stream == nullptr;
    });
  }

  Outside outside;
  std::unique_ptr<Upstreams> upstreams;
  std::deque<std::unique_ptr<H2Client>> clients;
};

TEST_F(UpstreamTest, ACallIsPassedOnAsItIsAndItsAnswerBack) {
  const std::string message("\1\0\0\0\4gzip", 9);  // compressed, for all that the host knows
  H2Request& request = Start(Caller(),
                             {{"user-agent", "grpc-go/1.60.0"},
                              {"grpc-encoding", "gzip"},
                              {"grpc-accept-encoding", "gzip,identity"},
                              {"traceparent", "00-1"},
                              {"x-twice", "a"},
                              {"x-twice", "b"},
                              {"x-key-bin", "AAH/"}},
                             message);
  ASSERT_TRUE(UntilGone(request));
  EXPECT_EQ(request.response.status, 200);
  EXPECT_EQ(request.response.body, message);
  EXPECT_EQ(request.response.fields.at("x-initial"), "first");
  EXPECT_EQ(request.response.fields.at("x-trailing-bin"), "AP8");
  EXPECT_EQ(request.response.fields.at("grpc-status"), "0");
  Fields seen;
  const rpc::HeaderList& headers = outside.last().headers;
  for (size_t i = 0; i < headers.size(); ++i) seen.emplace_back(headers[i].name, headers[i].value);
  EXPECT_EQ(seen, (Fields{{":method", "POST"},
                          {":scheme", "http"},
                          {":path", "/shop.v1.Cart/Add"},
                          {":authority", "localhost:8080"},
                          {"user-agent", "grpc-go/1.60.0"},
                          {"grpc-encoding", "gzip"},
                          {"grpc-accept-encoding", "gzip,identity"},
                          {"traceparent", "00-1"},
                          {"x-twice", "a"},
                          {"x-twice", "b"},
                          {"x-key-bin", "AAH/"},
                          {"content-type", "application/grpc"},
                          {"te", "trailers"}}));
  EXPECT_EQ(counters.calls.load(), 1u);
}

TEST_F(UpstreamTest, WhateverTheOutsideAnswersIsPassedBack) {
  outside.on_request = [](rpc::TestStream&, rpc::Stream& stream) {
    rpc::HeaderList status;
    status.Add(":status", "200");
    status.Add("content-type", "application/grpc");
    status.Add("grpc-status", "14");
    status.Add("grpc-message", "not%20now");
    status.Add("lever-executed", "no");
    stream.SendHeaders(status, rpc::Stream::End::kYes);
  };
  H2Request& only_status = Start(Caller());
  ASSERT_TRUE(UntilGone(only_status));
  EXPECT_EQ(only_status.response.fields.at("grpc-message"), "not%20now");
  EXPECT_EQ(outside.requests(), 1u) << "its own business, not a reason to send again";
  outside.on_request = [](rpc::TestStream&, rpc::Stream& stream) {
    rpc::HeaderList plain;
    plain.Add(":status", "503");
    plain.Add("content-type", "text/html");
    stream.SendHeaders(plain);
    stream.Write(Slice::Static("<h1>down</h1>"));
    stream.EndWrite();
  };
  H2Request& page = Start(Caller());
  ASSERT_TRUE(UntilGone(page));
  EXPECT_EQ(page.response.status, 503);
  EXPECT_EQ(page.response.body, "<h1>down</h1>");
}

TEST_F(UpstreamTest, AnotherCodecIsItsServersBusiness) {
  H2Request& request = Start(Caller(), {{"content-type", "application/grpc+json"}});
  ASSERT_TRUE(UntilGone(request));
  EXPECT_EQ(request.response.body, "hello");
  EXPECT_EQ(outside.last().headers.Find("content-type"), "application/grpc+json");
}

TEST_F(UpstreamTest, OtherServicesAreServedAsWithoutUpstreams) {
  Serve();
  H2Client& caller = Caller();
  for (const std::string_view path : {"/shop.v1.Carts/Add", "/shop.v1.Cart", "/", "/x/shop.v1.Cart/Add",
                                      "//Add"}) {
    H2Request& other = Start(caller, {}, "hello", true, path);
    ASSERT_TRUE(UntilGone(other));
    EXPECT_EQ(other.response.fields["grpc-status"], "12") << path;
  }
  H2Request& ours = Start(caller, {{"lever-url", "/hello/echo"}},
                          std::string_view("\0\0\0\0\4\x0a\2\x91\5", 9), true, route::kInvokePath);
  ASSERT_TRUE(UntilGone(ours));
  EXPECT_EQ(ours.response.fields.at("grpc-status"), "0");
  EXPECT_EQ(outside.requests(), 0u);
}

TEST_F(UpstreamTest, WhatIsLeftOfTheDeadlineIsPassedOnAndHeld) {
  outside.on_request = [](rpc::TestStream&, rpc::Stream&) {};
  outside.listener.reset();
  H2Client& caller = Caller();
  H2Request& waits = Start(caller, {{"grpc-timeout", "10S"}});
  ASSERT_TRUE(UntilGone(waits)) << "nobody listens: refused at once";
  // The next attempt to connect comes with the back-off.
  H2Request& request = Start(caller, {{"grpc-timeout", "10S"}});
  Settle();
  Do([&] { outside.Listen(); });
  Advance(1 * kNanosPerSecond);
  ASSERT_TRUE(Until([&] { return outside.requests() == 1; }));
  EXPECT_EQ(outside.last().headers.Find("grpc-timeout"), "9000000u");
  Advance(9 * kNanosPerSecond);
  ASSERT_TRUE(UntilGone(request));
  EXPECT_EQ(request.response.fields.at("grpc-status"), "4");
  EXPECT_FALSE(request.response.fields.contains("lever-executed"));
  ASSERT_TRUE(Until([&] { return outside.last().closed == 1; }));
  EXPECT_EQ(outside.last().close.error_code, rpc::kHttp2Cancel);
}

TEST_F(UpstreamTest, WithoutAConnectionACallSurelyDidNotRunAndSaysToWhat) {
  outside.listener.reset();
  H2Client& caller = Caller();
  H2Request& refused = Start(caller);
  ASSERT_TRUE(UntilGone(refused));
  EXPECT_EQ(refused.response.fields.at("grpc-status"), "14");
  EXPECT_EQ(refused.response.fields.at("lever-executed"), "no");
  EXPECT_THAT(refused.response.fields.at("grpc-message"),
              HasSubstr("no connection to shop.v1.Cart at " + outside.address + ": "));
  // During the back-off a call waits for the next attempt, until its deadline.
  H2Request& late = Start(caller, {{"grpc-timeout", "20m"}});
  H2Request& waits = Start(caller);
  Settle();
  Advance(20 * kNanosPerMilli);
  ASSERT_TRUE(UntilGone(late));
  EXPECT_EQ(late.response.fields.at("grpc-status"), "4");
  EXPECT_EQ(late.response.fields.at("lever-executed"), "no");
  EXPECT_NE(waits.stream, nullptr);
  Do([&] { outside.Listen(); });
  ASSERT_TRUE(UntilGoneInTime(waits));
  EXPECT_EQ(waits.response.body, "hello");
}

TEST_F(UpstreamTest, WhatWasNotProcessedIsSentAgainUnderABudget) {
  int refusals = 2;
  outside.on_request = [&](rpc::TestStream& request, rpc::Stream& stream) {
    refusals-- > 0 ? Outside::RefuseStream(request, stream) : Outside::Reply(request, stream);
  };
  H2Client& caller = Caller();
  H2Request& request = Start(caller);
  ASSERT_TRUE(UntilGoneInTime(request));
  EXPECT_EQ(request.response.body, "hello");
  EXPECT_EQ(counters.resends.load(), 2u);
  // One that always refuses costs all but nothing.
  refusals = 1'000'000;
  const uint64_t before = counters.resends;
  constexpr int kCalls = 100;
  for (int i = 0; i < kCalls; ++i) {
    H2Request& again = Start(caller);
    ASSERT_TRUE(UntilGoneInTime(again));
    EXPECT_EQ(again.response.fields.at("grpc-status"), "14");
    EXPECT_EQ(again.response.fields.at("lever-executed"), "no");
  }
  EXPECT_LE(counters.resends - before, kCalls / 10);
}

TEST_F(UpstreamTest, WhatMayHaveRunIsNotSentAgain) {
  outside.on_request = [](rpc::TestStream& request, rpc::Stream&) {
    request.on_end = [](rpc::TestStream&, rpc::Stream& stream) { stream.Reset(rpc::kHttp2Cancel); };
  };
  H2Client& caller = Caller();
  H2Request& reset = Start(caller);
  ASSERT_TRUE(UntilGone(reset));
  EXPECT_EQ(reset.response.fields.at("grpc-status"), "14");
  EXPECT_FALSE(reset.response.fields.contains("lever-executed"));
  EXPECT_THAT(reset.response.fields.at("grpc-message"), HasSubstr("shop.v1.Cart at "));
  outside.on_request = [](rpc::TestStream& request, rpc::Stream& stream) {
    request.on_end = [](rpc::TestStream&, rpc::Stream& ended) {
      ended.connection().Close(Unavailable("gone"));
    };
  };
  H2Request& cut = Start(caller);
  ASSERT_TRUE(UntilGone(cut));
  EXPECT_EQ(cut.response.fields.at("grpc-status"), "14");
  EXPECT_FALSE(cut.response.fields.contains("lever-executed"));
  EXPECT_EQ(outside.requests(), 2u);
  // And the connection is replaced.
  outside.on_request = Outside::Reply;
  H2Request& next = Start(caller);
  ASSERT_TRUE(UntilGoneInTime(next));
  EXPECT_EQ(next.response.body, "hello");
  EXPECT_EQ(outside.ends.size(), 2u);
}

TEST_F(UpstreamTest, ADrainingConnectionFinishesItsCallsAndNewOnesGoElsewhere) {
  outside.on_request = [](rpc::TestStream&, rpc::Stream&) {};
  H2Client& caller = Caller();
  H2Request& open = Start(caller);
  ASSERT_TRUE(Until([&] { return outside.requests() == 1; }));
  rpc::TestStream& held = outside.last();
  Do([&] { outside.ends.front().connection->Drain(); });
  Settle();
  outside.on_request = Outside::Reply;
  H2Request& next = Start(caller);
  ASSERT_TRUE(UntilGoneInTime(next));
  EXPECT_EQ(next.response.body, "hello");
  EXPECT_EQ(outside.ends.size(), 2u);
  EXPECT_NE(open.stream, nullptr);
  Do([&] {
    Outside::Reply(held, *held.stream);
    held.on_end(held, *held.stream);
  });
  ASSERT_TRUE(UntilGone(open));
  EXPECT_EQ(open.response.body, "hello");
}

TEST_F(UpstreamTest, AFullConnectionGetsANeighbourUpToABound) {
  outside.streams_max = 2;
  outside.on_request = [](rpc::TestStream&, rpc::Stream&) {};
  H2Client& caller = Caller();
  constexpr size_t kRoom = 2 * Upstream::kConnectionsMax;
  std::vector<H2Request*> open;
  for (size_t i = 0; i < kRoom; ++i) {
    open.push_back(&Start(caller));
    ASSERT_TRUE(Until([&] { return outside.requests() == i + 1; })) << i;
    EXPECT_EQ(outside.ends.size(), i / 2 + 1);
  }
  H2Request& waits = Start(caller);
  Settle();
  EXPECT_EQ(outside.requests(), kRoom);
  EXPECT_EQ(outside.ends.size(), Upstream::kConnectionsMax);
  Do([&] {
    for (H2Request* request : open) request->stream->Reset(rpc::kHttp2Cancel);
  });
  ASSERT_TRUE(Until([&] { return outside.requests() == kRoom + 1; }));
  EXPECT_NE(waits.stream, nullptr);
}

// Seen: with the limits of two connections apart, calls waited for ever beside one with room.
TEST_F(UpstreamTest, AConnectionWithRoomIsTakenBeforeAFullOneWithFewerStreams) {
  outside.streams_max = 1;
  outside.on_request = [](rpc::TestStream&, rpc::Stream&) {};
  H2Client& caller = Caller();
  Start(caller);
  ASSERT_TRUE(Until([&] { return outside.requests() == 1; }));
  outside.streams_max = 100;
  constexpr size_t kBurst = 20;
  for (size_t i = 0; i < kBurst; ++i) Start(caller);
  ASSERT_TRUE(Until([&] { return outside.requests() == 1 + kBurst; }));
  EXPECT_EQ(outside.ends.size(), 2u);
}

TEST_F(UpstreamTest, AnOutsideThatDoesNotReadStopsTheCaller) {
  outside.on_request = [](rpc::TestStream& request, rpc::Stream&) {
    request.consume = false;
    request.keep_body = false;
  };
  H2Request& request = Start(Caller(), {}, "", false);
  size_t written = 0;
  // A window and a queue each way, and socket buffers.
  constexpr size_t kInFlightMax = 4 * rpc::kStreamWindowBytes + 1024 * 1024;
  for (int still = 0; still < 3;) {
    const size_t before = written;
    Do([&] {
      for (; request.stream->Writable(); written += 10'000) {
        request.stream->Write(Slice::Copy(std::string(10'000, 'x')));
      }
    });
    Settle();
    still = written == before ? still + 1 : 0;
    ASSERT_LT(written, 4 * kInFlightMax);
  }
  EXPECT_LT(written, kInFlightMax);
  rpc::TestStream& held = outside.last();
  held.consume = true;
  Outside::Reply(held, *held.stream);
  Do([&] {
    held.stream->Consume(held.bytes);
    request.stream->EndWrite();
  });
  ASSERT_TRUE(UntilGone(request));
  EXPECT_EQ(held.bytes, written);
}

// Seen with gRPC C++, grpcio and grpc-go as upstreams: after a minute without a message of a stream they
// ended the connection, and every call on it, for too many PINGs.
TEST_F(UpstreamTest, AnIdleCallBringsNoMorePingsThanGrpcServersAllow) {
  std::unique_ptr<rpc::RawPeer> peer;
  std::unique_ptr<rpc::Listener> listener;
  Do([&] {
    auto opened = rpc::Listener::Open(
        loop.get(), *rpc::Endpoint::Parse("127.0.0.1:0"), {},
        [&](UniqueFd socket) { peer = std::make_unique<rpc::RawPeer>(std::move(socket)); });
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    listener = std::move(*opened);
    ASSERT_TRUE(upstreams->Add({"shop.v1.Idle", listener->bound().ToString()}).ok());
  });
  H2Request& request = Start(Caller(), {}, "hello", false, "/shop.v1.Idle/Add");
  ASSERT_TRUE(Until([&] { return peer != nullptr; }));
  peer->Send(rpc::Frame(rpc::kFrameSettings, 0, 0));
  ASSERT_TRUE(Until([&] { return peer->Frames(rpc::kFrameHeaders).size() == 1; }));

  constexpr int64_t kStepNs = 5 * kNanosPerSecond;  // the caller's own keepalive goes on meanwhile
  constexpr int64_t kAllowedNs = 5 * 60 * kNanosPerSecond;
  const auto advance = [&](int64_t by_ns) {
    for (int64_t gone_ns = 0; gone_ns < by_ns; gone_ns += kStepNs) {
      clock.Advance(kStepNs);
      Settle();
    }
  };
  advance(kAllowedNs);
  EXPECT_EQ(peer->Frames(rpc::kFramePing).size(), 0u);
  // An upstream that is dead is found out all the same.
  advance(Upstream::kKeepaliveTimeNs - kAllowedNs);
  EXPECT_EQ(peer->Frames(rpc::kFramePing).size(), 1u);
  EXPECT_NE(request.stream, nullptr);
  advance(rpc::kKeepaliveTimeoutNs);
  ASSERT_TRUE(UntilGone(request));
  EXPECT_EQ(request.response.fields.at("grpc-status"), "14");
  EXPECT_THAT(request.response.fields.at("grpc-message"), HasSubstr("does not answer"));
  Do([&] { listener.reset(); });
}

TEST(ParseUpstream, TellsWhatIsWrong) {
  const auto ok = ParseUpstream("grpc.testing.TestService=unix:/tmp/a=b");
  ASSERT_TRUE(ok.ok()) << ok.status().ToString();
  EXPECT_EQ(ok->service, "grpc.testing.TestService");
  EXPECT_EQ(ok->address, "unix:/tmp/a=b");
  EXPECT_TRUE(ParseUpstream("Echo=[::1]:1").ok());
  const auto wrong = [](std::string_view text, std::string_view why) {
    const auto parsed = ParseUpstream(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), LEVER_INVALID_ARGUMENT);
    EXPECT_THAT(parsed.status().message(), HasSubstr(std::string(why)));
  };
  wrong("", "SERVICE=ENDPOINT");
  wrong("a.B", "SERVICE=ENDPOINT");
  for (const char* service : {"", ".a", "a.", "a..b", "1a", "a.1b", "a/b", "/a.B", "a b", "a-b"}) {
    wrong(std::string(service) + "=127.0.0.1:1", "full name of a gRPC service");
  }
  wrong("a.B=", "a.B=");
  wrong("a.B=127.0.0.1", "127.0.0.1");
  wrong("lever.v1.Lever=127.0.0.1:1", "itself");
  wrong("grpc.health.v1.Health=127.0.0.1:1", "itself");
  wrong("grpc.reflection.v1.ServerReflection=127.0.0.1:1", "itself");
}

TEST_F(UpstreamTest, AServiceHasOneAddress) {
  EXPECT_EQ(upstreams->Add({"shop.v1.Cart", "127.0.0.1:1"}).code(), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever::gateway
