// A key of this process's own, under a certificate that it has signed itself: for a server whose clients
// are told of the key by somebody they trust, instead of an authority's signature.
//
// Immutable; any thread.
#ifndef LIBLEVER_RPC_TLS_IDENTITY_H_
#define LIBLEVER_RPC_TLS_IDENTITY_H_

#include <memory>
#include <string>

#include "liblever/base/status.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY,
struct ssl_ctx_st;   // SSL_CTX
struct x509_st;      // and X509

namespace lever::rpc {

inline constexpr size_t kKeyHashBytes = 32;

class TlsIdentity {
 public:
  // A new key (P-256), which never leaves the process.
  static StatusOr<std::shared_ptr<const TlsIdentity>> Make();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

  // What tells the key from all others: KeyHashOf() of its certificate.
  const std::string& key_hash() const { return key_hash_; }
  // Has a server show it.
  Status Use(ssl_ctx_st* context) const;

 private:
  TlsIdentity(std::shared_ptr<evp_pkey_st> key, std::shared_ptr<x509_st> certificate);

  const std::shared_ptr<evp_pkey_st> key_;
  const std::shared_ptr<x509_st> certificate_;
  const std::string key_hash_;
};

// SHA-256 of a certificate's SubjectPublicKeyInfo, kKeyHashBytes long, as RFC 7469 section 2.4 pins keys;
// "" without a certificate.
std::string KeyHashOf(x509_st* certificate);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_IDENTITY_H_
