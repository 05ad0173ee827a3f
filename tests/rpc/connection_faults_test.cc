// Sockets that move a few bytes at a time, break off anywhere, or carry a great deal.
#include <random>

#include "liblever/rpc/byte_stream.h"
#include "tests/rpc/connection_fixture.h"
#include "tests/rpc/faulty_stream.h"

namespace lever::rpc {
namespace {

constexpr size_t kWholePieces = 1 << 20;

class ConnectionFaultsTest : public ConnectionTest {
 protected:
  void OpenFaulty(TestEnd* end, Role role, std::unique_ptr<ByteStream> stream) {
    Do([&] {
      auto opened = Connection::Over(loop.get(), std::move(stream), {.role = role}, end);
      ASSERT_TRUE(opened.ok());
      end->connection = std::move(opened).value();
    });
  }

  // The calls of the recorded exchange, always the same.
  void StartExchange() {
    for (const char* body : {"first", "", "third, which is longer than the others"}) {
      TestStream& call = NewCall();
      HeaderList headers = RequestHeaders("/exchange");
      headers.Add("number", std::to_string(calls.size()));
      Start(&call, body, true, headers);
    }
  }
};

TEST_F(ConnectionFaultsTest, AnySizeOfReadsAndWritesGivesTheSame) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    // One byte at a time with the first seeds.
    const size_t piece_max = seed <= 5 ? 1 : 1 + random() % 3000;
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    OpenFaulty(&client, Role::kClient,
               std::make_unique<FaultyStream>(std::move(pair->first), random(), piece_max));
    OpenFaulty(&server, Role::kServer,
               std::make_unique<FaultyStream>(std::move(pair->second), random(), piece_max));
    Echo(&server);
    std::vector<std::string> bodies;
    for (int i = 0; i < 5; ++i) {
      std::string body(random() % 10'000, '\0');
      for (char& c : body) c = static_cast<char>(random());
      bodies.push_back(body);
      Start(&NewCall(), body);
    }
    ASSERT_TRUE(Until([&] { return client.connection->open_streams() == 0; }));
    for (size_t i = 0; i < bodies.size(); ++i) EXPECT_EQ(calls[i].body, bodies[i]);
    Do([&] {
      client.connection.reset();
      server.connection.reset();
    });
    calls.clear();
    server.requests.clear();
  }
}

TEST_F(ConnectionFaultsTest, AnExchangeMayBreakOffAtEachByteOnEitherSide) {
  std::string to_server;
  std::string to_client;
  {
    auto pair = SocketPair(SOCK_STREAM);
    auto faulty = std::make_unique<FaultyStream>(std::move(pair->first), 1, kWholePieces);
    faulty->write_log = &to_server;
    faulty->read_log = &to_client;
    OpenFaulty(&client, Role::kClient, std::move(faulty));
    OpenServer(std::move(pair->second));
    Echo(&server);
    StartExchange();
    ASSERT_TRUE(Until([&] { return client.connection->open_streams() == 0; }));
    Do([&] {
      client.connection.reset();
      server.connection.reset();
    });
  }
  ASSERT_GT(to_server.size(), 100u);
  ASSERT_GT(to_client.size(), 100u);
  for (size_t size = 0; size <= to_server.size(); ++size) {
    SCOPED_TRACE("bytes to the server: " + std::to_string(size));
    server = TestEnd();
    Echo(&server);
    RawPeer peer = ServerAgainstRaw();
    peer.Send(std::string_view(to_server).substr(0, size));
    Settle();
    peer.Close();
    ASSERT_TRUE(Until([&] { return server.closed == 1; }));
    EXPECT_EQ(server.open_streams_at_close, 0u);
    for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
  }
  for (size_t size = 0; size <= to_client.size(); ++size) {
    SCOPED_TRACE("bytes to the client: " + std::to_string(size));
    client = TestEnd();
    calls.clear();
    RawPeer peer = ClientAgainstRaw();
    StartExchange();
    peer.Send(std::string_view(to_client).substr(0, size));
    Settle();
    peer.Close();
    ASSERT_TRUE(Until([&] { return client.closed == 1; }));
    EXPECT_EQ(client.open_streams_at_close, 0u);
    for (const TestStream& call : calls) {
      EXPECT_EQ(call.closed, 1);
      const bool whole = call.close.error_code == 0;
      EXPECT_EQ(whole, call.trailers.size() == 1u);
      EXPECT_FALSE(call.close.never_written);
    }
    if (size == to_client.size()) {
      EXPECT_EQ(calls.back().close.error_code, 0u);
    }
  }
}

TEST_F(ConnectionFaultsTest, NeverWrittenFlipsAtTheFirstByteOfHeaders) {
  // Runs the exchange over a socket that takes so many bytes, and returns those.
  const auto run = [&](size_t limit) {
    client = TestEnd();
    calls.clear();
    auto pair = SocketPair(SOCK_STREAM);
    std::string written;
    auto faulty = std::make_unique<FaultyStream>(std::move(pair->first), 1, kWholePieces);
    faulty->write_limit = limit;
    faulty->write_log = &written;
    OpenFaulty(&client, Role::kClient, std::move(faulty));
    if (client.connection != nullptr) StartExchange();
    Settle();
    pair->second.reset();
    EXPECT_TRUE(Until([&] { return client.closed == 1; }));
    return written;
  };
  std::vector<size_t> begin;
  for (const SeenFrame& frame : Parse(run(SIZE_MAX))) {
    if (frame.type == kFrameHeaders) begin.push_back(frame.offset);
  }
  ASSERT_EQ(begin.size(), 3u);
  for (size_t limit = 1; limit <= begin[2] + 1; ++limit) {
    SCOPED_TRACE("bytes that the socket takes: " + std::to_string(limit));
    EXPECT_EQ(run(limit).size(), limit);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(calls[i].close.never_written, limit <= begin[i]) << i;
      EXPECT_EQ(calls[i].close.unprocessed, calls[i].close.never_written) << i;
    }
  }
}

