#include "liblever/rpc/tls_identity.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <utility>

#include "liblever/rpc/tls_text.h"

namespace lever::rpc {
namespace {

// Nobody looks at it: who knows the key asks for no more, and everybody else refuses it.
constexpr long kValidSeconds = 10L * 365 * 24 * 3600;
// For a client whose clock is behind.
constexpr long kValidBeforeSeconds = 24L * 3600;
constexpr int kSerialBits = 63;

Status Sign(X509* certificate, EVP_PKEY* key) {
  static constexpr unsigned char kName[] = "lever-instance";
  X509_NAME* name = X509_get_subject_name(certificate);
  BIGNUM* serial = BN_new();
  const bool made =
      X509_set_version(certificate, X509_VERSION_3) == 1 && serial != nullptr &&
      BN_rand(serial, kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
      BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)) != nullptr &&
      X509_gmtime_adj(X509_getm_notBefore(certificate), -kValidBeforeSeconds) != nullptr &&
      X509_gmtime_adj(X509_getm_notAfter(certificate), kValidSeconds) != nullptr &&
      X509_set_pubkey(certificate, key) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, kName, -1, -1, 0) == 1 &&
      X509_set_issuer_name(certificate, name) == 1 &&
      X509_sign(certificate, key, EVP_sha256()) != 0;
  BN_free(serial);
  return made ? Status::Ok() : Internal("TLS: no certificate was made: " + TlsErrorText());
}

}  // namespace

TlsIdentity::TlsIdentity(std::shared_ptr<EVP_PKEY> key, std::shared_ptr<X509> certificate)
    : key_(std::move(key)),
      certificate_(std::move(certificate)),
      key_hash_(KeyHashOf(certificate_.get())) {}

StatusOr<std::shared_ptr<const TlsIdentity>> TlsIdentity::Make() {
  const std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const std::shared_ptr<X509> certificate(X509_new(), &X509_free);
  if (key == nullptr || certificate == nullptr) {
    return Internal("TLS: no key was made: " + TlsErrorText());
  }
  LEVER_RETURN_IF_ERROR(Sign(certificate.get(), key.get()));
  return std::shared_ptr<const TlsIdentity>(new TlsIdentity(key, certificate));
}

Status TlsIdentity::Use(SSL_CTX* context) const {
  if (SSL_CTX_use_certificate(context, certificate_.get()) == 1 &&
      SSL_CTX_use_PrivateKey(context, key_.get()) == 1) {
    return Status::Ok();
  }
  return Internal("TLS: the process's own key cannot be used: " + TlsErrorText());
}

std::string KeyHashOf(X509* certificate) {
  if (certificate == nullptr) return {};
  unsigned char* encoded = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);
  if (size <= 0) return {};
  std::string hash(kKeyHashBytes, '\0');
  const int hashed = EVP_Digest(encoded, static_cast<size_t>(size),
                                reinterpret_cast<unsigned char*>(hash.data()), nullptr, EVP_sha256(),
                                nullptr);
  OPENSSL_free(encoded);
  return hashed == 1 ? hash : std::string();
}

}  // namespace lever::rpc
