// Calls over TLS: who is believed, what is said about those who are not, and files that change.
#include <gmock/gmock.h>
#include <openssl/ssl.h>

#include "liblever/base/log.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/tls_roots.h"
#include "tests/rpc/tls_fixture.h"

namespace lever::rpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(TlsTest, ACallGoesOverTls) {
  OpenBoth();
  EXPECT_EQ(Ask("hello"), "hello");
  EXPECT_TRUE(channel->ready_connection()->encrypted());
}

TEST_F(TlsTest, ManyMegabytesBothWaysComeAsTheyWere) {
  OpenBoth();
  dispatcher.on_call = EchoAll;
  constexpr size_t kMessages = 24;
  std::vector<std::string> sent;
  for (uint32_t i = 0; i < kMessages; ++i) sent.push_back(Pattern(1'000'003, i + 1));
  TestCall& call = Start(Options(), [&](TestCall&, Call& call) {
    for (const std::string& message : sent) call.Write(Bytes(message));
    call.CloseSend();
  });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(call.messages, sent);
}

// ---- Who is believed ----

TEST_F(TlsTest, AServerIsKnownByItsNameOrAddress) {
  ListenTls(ServerFiles());
  for (const char* host : {"127.0.0.1", "localhost"}) {
    ConnectTls(ClientFiles(), host);
    EXPECT_EQ(Ask(), "hello") << host;
  }
}

TEST_F(TlsTest, AServerWithAnotherNameIsRefusedUnlessTheClientSaysSo) {
  WriteServer(authority, {.alternatives = "DNS:other.example,IP:10.1.2.3"});
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("other.example, 10.1.2.3"),
                           HasSubstr("not for 127.0.0.1")));
  TestCall& call = Unary("x");
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.never_written);
  TlsClientOptions options = ClientFiles();
  options.server_name = "other.example";
  ConnectTls(options);
  EXPECT_EQ(Ask(), "hello");
}

TEST_F(TlsTest, APartOfAWildcardIsNoName) {
  WriteServer(authority, {.alternatives = "DNS:l*calhost,DNS:*"});
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles(), "localhost");
  EXPECT_THAT(Ask(), HasSubstr("not for localhost"));
}

TEST_F(TlsTest, AServerOfAnUnknownAuthorityIsRefused) {
  WriteServer(Authority("another authority"), {});
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), AllOf(HasSubstr("signed by none of the roots"), HasSubstr("LEVER_TLS_CA")));
}

TEST_F(TlsTest, ASelfSignedServerIsTrustedOnlyByItsOwnCertificate) {
  const Identity self({}, nullptr);
  folder.Put("server.pem", self.CertificatePem());
  folder.Put("server.key", self.KeyPem());
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), AllOf(HasSubstr("self-signed"), HasSubstr("LEVER_TLS_CA")));
  TlsClientOptions options = ClientFiles();
  options.roots_file = folder.Path("server.pem");
  ConnectTls(options);
  EXPECT_EQ(Ask(), "hello");
}

TEST_F(TlsTest, ExpiredAndFutureCertificatesAreRefused) {
  WriteServer(authority, {.begins_s = -7200, .ends_s = -3600});
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), HasSubstr("has expired"));
  WriteServer(authority, {.begins_s = 3600, .ends_s = 7200});
  ListenTls(ServerFiles());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), HasSubstr("not valid yet"));
}

// ---- Mutual TLS ----

TEST_F(TlsTest, OnlyAClientWithACertificateOfTheRightAuthorityIsServed) {
  const Identity clients = Authority("the clients' authority");
  folder.Put("clients.pem", clients.CertificatePem());
  TlsServerOptions server_options = ServerFiles();
  server_options.client_roots_file = folder.Path("clients.pem");
  ListenTls(server_options);
  const uint64_t failures = GlobalCounters().tls_handshake_failures;

  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), HasSubstr("the server wants a client's certificate"));
  EXPECT_EQ(server->open_connections(), 0u);

  WriteClient(authority);
  TlsClientOptions options = ClientFiles();
  options.certificate_file = folder.Path("client.pem");
  options.key_file = folder.Path("client.key");
  ConnectTls(options);
  EXPECT_THAT(Ask(), HasSubstr("does not know who signed our certificate"));
  EXPECT_EQ(GlobalCounters().tls_handshake_failures, failures + 2);
  EXPECT_TRUE(dispatcher.calls.empty());

  const Identity good({.name = "good"}, &clients);
  options.certificate_file = folder.Put("good.pem", good.CertificatePem());
  options.key_file = folder.Put("good.key", good.KeyPem());
  ConnectTls(options);
  EXPECT_EQ(Ask(), "hello");
}

// ---- Files ----

TEST_F(TlsTest, WhatIsWrongWithAFileIsSaid) {
  TlsServerOptions options = ServerFiles();
  options.key_file = folder.Path("missing.key");
  const auto missing = TlsServerContext::Open(options);
  EXPECT_EQ(missing.status().code(), LEVER_NOT_FOUND);
  EXPECT_THAT(missing.status().message(), HasSubstr("missing.key"));

  options = ServerFiles();
  options.certificate_file = folder.Put("text.pem", "no certificate\n");
  EXPECT_THAT(TlsServerContext::Open(options).status().message(),
              AllOf(HasSubstr("the certificate"), HasSubstr("text.pem")));

  options = ServerFiles();
  options.key_file = folder.Put("other.key", Identity({}, nullptr).KeyPem());
  EXPECT_THAT(TlsServerContext::Open(options).status().message(),
              AllOf(HasSubstr("the key"), HasSubstr("mismatch")));

  options = ServerFiles();
  options.client_roots_file = folder.Put("empty.pem", "");
  EXPECT_THAT(TlsServerContext::Open(options).status().message(), HasSubstr("empty.pem"));

  TlsClientOptions client = ClientFiles();
  client.certificate_file = folder.Path("server.pem");
  EXPECT_THAT(TlsClientContext::Open(client).status().message(), HasSubstr("go together"));
}

