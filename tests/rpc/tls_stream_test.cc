// TLS as a byte stream and as a handshake: peers that are slow, cut off, old, or no TLS at all. The other
// end is OpenSSL by hand where it is to misbehave.
#include <gmock/gmock.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <csignal>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/listener.h"
#include "tests/rpc/connection_fixture.h"
#include "tests/rpc/faulty_stream.h"
#include "tests/rpc/tls_fixture.h"

namespace lever::rpc {
namespace {

using ::testing::HasSubstr;

// OpenSSL's own writes raise SIGPIPE; ours must not, so that it is ignored only around those.
struct NoSigPipe {
  NoSigPipe() { std::signal(SIGPIPE, SIG_IGN); }
  ~NoSigPipe() { std::signal(SIGPIPE, SIG_DFL); }
};

// OpenSSL over a socket, as a test wants it.
class RawTls {
 public:
  RawTls(UniqueFd socket, TlsSide side) : socket_(std::move(socket)) {
    const bool server = side == TlsSide::kServer;
    context_ = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_security_level(context_, 0);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket_.get());
    server ? SSL_set_accept_state(ssl_) : SSL_set_connect_state(ssl_);
  }
  ~RawTls() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  void OfferHttp2() {
    static constexpr unsigned char kHttp2[] = "\x02h2";
    SSL_set_alpn_protos(ssl_, kHttp2, 3);
  }
  void Use(const TestFolder& folder) {
    SSL_use_certificate_file(ssl_, folder.Path("server.pem").c_str(), SSL_FILETYPE_PEM);
    SSL_use_PrivateKey_file(ssl_, folder.Path("server.key").c_str(), SSL_FILETYPE_PEM);
  }
  SSL* ssl() { return ssl_; }
  // Whether the handshake is over, one way or the other.
  bool Shake() {
    if (done_ || failed_) return true;
    const NoSigPipe no_signal;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    done_ = result == 1;
    const int error = SSL_get_error(ssl_, result);
    failed_ = !done_ && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return done_ || failed_;
  }
  bool done() const { return done_; }
  // What can be read now; "END" at the end, "FAILED" if it broke.
  std::string Read() {
    const NoSigPipe no_signal;
    ERR_clear_error();
    char buffer[4096];
    const int size = SSL_read(ssl_, buffer, sizeof(buffer));
    if (size > 0) return std::string(buffer, static_cast<size_t>(size));
    const int error = SSL_get_error(ssl_, size);
    if (error == SSL_ERROR_WANT_READ) return "";
    return error == SSL_ERROR_ZERO_RETURN ? "END" : "FAILED";
  }
  void Cut() { socket_.reset(); }