// Takes whatever it is given, at once, and never says anything.
class Sink : public ByteStream {
 public:
  Sink(UniqueFd socket, size_t* taken) : socket_(std::move(socket)), taken_(taken) {}
  int fd() const override { return socket_.get(); }
  IoResult Read(std::span<uint8_t> into) override {
    if (!settings_.empty()) {
      const size_t size =
          std::exchange(settings_, {}).copy(reinterpret_cast<char*>(into.data()), into.size());
      return {.bytes = size};
    }
    return {.error = EAGAIN};
  }
  IoResult Write(std::span<const iovec> pieces) override {
    size_t bytes = 0;
    for (const iovec& piece : pieces) bytes += piece.iov_len;
    *taken_ += bytes;
    return {.bytes = bytes};
  }
  bool ShutdownWrite() override { return true; }

 private:
  UniqueFd socket_;
  size_t* taken_;
  std::string settings_ = Frame(kFrameSettings, 0, 0, Number(4, 2) + Number(0x7fffffff)) +
                          Frame(kFrameWindowUpdate, 0, 0, Number(0x7fff0000));
};

TEST_F(ConnectionFaultsTest, ASocketThatTakesEverythingGetsItInBoundedTurns) {
  constexpr size_t kTotal = 16 * kConnectionOutBytesMax;
  auto pair = SocketPair(SOCK_STREAM);
  size_t taken = 0;
  OpenFaulty(&client, Role::kClient, std::make_unique<Sink>(std::move(pair->first), &taken));
  // Something to read, which makes the sink give its SETTINGS.
  ASSERT_EQ(::send(pair->second.get(), "x", 1, 0), 1);
  ASSERT_TRUE(Until([&] { return client.ready == 1; }));
  Start(&NewCall(), std::string(kTotal, 'x'), false);
  EXPECT_LE(taken, (kWriteRoundsPerTurn + 1) * kConnectionOutBytesMax);
  // No edge of the socket announces the rest.
  EXPECT_TRUE(Until([&] { return taken > kTotal; }));
}

TEST_F(ConnectionFaultsTest, ARequestBetweenTheFinalGoawaysMakingAndItsLeavingIsNotRun) {
  auto pair = SocketPair(SOCK_STREAM);
  RawPeer peer(std::move(pair->second));
  // Byte by byte, so that the PING's answer and the request are two reads of one turn.
  OpenFaulty(&server, Role::kServer, std::make_unique<FaultyStream>(std::move(pair->first), 1, 1));
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0) +
            Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock));
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] { server.connection->Drain(); });
  ASSERT_TRUE(Until([&] { return peer.Frames(kFramePing).size() == 1; }));
  peer.Send(Frame(kFramePing, kFlagAck, 0, peer.Frames(kFramePing)[0].payload) +
            Frame(kFrameHeaders, kFlagEndHeaders, 3, kRequestBlock));
  ASSERT_TRUE(Until([&] { return peer.Frames(kFrameGoaway).size() == 2; }));
  Settle();
  EXPECT_EQ(peer.Frames(kFrameGoaway)[1].payload, Number(1) + Number(0));
  EXPECT_EQ(server.requests.size(), 1u);
  EXPECT_EQ(server.requests[0]->closed, 0);
}

