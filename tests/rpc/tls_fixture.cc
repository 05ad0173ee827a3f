#include "tests/rpc/tls_fixture.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace lever::rpc {
namespace {

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

void AddExtension(X509* certificate, const X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, const_cast<X509*>(issuer), certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Identity::Identity(const CertificateSpec& spec, const Identity* issuer)
    : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
  static long serial = 1;
  X509* const certificate = certificate_.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate), spec.begins_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), spec.ends_s);
  X509_set_pubkey(certificate, key_.get());
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(spec.name.c_str()), -1, -1, 0);
  const X509* signer = issuer == nullptr ? certificate : issuer->certificate_.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  AddExtension(certificate, signer, NID_basic_constraints,
               spec.authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!spec.alternatives.empty()) {
    AddExtension(certificate, signer, NID_subject_alt_name, spec.alternatives);
  }
  X509_sign(certificate, issuer == nullptr ? key_.get() : issuer->key_.get(), EVP_sha256());
}

std::string Identity::CertificatePem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate_.get());
  return TakeText(bio);
}

std::string Identity::KeyPem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return TakeText(bio);
}

TestFolder::TestFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "lever-tls-XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

TestFolder::~TestFolder() { std::filesystem::remove_all(path_); }

std::string TestFolder::Put(const std::string& name, const std::string& text) const {
  const std::string path = Path(name);
  std::ofstream(path + ".new", std::ios::binary) << text;
  std::filesystem::rename(path + ".new", path);
  return path;
}

void TlsTest::WriteServer(const Identity& issuer, const CertificateSpec& spec) {
  const Identity identity(spec, &issuer);
  folder.Put("server.key", identity.KeyPem());
  folder.Put("server.pem", identity.CertificatePem());
}

void TlsTest::WriteClient(const Identity& issuer, const CertificateSpec& spec) {
  const Identity identity(spec, &issuer);
  folder.Put("client.key", identity.KeyPem());
  folder.Put("client.pem", identity.CertificatePem());
}

void TlsTest::ListenTls(const TlsServerOptions& options) {
  auto context = TlsServerContext::Open(options);
  ASSERT_TRUE(context.ok()) << context.status().ToString();
  server_tls = *context;
  Do([&] {
    ListenOptions listen;
    listen.tls = server_tls;
    const Status status = server->Listen(*Endpoint::Parse("tls:127.0.0.1:0"), listen);
    ASSERT_TRUE(status.ok()) << status.ToString();
  });
}

void TlsTest::ConnectTls(const TlsClientOptions& options, const std::string& host) {
  auto context = TlsClientContext::Open(options);
  ASSERT_TRUE(context.ok()) << context.status().ToString();
  Do([&] {
    channel = Channel::To(
        loop.get(), *Endpoint::Parse("tls:" + host + ":" + std::to_string(server->bound().port)),
        {}, 1, *context);
  });
}

std::string TlsTest::Ask(std::string_view text) {
  TestCall& call = Unary(text);
  if (!UntilEnd(call)) return "no end";
  return call.status.ok() ? call.messages.at(0) : call.Text();
}

}  // namespace lever::rpc