 private:
  UniqueFd socket_;
  SSL_CTX* context_;
  SSL* ssl_;
  bool done_ = false;
  bool failed_ = false;
};

UniqueFd ConnectTo(const Endpoint& endpoint) {
  const auto address = NumericAddress(endpoint);
  UniqueFd socket(::socket(address->family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(socket.get(), address->get(), address->size), 0);
  EXPECT_TRUE(SetNonBlocking(socket.get()).ok());
  return socket;
}

// Both ends of a stream over one socketpair, the handshake done.
class TlsStreamTest : public TlsTest {
 protected:
  using Streams = std::pair<std::unique_ptr<TlsStream>, std::unique_ptr<TlsStream>>;

  std::unique_ptr<TlsStream> NewServer(std::unique_ptr<ByteStream> inner) {
    const auto context = TlsServerContext::Open(ServerFiles()).value();
    return TlsStream::Server(std::move(inner), *context, TlsOffer::kHttp2, Clock::System()).value();
  }
  std::unique_ptr<TlsStream> NewClient(std::unique_ptr<ByteStream> inner) {
    const auto context = TlsClientContext::Open(ClientFiles()).value();
    return TlsStream::Client(std::move(inner), *context, "localhost", Clock::System()).value();
  }
  Streams Shaken(std::unique_ptr<ByteStream> client, std::unique_ptr<ByteStream> server) {
    Streams streams{NewClient(std::move(client)), NewServer(std::move(server))};
    auto client_step = TlsStream::Step::kWaits;
    auto server_step = TlsStream::Step::kWaits;
    while (client_step == TlsStream::Step::kWaits || server_step == TlsStream::Step::kWaits) {
      if (client_step == TlsStream::Step::kWaits) client_step = streams.first->Handshake();
      if (server_step == TlsStream::Step::kWaits) server_step = streams.second->Handshake();
    }
    EXPECT_EQ(client_step, TlsStream::Step::kDone) << streams.first->trouble();
    EXPECT_EQ(server_step, TlsStream::Step::kDone) << streams.second->trouble();
    return streams;
  }
  Streams Shaken() {
    auto pair = SocketPair(SOCK_STREAM);
    return Shaken(SocketStream(std::move(pair->first)), SocketStream(std::move(pair->second)));
  }
  // A raw peer of a stream of ours, both shaken.
  void ShakeWith(RawTls& peer, TlsStream& stream) {
    auto step = TlsStream::Step::kWaits;
    while (!peer.Shake() || step == TlsStream::Step::kWaits) {
      if (step == TlsStream::Step::kWaits) step = stream.Handshake();
    }
    ASSERT_EQ(step, TlsStream::Step::kDone) << stream.trouble();
    ASSERT_TRUE(peer.done());
  }
};

IoResult WriteText(ByteStream& stream, std::string_view text) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  return stream.Write({&piece, 1});
}

TEST_F(TlsStreamTest, AReadTakesAllThatHasComeAndSaysThatItWasAll) {
  auto [client, server] = Shaken();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(WriteText(*client, "0123456789").bytes, 10u);
  std::array<uint8_t, 64> buffer;
  const IoResult all = server->Read(buffer);
  EXPECT_EQ(all.bytes, 50u);
  EXPECT_TRUE(all.drained);
  EXPECT_EQ(server->Read(buffer).error, EAGAIN);

  ASSERT_EQ(WriteText(*client, "0123456789").bytes, 10u);
  const IoResult part = server->Read(std::span(buffer).first(4));
  EXPECT_EQ(part.bytes, 4u);
  EXPECT_FALSE(part.drained);
  EXPECT_TRUE(server->HasBufferedInput());
  EXPECT_EQ(server->Read(buffer).bytes, 6u);
  EXPECT_FALSE(server->HasBufferedInput());
}

TEST_F(TlsStreamTest, SmallPiecesGoOutInOneRecord) {
  auto pair = SocketPair(SOCK_STREAM);
  auto counting = std::make_unique<FaultyStream>(std::move(pair->first), 1, 1 << 20);
  std::string wire;
  FaultyStream* const inner = counting.get();
  auto [client, server] = Shaken(std::move(counting), SocketStream(std::move(pair->second)));
  inner->write_log = &wire;
  const std::string piece(100, 'x');
  const std::vector<iovec> pieces(100, iovec{const_cast<char*>(piece.data()), piece.size()});
  EXPECT_EQ(client->Write(pieces).bytes, 10'000u);
  // A record's head is 5 bytes, and 17 more are for its type and tag.
  EXPECT_EQ(wire.size(), 10'000u + 22);
}

TEST_F(TlsStreamTest, WritesStopWhenThePeerDoesNotReadAndGoOn) {
  auto [client, server] = Shaken();
  const std::string text = Pattern(4 << 20);
  std::string received;
  size_t sent = 0;
  bool blocked = false;
  while (received.size() < text.size()) {
    const IoResult result = WriteText(*client, std::string_view(text).substr(sent));
    sent += result.bytes;
    if (result.bytes == 0 && sent < text.size()) {
      ASSERT_EQ(result.error, EAGAIN);
      blocked = true;
    }
    std::array<uint8_t, 10'000> buffer;
    const IoResult read = server->Read(buffer);
    received.append(reinterpret_cast<const char*>(buffer.data()), read.bytes);
  }
  EXPECT_TRUE(blocked);
  EXPECT_EQ(received, text);
}

TEST_F(TlsStreamTest, AnOrderlyEndIsAnEnd) {
  auto [client, server] = Shaken();
  ASSERT_EQ(WriteText(*client, "last").bytes, 4u);
  EXPECT_TRUE(client->ShutdownWrite());
  std::array<uint8_t, 64> buffer;
  EXPECT_EQ(server->Read(buffer).bytes, 4u);
  const IoResult end = server->Read(buffer);
  EXPECT_EQ(end.bytes, 0u);
  EXPECT_EQ(end.error, 0);
  // The other direction is open still.
  ASSERT_EQ(WriteText(*server, "answer").bytes, 6u);
  EXPECT_EQ(client->Read(buffer).bytes, 6u);
  server.reset();
  EXPECT_EQ(client->Read(buffer).error, 0);
}

TEST_F(TlsStreamTest, AnInputThatIsCutOffIsAnError) {
  auto pair = SocketPair(SOCK_STREAM);
  const auto server = NewServer(SocketStream(std::move(pair->first)));
  RawTls client(std::move(pair->second), TlsSide::kClient);
  client.OfferHttp2();
  ShakeWith(client, *server);
  ASSERT_EQ(SSL_write(client.ssl(), "some", 4), 4);
  // The ticket; with input unread the socket would be reset.
  EXPECT_EQ(client.Read(), "");
  client.Cut();
  std::array<uint8_t, 64> buffer;
  EXPECT_EQ(server->Read(buffer).bytes, 4u);
  const IoResult end = server->Read(buffer);
  EXPECT_EQ(end.bytes, 0u);
  EXPECT_EQ(end.error, ECONNRESET);
  EXPECT_THAT(server->trouble(), HasSubstr("close_notify"));
}

TEST_F(TlsStreamTest, BytesThatWereChangedOnTheWayAreAnError) {
  auto pair = SocketPair(SOCK_STREAM);
  auto faulty = std::make_unique<FaultyStream>(std::move(pair->first), 1, 1 << 20);
  FaultyStream* const inner = faulty.get();
  auto [client, server] = Shaken(std::move(faulty), SocketStream(std::move(pair->second)));
  // A record of nonsense between two good ones.
  ASSERT_EQ(WriteText(*client, "good").bytes, 4u);
  WriteText(*inner, std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'z'));
  std::array<uint8_t, 64> buffer;
  EXPECT_EQ(server->Read(buffer).bytes, 4u);
  EXPECT_EQ(server->Read(buffer).error, EPROTO);
  EXPECT_FALSE(server->trouble().empty());
  EXPECT_EQ(server->Read(buffer).error, EPROTO);
}

TEST_F(TlsStreamTest, AFloodOfKeyUpdatesIsCutOff) {
  const uint64_t before = GlobalCounters().limit_tls_messages;
  auto pair = SocketPair(SOCK_STREAM);
  const auto server = NewServer(SocketStream(std::move(pair->first)));
  RawTls client(std::move(pair->second), TlsSide::kClient);
  client.OfferHttp2();
  ShakeWith(client, *server);
  std::array<uint8_t, 64> buffer;
  IoResult result{.bytes = 0, .error = EAGAIN};
  uint32_t updates = 0;
  for (; result.error == EAGAIN && updates < 4 * kTlsMessagesBurst; ++updates) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_EQ(SSL_do_handshake(client.ssl()), 1);
    result = server->Read(buffer);
  }
  EXPECT_EQ(result.error, EPROTO);
  EXPECT_GE(updates, kTlsMessagesBurst);
  EXPECT_LE(updates, kTlsMessagesBurst + 4);
  EXPECT_EQ(GlobalCounters().limit_tls_messages, before + 1);
}

TEST_F(TlsStreamTest, AKeyUpdateThatAsksForOneIsAnswered) {
  auto pair = SocketPair(SOCK_STREAM);
  const auto server = NewServer(SocketStream(std::move(pair->first)));
  RawTls client(std::move(pair->second), TlsSide::kClient);
  client.OfferHttp2();
  ShakeWith(client, *server);
  ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  ASSERT_EQ(SSL_write(client.ssl(), "after", 5), 5);
  std::array<uint8_t, 64> buffer;
  EXPECT_EQ(server->Read(buffer).bytes, 5u);
  ASSERT_EQ(WriteText(*server, "answer").bytes, 6u);
  EXPECT_EQ(client.Read(), "answer");
}

TEST_F(TlsStreamTest, Tls12IsSpokenWithoutRenegotiation) {
  auto pair = SocketPair(SOCK_STREAM);
  const auto server = NewServer(SocketStream(std::move(pair->first)));
  RawTls client(std::move(pair->second), TlsSide::kClient);
  client.OfferHttp2();
  SSL_set_max_proto_version(client.ssl(), TLS1_2_VERSION);
  ShakeWith(client, *server);
  EXPECT_STREQ(SSL_get_version(client.ssl()), "TLSv1.2");
  SSL_renegotiate(client.ssl());
  std::array<uint8_t, 64> buffer;
  const NoSigPipe no_signal;
  for (int i = 0; i < 100; ++i) {
    (void)SSL_do_handshake(client.ssl());
    const IoResult result = server->Read(buffer);
    ASSERT_EQ(result.bytes, 0u);
    if (result.error != EAGAIN) break;
  }
  EXPECT_EQ(SSL_num_renegotiations(client.ssl()), 1);
  EXPECT_NE(SSL_get_state(client.ssl()), TLS_ST_OK);
}

TEST_F(TlsStreamTest, OlderVersionsAreRefused) {
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    auto pair = SocketPair(SOCK_STREAM);
    const auto server = NewServer(SocketStream(std::move(pair->first)));
    RawTls client(std::move(pair->second), TlsSide::kClient);
    SSL_set_min_proto_version(client.ssl(), version);
    SSL_set_max_proto_version(client.ssl(), version);
    auto step = TlsStream::Step::kWaits;
    while (step == TlsStream::Step::kWaits) {
      client.Shake();
      step = server->Handshake();
    }
    EXPECT_EQ(step, TlsStream::Step::kFailed);
    EXPECT_THAT(server->trouble(), HasSubstr("TLS 1.2 or 1.3"));
  }
}

