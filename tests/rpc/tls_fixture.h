// Certificates made at test time, and clients and servers over TLS on one loop.
#ifndef TESTS_RPC_TLS_FIXTURE_H_
#define TESTS_RPC_TLS_FIXTURE_H_

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "liblever/rpc/tls.h"
#include "liblever/rpc/tls_handshake.h"
#include "tests/rpc/call_fixture.h"

namespace lever::rpc {

struct OpenSslFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};

// What a certificate says; the rest is as it should be.
struct CertificateSpec {
  std::string name = "lever test";
  std::string alternatives = "DNS:localhost,IP:127.0.0.1,IP:::1";
  long begins_s = -3600;  // from now
  long ends_s = 3600;
  bool authority = false;
};

// A key and its certificate.
class Identity {
 public:
  // Signed by `issuer`; null: by itself.
  Identity(const CertificateSpec& spec, const Identity* issuer);
  std::string CertificatePem() const;
  std::string KeyPem() const;

 private:
  std::unique_ptr<EVP_PKEY, OpenSslFree> key_;
  std::unique_ptr<X509, OpenSslFree> certificate_;
};

inline Identity Authority(const std::string& name = "lever test authority") {
  return Identity({.name = name, .alternatives = "", .authority = true}, nullptr);
}

// A folder with files, gone with the test.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  // Replaces the file as a whole, as those who renew certificates do.
  std::string Put(const std::string& name, const std::string& text) const;
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A server with a certificate for localhost and 127.0.0.1, and its authority's file.
class TlsTest : public CallTest {
 protected:
  void SetUp() override {
    CallTest::SetUp();
    WriteServer(authority, {});
    folder.Put("roots.pem", authority.CertificatePem());
    dispatcher.on_call = EchoUnary;
  }

  // Makes server.pem and server.key anew.
  void WriteServer(const Identity& issuer, const CertificateSpec& spec);
  void WriteClient(const Identity& issuer, const CertificateSpec& spec = {.name = "a client"});

  TlsServerOptions ServerFiles() const {
    return {.certificate_file = folder.Path("server.pem"),
            .key_file = folder.Path("server.key"),
            .client_roots_file = ""};
  }
  TlsClientOptions ClientFiles() const {
    return {.roots_file = folder.Path("roots.pem"),
            .certificate_file = "",
            .key_file = "",
            .server_name = ""};
  }

  // A TLS server on 127.0.0.1, and a channel to it by that address or another name of it.
  void ListenTls(const TlsServerOptions& options);
  void ConnectTls(const TlsClientOptions& options, const std::string& host = "127.0.0.1");
  void OpenBoth() {
    ListenTls(ServerFiles());
    ConnectTls(ClientFiles());
  }
  // One call of `text`; what came of it.
  std::string Ask(std::string_view text = "hello");

  TestFolder folder;
  Identity authority = Authority();
  std::shared_ptr<TlsServerContext> server_tls;
};

}  // namespace lever::rpc

#endif  // TESTS_RPC_TLS_FIXTURE_H_
