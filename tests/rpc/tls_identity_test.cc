// Servers that are known by their key alone.
#include <gmock/gmock.h>
#include <openssl/pem.h>

#include "liblever/rpc/tls_identity.h"
#include "tests/rpc/tls_fixture.h"

namespace lever::rpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TlsIdentityTest : public TlsTest {
 protected:
  void Listen(std::shared_ptr<TlsServerContext> tls) {
    Do([&] {
      ListenOptions listen;
      listen.tls = std::move(tls);
      ASSERT_TRUE(server->Listen(*Endpoint::Parse("tls:127.0.0.1:0"), listen).ok());
    });
  }
  void ConnectFor(const std::string& key_hash) {
    auto context = TlsClientContext::OpenForKey(key_hash);
    ASSERT_TRUE(context.ok()) << context.status().ToString();
    Do([&] {
      channel = Channel::To(loop.get(),
                            *Endpoint::Parse("tls:127.0.0.1:" + std::to_string(server->bound().port)),
                            {}, 1, *context);
    });
  }
};

TEST_F(TlsIdentityTest, AServerIsKnownByTheHashOfItsKey) {
  const auto identity = TlsIdentity::Make().value();
  ASSERT_EQ(identity->key_hash().size(), kKeyHashBytes);
  Listen(TlsServerContext::Of(identity).value());
  ConnectFor(identity->key_hash());
  EXPECT_EQ(Ask("hello"), "hello");
  EXPECT_TRUE(channel->ready_connection()->encrypted());
}

TEST_F(TlsIdentityTest, AnotherKeyIsRefused) {
  const auto identity = TlsIdentity::Make().value(), other = TlsIdentity::Make().value();
  EXPECT_NE(identity->key_hash(), other->key_hash());
  Listen(TlsServerContext::Of(identity).value());
  ConnectFor(other->key_hash());
  EXPECT_THAT(Ask(), AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("has another key")));
}

TEST_F(TlsIdentityTest, WhoHasSignedTheKeyAndForWhomDoesNotMatter) {
  WriteServer(authority, {.alternatives = "DNS:other.example", .begins_s = -7200, .ends_s = -3600});
  ListenTls(ServerFiles());
  BIO* file = BIO_new_file(folder.Path("server.pem").c_str(), "r");
  X509* certificate = PEM_read_bio_X509(file, nullptr, nullptr, nullptr);
  ConnectFor(KeyHashOf(certificate));
  X509_free(certificate);
  BIO_free(file);
  EXPECT_EQ(Ask("hello"), "hello");
}

TEST_F(TlsIdentityTest, WhoAsksForAnAuthorityDoesNotTakeIt) {
  Listen(TlsServerContext::Of(TlsIdentity::Make().value()).value());
  ConnectTls(ClientFiles());
  EXPECT_THAT(Ask(), HasSubstr("self-signed"));
}

TEST_F(TlsIdentityTest, AHashOfAnotherLengthIsAMistake) {
  for (const size_t size : {0, 31, 33}) {
    EXPECT_EQ(TlsClientContext::OpenForKey(std::string(size, 'k')).status().code(), LEVER_INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace lever::rpc