// ---- One byte at a time ----

class TlsFaultsTest : public TlsStreamTest {};

TEST_F(TlsFaultsTest, AnySizeOfReadsAndWritesGivesTheSame) {
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const size_t piece_max = seed <= 2 ? 1 : 1 + random() % 4000;
    auto pair = SocketPair(SOCK_STREAM);
    auto [client, server] =
        Shaken(std::make_unique<FaultyStream>(std::move(pair->first), random(), piece_max),
               std::make_unique<FaultyStream>(std::move(pair->second), random(), piece_max));
    TestEnd client_end;
    TestEnd server_end;
    TestStream call;
    const std::string body = Pattern(60'000, seed);
    Echo(&server_end);
    Do([&, client_stream = &client, server_stream = &server] {
      client_end.connection = Connection::Over(loop.get(), std::move(*client_stream),
                                               {.role = Role::kClient}, &client_end)
                                  .value();
      server_end.connection = Connection::Over(loop.get(), std::move(*server_stream),
                                               {.role = Role::kServer}, &server_end)
                                  .value();
      Stream* stream =
          client_end.connection->StartStream(RequestHeaders(), Stream::End::kNo, &call);
      stream->Write(Slice::Copy(body));
      stream->EndWrite();
    });
    EXPECT_TRUE(Until([&] { return call.closed == 1; }));
    EXPECT_EQ(call.body, body);
    Do([&] { client_end.connection->Drain(); });
    EXPECT_TRUE(Until([&] { return client_end.closed == 1 && server_end.closed == 1; }));
    EXPECT_TRUE(client_end.status.ok()) << client_end.status.ToString();
  }
}

