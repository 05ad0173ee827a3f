// Compression of a call's messages, both roles, as gRPC's doc/compression.md wants it.
#include <gtest/gtest.h>

#include <string>

#include "tests/rpc/call_fixture.h"

namespace lever::rpc {
namespace {

constexpr size_t kKiB = 1024;

// A client's stream or a server's that says what a test wants it to, and records the answer.
class RawStream : public StreamHandler {
 public:
  void OnHeaders(Stream& stream) override { headers = stream.headers(); }
  void OnData(Stream& stream, Slice data) override {
    body.append(data.view());
    stream.Consume(data.size());
  }
  void OnRemoteEnd(Stream& stream) override { trailers = stream.trailers(); }
  void OnClosed(Stream& stream, const StreamClose& close) override { closed = true; }

  HeaderList headers;
  HeaderList trailers;
  std::string body;
  bool closed = false;
};

// A server of bare HTTP/2.
class RawServer : public ConnectionHandler {
 public:
  void OnRequest(Stream& stream) override {
    stream.set_handler(&handler);
    request = stream.headers();
    answer(stream);
  }
  void OnClosed(Connection& connection, const Status& status) override {}

  RawStream handler;
  HeaderList request;
  std::function<void(Stream&)> answer;
};

std::string Framed(std::string_view message, uint8_t flag) {
  std::string framed(1, static_cast<char>(flag));
  for (int shift : {24, 16, 8, 0}) framed += static_cast<char>(message.size() >> shift);
  return framed.append(message);
}

std::string Gzip(std::string_view text) { return Concat(DeflateGzip(Bytes(text))); }

class CompressionCallTest : public CallTest {
 protected:
  // A request of hand-made headers and bytes to our server.
  RawStream& Request(const std::string& body,
                     const std::vector<std::pair<std::string, std::string>>& fields) {
    RawStream& handler = raw_.emplace_back();
    Do([&] {
      HeaderList headers;
      headers.Add(":method", "POST");
      headers.Add(":scheme", "http");
      headers.Add(":path", "/test.Service/Method");
      headers.Add(":authority", "test");
      headers.Add("te", "trailers");
      headers.Add("content-type", "application/grpc");
      for (const auto& [name, value] : fields) headers.Add(name, value);
      Stream* stream =
          channel->ready_connection()->StartStream(headers, Stream::End::kNo, &handler);
      stream->Write(Slice::Copy(body));
      stream->EndWrite();
    });
    EXPECT_TRUE(Until([&] { return handler.closed; }));
    return handler;
  }

  // Makes the client's peer a server that answers with these headers and bytes.
  void ConnectRaw(const std::string& body,
                  const std::vector<std::pair<std::string, std::string>>& fields) {
    raw_server_.answer = [=](Stream& stream) {
      HeaderList headers;
      headers.Add(":status", "200");
      headers.Add("content-type", "application/grpc");
      for (const auto& [name, value] : fields) headers.Add(name, value);
      stream.SendHeaders(headers);
      stream.Write(Slice::Copy(body));
      HeaderList trailers;
      trailers.Add("grpc-status", "0");
      stream.EndWithTrailers(trailers);
    };
    auto pair = SocketPair(SOCK_STREAM);
    Do([&] {
      auto served = Connection::Open(loop.get(), std::move(pair->second), {.role = Role::kServer},
                                     &raw_server_);
      ASSERT_TRUE(served.ok());
      served_ = std::move(served).value();
      auto over = Channel::Over(loop.get(), std::move(pair->first));
      ASSERT_TRUE(over.ok());
      channel = std::move(over).value();
    });
    ASSERT_TRUE(Until([&] { return channel->state() == Channel::State::kReady; }));
  }

  void TearDown() override {
    Do([&] {
      channel.reset();
      served_.reset();
    });
    CallTest::TearDown();
  }

  TestCall& StartGzip(const TestCall::Hook& begin, size_t message_bytes_max = kMessageBytesMax) {
    TestCall& handler = calls.emplace_back();
    Do([&] {
      handler.call = channel->StartCall({.path = "/test.Service/Method",
                                         .authority = "",
                                         .message_bytes_max = message_bytes_max,
                                         .initial_credit_messages = UINT64_MAX,
                                         .compression = Compression::kGzip},
                                        &handler);
      begin(handler, *handler.call);
    });
    return handler;
  }