TEST_F(ConnectionFaultsTest, AStreamBehindAFullSocketIsNeverWritten) {
  auto pair = SocketPair(SOCK_STREAM);
  OpenClient(std::move(pair->first));
  RawPeer peer(std::move(pair->second));
  peer.Send(Frame(kFrameSettings, 0, 0, Number(4, 2) + Number(1 << 30)) +
            Frame(kFrameWindowUpdate, 0, 0, Number(1 << 30)));
  ASSERT_TRUE(Until([&] { return client.ready == 1; }));
  TestStream& bulk = NewCall();
  Start(&bulk, std::string(8 << 20, 'x'), false);
  Settle();
  EXPECT_GT(bulk.stream->queued_bytes(), 4u << 20) << "only so much is taken from the stream";
  TestStream& late = NewCall();
  Start(&late);
  Settle();
  EXPECT_EQ(late.closed, 0);
  peer.Close();
  ASSERT_TRUE(Until([&] { return client.closed == 1; }));
  EXPECT_FALSE(bulk.close.never_written);
  EXPECT_TRUE(late.close.never_written);
}

// FNV-1a, to compare without keeping.
struct Checksum {
  void Add(std::span<const uint8_t> bytes) {
    for (uint8_t byte : bytes) value = (value ^ byte) * 1099511628211u;
    size += bytes.size();
  }
  uint64_t value = 1469598103934665603u;
  size_t size = 0;
};

TEST_F(ConnectionFaultsTest, SixtyFourMebibytesEachWayArriveAsTheyWere) {
  constexpr size_t kTotal = 64 << 20;
  constexpr size_t kPiece = 100'000;
  OpenBoth();
  Checksum sent;
  Checksum back;
  size_t queued_max = 0;
  std::mt19937 random(7);
  std::string piece(kPiece, '\0');
  const auto write_some = [&](Stream& stream) {
    while (stream.Writable() && sent.size < kTotal) {
      for (size_t i = 0; i < kPiece; i += 97) piece[i] = static_cast<char>(random());
      const Slice slice = Slice::Copy(std::string_view(piece).substr(0, kTotal - sent.size));
      sent.Add(slice.span());
      stream.Write(slice);
      queued_max = std::max(queued_max, stream.queued_bytes());
    }
    if (sent.size == kTotal) stream.EndWrite();
  };
  // The server relays the slices as they come, and gives the window back as they leave.
  struct Relay : StreamHandler {
    void OnData(Stream& stream, Slice data) override {
      const size_t size = data.size();
      stream.Write(std::move(data));
      if (stream.Writable()) {
        stream.Consume(size + std::exchange(owed, 0));
      } else {
        owed += size;
      }
    }
    void OnWritable(Stream& stream) override { stream.Consume(std::exchange(owed, 0)); }
    void OnRemoteEnd(Stream& stream) override { stream.EndWrite(); }
    void OnClosed(Stream&, const StreamClose& how) override { code = how.error_code; }
    size_t owed = 0;
    uint32_t code = 1;
  } relay;
  server.on_request = [&](TestStream&, Stream& stream) {
    stream.set_handler(&relay);
    stream.SendHeaders(ResponseHeaders());
  };
  struct Sink : TestStream {
    explicit Sink(Checksum* sum) : sum(sum) {}
    void OnData(Stream& stream, Slice data) override {
      sum->Add(data.span());
      stream.Consume(data.size());
    }
    Checksum* sum;
  } sink(&back);
  sink.on_writable = [&](TestStream&, Stream& stream) { write_some(stream); };
  Do([&] {
    Stream* stream = client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &sink);
    write_some(*stream);
  });
  ASSERT_TRUE(Until([&] { return sink.closed == 1; }));
  EXPECT_EQ(sink.close.error_code, 0u);
  EXPECT_EQ(relay.code, 0u);
  EXPECT_EQ(sent.size, kTotal);
  EXPECT_EQ(back.size, kTotal);
  EXPECT_EQ(back.value, sent.value);
  EXPECT_LE(queued_max, kStreamQueuedBytesMax + kPiece);
}

}  // namespace
}  // namespace lever::rpc