TEST(TlsRoots, SslCertFileGoesFirstThenTheKnownPlacesThenAnError) {
  const TestFolder folder;
  const std::string own = folder.Put("own.pem", "x");
  const std::string known = folder.Put("known.pem", "x");
  const std::string missing = folder.Path("missing.pem");
  const char* const places[] = {missing.c_str(), known.c_str()};
  EXPECT_EQ(FindRootsFile(own.c_str(), places).value(), own);
  EXPECT_EQ(FindRootsFile(nullptr, places).value(), known);
  EXPECT_EQ(FindRootsFile("", places).value(), known);
  EXPECT_THAT(FindRootsFile(missing.c_str(), places).status().message(),
              AllOf(HasSubstr("SSL_CERT_FILE"), HasSubstr(missing)));
  const auto none = FindRootsFile(nullptr, std::span(places).first(1));
  EXPECT_EQ(none.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(none.status().message(), AllOf(HasSubstr(missing), HasSubstr("LEVER_TLS_CA")));
}

TEST_F(TlsTest, ContextsWithEqualOptionsAreOne) {
  const auto one = TlsClientContext::Open(ClientFiles()).value();
  EXPECT_EQ(TlsClientContext::Open(ClientFiles()).value(), one);
  TlsClientOptions other = ClientFiles();
  other.server_name = "x.example";
  EXPECT_NE(TlsClientContext::Open(other).value(), one);
}

// Time is moved by hand, so that files are looked at when the test says so.
class TlsReloadTest : public TlsTest {
 protected:
  void SetUp() override {
    TlsTest::SetUp();
    server_tls = TlsServerContext::Open(ServerFiles()).value();
    first = server_tls->Current(clock);
  }
  std::shared_ptr<ssl_ctx_st> Later() {
    clock.Advance(kTlsReloadCheckNs);
    return server_tls->Current(clock);
  }

  std::shared_ptr<ssl_ctx_st> first;
};

TEST_F(TlsReloadTest, ANewCertificateIsUsedFromTheNextCheckOn) {
  EXPECT_EQ(Later(), first);
  WriteServer(authority, {});
  EXPECT_EQ(server_tls->Current(clock), first);
  const auto second = Later();
  EXPECT_NE(second, first);
  EXPECT_EQ(Later(), second);
}

TEST_F(TlsReloadTest, AHalfDoneChangeKeepsTheOldOneAndIsLoggedOnce) {
  static std::vector<std::string>* lines;
  std::vector<std::string> logged;
  lines = &logged;
  SetLogSink([](void*, LogLevel level, std::string_view line) {
    if (level == LogLevel::kError) lines->emplace_back(line);
  }, nullptr);
  const Identity next({}, &authority);
  folder.Put("server.pem", next.CertificatePem());
  EXPECT_EQ(Later(), first);
  EXPECT_EQ(Later(), first);
  folder.Put("server.key", next.KeyPem().substr(0, 80));
  EXPECT_EQ(Later(), first);
  ASSERT_EQ(logged.size(), 2u);
  EXPECT_THAT(logged[0], AllOf(HasSubstr("server.key"), HasSubstr("stays in use")));
  folder.Put("server.key", next.KeyPem());
  EXPECT_NE(Later(), first);
  SetLogSink(nullptr, nullptr);
}

TEST_F(TlsReloadTest, AFileThatIsGoneKeepsTheOldOne) {
  ::unlink(folder.Path("server.pem").c_str());
  EXPECT_EQ(Later(), first);
  WriteServer(authority, {});
  EXPECT_NE(Later(), first);
}

TEST_F(TlsTest, AConnectionThatIsOpenGoesOnWhenFilesChange) {
  OpenBoth();
  EXPECT_EQ(Ask(), "hello");
  Connection* const connection = channel->ready_connection();
  const Identity next = Authority("the next authority");
  WriteServer(next, {});
  folder.Put("roots.pem", next.CertificatePem());
  EXPECT_EQ(Ask("still"), "still");
  EXPECT_EQ(channel->ready_connection(), connection);
}

TEST_F(TlsTest, BothSidesUseNewFilesForNewConnections) {
  OpenBoth();
  EXPECT_EQ(Ask(), "hello");
  // Another authority: a side that had kept its old files would not get through.
  const Identity next = Authority("the next authority");
  WriteServer(next, {});
  folder.Put("roots.pem", next.CertificatePem());
  ManualClock later(Clock::System().NowNs() + 2 * kTlsReloadCheckNs);
  const uint64_t reloads = GlobalCounters().tls_reloads;
  const auto client_tls = TlsClientContext::Open(ClientFiles()).value();
  (void)client_tls->Current(later);
  EXPECT_EQ(GlobalCounters().tls_reloads, reloads + 1);
  (void)server_tls->Current(later);
  EXPECT_EQ(GlobalCounters().tls_reloads, reloads + 2);
  ConnectTls(ClientFiles());
  EXPECT_EQ(Ask("again"), "again");
}

}  // namespace
}  // namespace lever::rpc