  std::deque<RawStream> raw_;
  RawServer raw_server_;
  std::unique_ptr<Connection> served_;
};

TEST_F(CompressionCallTest, StreamMixesCompressedAndOtherMessages) {
  std::string flags_at_server, flags_at_client;
  dispatcher.on_call = [&](TestCall& handler, Call& call) {
    EXPECT_EQ(call.peer_compression(), Compression::kGzip);
    call.set_compression(Compression::kGzip);
    call.Read(UINT64_MAX);
    handler.on_message = [&](TestCall& handler, Call& call) {
      flags_at_server += call.message_was_compressed() ? 'c' : '-';
      // The answer is compressed where the message was not.
      call.Write(Bytes(handler.messages.back()),
                 call.message_was_compressed() ? Compress::kNo : Compress::kAsTheCall);
    };
    handler.on_peer_end = [](TestCall&, Call& call) { call.Finish(Status::Ok()); };
  };
  Connect();
  const std::string large(100 * kKiB, 'm');
  TestCall& client = StartGzip([&](TestCall& handler, Call& call) {
    handler.on_message = [&](TestCall&, Call& call) {
      flags_at_client += call.message_was_compressed() ? 'c' : '-';
    };
    call.Write(Bytes(large));
    call.Write(Bytes(large), Compress::kNo);
    call.Write(Bytes(""));
    call.Write(Bytes("short"));
    call.Write(Bytes(large));
    call.CloseSend();
  });
  ASSERT_TRUE(UntilEnd(client));
  EXPECT_TRUE(client.status.ok()) << client.Text();
  EXPECT_EQ(client.messages, (std::vector<std::string>{large, large, "", "short", large}));
  EXPECT_EQ(flags_at_server, "c---c") << "what gets no smaller is sent as it is";
  EXPECT_EQ(flags_at_client, "-c---");
}

TEST_F(CompressionCallTest, ServerCompressesOnlyForWhoAcceptsIt) {
  const std::string reply(5000, 'r');
  dispatcher.on_call = [&](TestCall& handler, Call& call) {
    call.set_compression(Compression::kGzip);
    call.Read(1);
    handler.on_message = [&](TestCall&, Call& call) {
      call.Write(Bytes(reply));
      call.Finish(Status::Ok());
    };
  };
  Connect();
  for (const char* accepted : {"", "identity", "identity,deflate"}) {
    RawStream& stream = Request(Framed("q", 0), {{"grpc-accept-encoding", accepted}});
    EXPECT_EQ(stream.body, Framed(reply, 0)) << accepted;
    EXPECT_FALSE(stream.headers.Find("grpc-encoding").has_value());
  }
  RawStream& none = Request(Framed("q", 0), {});
  EXPECT_EQ(none.body, Framed(reply, 0));
  RawStream& stream = Request(Framed("q", 0), {{"grpc-accept-encoding", "identity,gzip"}});
  EXPECT_EQ(stream.headers.Find("grpc-encoding"), "gzip");
  EXPECT_EQ(stream.body, Framed(Gzip(reply), 1));
}

TEST_F(CompressionCallTest, OrdinaryCallsAcceptCompressionAndUseNone) {
  ConnectRaw(Framed("reply", 0), {});
  TestCall& client = Unary(std::string(1000, 'q'));
  ASSERT_TRUE(UntilEnd(client));
  EXPECT_TRUE(client.status.ok()) << client.Text();
  EXPECT_EQ(raw_server_.request.Find("grpc-accept-encoding"), "identity,gzip");
  EXPECT_FALSE(raw_server_.request.Find("grpc-encoding").has_value());
  EXPECT_EQ(raw_server_.handler.body, Framed(std::string(1000, 'q'), 0));
}

TEST_F(CompressionCallTest, UnknownEncodingIsRefusedWithTheKnownOnesAndNotRun) {
  Connect();
  RawStream& stream = Request(Framed("anything", 1), {{"grpc-encoding", "snappy"}});
  EXPECT_EQ(stream.headers.Find("grpc-status"), "12");
  EXPECT_EQ(stream.headers.Find("grpc-accept-encoding"), "identity,gzip");
  EXPECT_EQ(stream.headers.Find("lever-executed"), "no");
  EXPECT_NE(stream.headers.Find("grpc-message")->find("snappy"), std::string_view::npos);
  EXPECT_TRUE(dispatcher.calls.empty());
}

TEST_F(CompressionCallTest, FlagWithoutAnEncodingIsInternalAndNotRun) {
  dispatcher.on_call = EchoUnary;
  Connect();
  for (const auto& fields : std::vector<std::vector<std::pair<std::string, std::string>>>{
           {}, {{"grpc-encoding", "identity"}}}) {
    RawStream& stream = Request(Framed(Gzip("message"), 1), fields);
    EXPECT_EQ(stream.headers.Find("grpc-status"), "13");
    EXPECT_EQ(stream.headers.Find("lever-executed"), "no");
    EXPECT_EQ(dispatcher.calls.back().messages_count, 0u);
  }
}

TEST_F(CompressionCallTest, WhoSendsCompressedIsToldWhatIsAccepted) {
  dispatcher.on_call = EchoUnary;
  Connect();
  RawStream& stream = Request(Framed(Gzip("message"), 1), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(stream.headers.Find("grpc-accept-encoding"), "identity,gzip");
  EXPECT_EQ(stream.body, Framed("message", 0));
  EXPECT_EQ(stream.trailers.Find("grpc-status"), "0");
}

TEST_F(CompressionCallTest, BrokenCompressionEndsTheCallUnexecuted) {
  dispatcher.on_call = EchoUnary;
  Connect();
  std::string bad = Gzip("message");
  bad[bad.size() - 5] ^= 1;
  for (const std::string& message : {bad, std::string(), Gzip("message").substr(0, 22)}) {
    RawStream& stream = Request(Framed(message, 1), {{"grpc-encoding", "gzip"}});
    EXPECT_EQ(stream.headers.Find("grpc-status"), "13");
    EXPECT_EQ(stream.headers.Find("lever-executed"), "no");
    EXPECT_EQ(dispatcher.calls.back().messages_count, 0u);
  }
}

TEST_F(CompressionCallTest, BombIsResourceExhaustedAndNotRun) {
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.set_message_bytes_max(64 * kKiB);
    EchoUnary(handler, call);
  };
  Connect();
  const std::string bomb = Gzip(std::string(10'000 * kKiB, '\0'));
  ASSERT_LT(bomb.size(), 64 * kKiB);
  RawStream& stream = Request(Framed(bomb, 1), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(stream.headers.Find("grpc-status"), "8");
  EXPECT_EQ(stream.headers.Find("lever-executed"), "no");
  EXPECT_EQ(dispatcher.calls.back().messages_count, 0u);
  // One that is at the limit is taken, and the connection is as good as before.
  RawStream& fits = Request(Framed(Gzip(std::string(64 * kKiB, 'x')), 1),
                            {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(fits.body, Framed(std::string(64 * kKiB, 'x'), 0));
}

TEST_F(CompressionCallTest, CompressedMessageMayBeAsMuchLargerAsCompressionAdds) {
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.set_message_bytes_max(64 * kKiB);
    EchoUnary(handler, call);
  };
  Connect();
  const std::string noise = Pattern(64 * kKiB);
  const std::string gzip = Gzip(noise);
  ASSERT_GT(gzip.size(), noise.size());
  RawStream& stream = Request(Framed(gzip, 1), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(stream.body, Framed(noise, 0));
  RawStream& over = Request(Framed(Pattern(70 * kKiB), 1), {{"grpc-encoding", "gzip"}});
  EXPECT_EQ(over.headers.Find("grpc-status"), "8");
}

TEST_F(CompressionCallTest, ClientInflatesTheReply) {
  const std::string reply(300 * kKiB, 'r');
  ConnectRaw(Framed(Gzip(reply), 1) + Framed("plain", 0) + Framed(Gzip(""), 1),
             {{"grpc-encoding", "gzip"}});
  TestCall& client = Unary("q");
  ASSERT_TRUE(UntilEnd(client));
  EXPECT_TRUE(client.status.ok()) << client.Text();
  EXPECT_EQ(client.messages, (std::vector<std::string>{reply, "plain", ""}));
}

TEST_F(CompressionCallTest, ClientTakesAnUnknownEncodingUntilAMessageUsesIt) {
  ConnectRaw(Framed("plain", 0), {{"grpc-encoding", "snappy"}});
  TestCall& unused = Unary("q");
  ASSERT_TRUE(UntilEnd(unused));
  EXPECT_TRUE(unused.status.ok()) << unused.Text();
  ConnectRaw(Framed("strange", 1), {{"grpc-encoding", "snappy"}});
  TestCall& used = Unary("q");
  ASSERT_TRUE(UntilEnd(used));
  EXPECT_EQ(used.status.code(), LEVER_INTERNAL) << used.Text();
  EXPECT_EQ(used.messages_count, 0u);
}

TEST_F(CompressionCallTest, ClientCutsOffABomb) {
  ConnectRaw(Framed(Gzip(std::string(10'000 * kKiB, '\0')), 1), {{"grpc-encoding", "gzip"}});
  TestCall& client = StartGzip([](TestCall&, Call& call) { call.CloseSend(); }, 64 * kKiB);
  ASSERT_TRUE(UntilEnd(client));
  EXPECT_EQ(client.status.code(), LEVER_RESOURCE_EXHAUSTED) << client.Text();
  EXPECT_EQ(client.messages_count, 0u);
}

TEST_F(CompressionCallTest, CallAfterACompressedOneIsNotCompressed) {
  dispatcher.on_call = [](TestCall& handler, Call& call) {
    call.set_compression(call.peer_compression());
    EchoUnary(handler, call);
  };
  Connect();
  const std::string text(1000, 't');
  for (int i = 0; i < 3; ++i) {
    bool compressed = false;
    TestCall& first = StartGzip([&](TestCall& handler, Call& call) {
      handler.on_message = [&](TestCall&, Call& call) { compressed = call.message_was_compressed(); };
      call.Write(Bytes(text));
      call.CloseSend();
    });
    ASSERT_TRUE(UntilEnd(first));
    EXPECT_TRUE(compressed);
    EXPECT_EQ(first.messages.back(), text);
    TestCall& second = Unary(text);
    second.on_message = [&](TestCall&, Call& call) { compressed = call.message_was_compressed(); };
    ASSERT_TRUE(UntilEnd(second));
    EXPECT_FALSE(compressed);
    EXPECT_EQ(second.messages.back(), text);
  }
}

}  // namespace
}  // namespace lever::rpc