// ---- A server's handshakes ----

class TlsListenTest : public TlsTest {
 protected:
  void SetUp() override {
    TlsTest::SetUp();
    ListenTls(ServerFiles());
  }
};

TEST_F(TlsListenTest, AClientWithoutAlpnIsRefused) {
  RawTls client(ConnectTo(server->bound()), TlsSide::kClient);
  ASSERT_TRUE(Until([&] { return client.Shake(); }));
  // It learns of it when it reads.
  EXPECT_TRUE(Until([&] { return client.Read() == "FAILED"; }));
  EXPECT_EQ(server->open_connections(), 0u);
}

TEST_F(TlsListenTest, AClientWithOtherProtocolsIsRefused) {
  RawTls client(ConnectTo(server->bound()), TlsSide::kClient);
  static constexpr unsigned char kHttp1[] = "\x08http/1.1";
  SSL_set_alpn_protos(client.ssl(), kHttp1, 9);
  ASSERT_TRUE(Until([&] { return client.Shake(); }));
  EXPECT_FALSE(client.done());
}

TEST_F(TlsListenTest, PlainHttpIsToldToUseTls) {
  const UniqueFd client = ConnectTo(server->bound());
  constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
  ASSERT_EQ(::send(client.get(), kRequest.data(), kRequest.size(), 0),
            static_cast<ssize_t>(kRequest.size()));
  std::string answer;
  ASSERT_TRUE(Until([&] {
    char buffer[1024];
    const ssize_t size = ::recv(client.get(), buffer, sizeof(buffer), 0);
    if (size > 0) answer.append(buffer, static_cast<size_t>(size));
    return size == 0;
  }));
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 400"));
  EXPECT_THAT(answer, HasSubstr("https://"));
}

// ---- Time moved by hand ----

class TlsClockTest : public TlsTest {
 protected:
  void SetUp() override {
    TlsTest::SetUp();
    Do([&] { server.reset(); });
    OpenLoop({.clock = &clock});
  }
  void TearDown() override {
    Do([&] { raw.reset(); });
    TlsTest::TearDown();
  }

  std::unique_ptr<Listener> raw;
};

TEST_F(TlsClockTest, AHandshakeThatStallsIsCutOff) {
  ListenTls(ServerFiles());
  const uint64_t before = GlobalCounters().tls_handshake_timeouts;
  const UniqueFd silent = ConnectTo(server->bound());
  const UniqueFd slow = ConnectTo(server->bound());
  // The beginning of a ClientHello.
  ASSERT_EQ(::send(slow.get(), "\x16\x03\x01\x02", 4, 0), 4);
  ASSERT_TRUE(Until([&] { return server->open_connections() == 2; }));
  clock.Advance(kTlsHandshakeTimeoutNs - 1);
  Settle();
  EXPECT_EQ(server->open_connections(), 2u);
  clock.Advance(1);
  Settle();
  EXPECT_EQ(server->open_connections(), 0u);
  EXPECT_EQ(GlobalCounters().tls_handshake_timeouts, before + 2);
  char byte;
  EXPECT_EQ(::recv(silent.get(), &byte, 1, 0), 0);
}

TEST_F(TlsClockTest, TheTimeToConnectCoversTheHandshake) {
  std::vector<UniqueFd> accepted;
  Do([&] {
    raw = Listener::Open(loop.get(), *Endpoint::Parse("127.0.0.1:0"), {},
                         [&](UniqueFd socket) { accepted.push_back(std::move(socket)); })
              .value();
    const auto context = TlsClientContext::Open(ClientFiles()).value();
    channel = Channel::To(loop.get(), raw->bound(), {}, 1, context);
  });
  TestCall& call = Unary("never");
  ASSERT_TRUE(Until([&] { return accepted.size() == 1; }));
  clock.Advance(kConnectTimeoutNs);
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_THAT(call.Text(), HasSubstr("in time"));
  EXPECT_TRUE(call.never_written);
}

TEST_F(TlsClockTest, AServerWithoutAlpnIsRefused) {
  std::unique_ptr<RawTls> peer;
  Do([&] {
    raw = Listener::Open(loop.get(), *Endpoint::Parse("127.0.0.1:0"), {},
                         [&](UniqueFd socket) {
                           peer = std::make_unique<RawTls>(std::move(socket), TlsSide::kServer);
                           peer->Use(folder);
                         })
              .value();
    const auto context = TlsClientContext::Open(ClientFiles()).value();
    channel = Channel::To(loop.get(), raw->bound(), {}, 1, context);
  });
  TestCall& call = Unary("never");
  ASSERT_TRUE(Until([&] {
    if (peer != nullptr) peer->Shake();
    return call.ended();
  }));
  EXPECT_THAT(call.Text(), HasSubstr("ALPN h2"));
}

TEST_F(TlsClockTest, AnEndpointThatSaysTlsIsNeverConnectedToWithout) {
  Do([&] { channel = Channel::To(loop.get(), *Endpoint::Parse("tls:127.0.0.1:1"), {}, 1); });
  TestCall& call = Unary("never");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_THAT(call.Text(), HasSubstr("without TLS"));
}

}  // namespace
}  // namespace lever::rpc
