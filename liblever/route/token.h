// Tokens of direct connections over a network: a host says in one who calls which instance, the caller
// shows it once on its connection, and the instance checks it without asking anybody.
//
// A token is a JSON Web Token (RFC 7519) in its compact form, signed with Ed25519 (RFC 8037). docs/wire.md
// tells its claims, tests/vectors/tokens.json has some.
//
// A signer is immutable, and for any thread. A verifier is used by one thread at a time.
//
// Invariants
//  1. Nothing of a token is parsed before its signature has been checked. Its header has to be, byte for
//     byte, the one that goes with a known key: there is no other algorithm to be talked into (RFC 8725).
//  2. A token is good for one instance, until it expires.
#ifndef LIBLEVER_ROUTE_TOKEN_H_
#define LIBLEVER_ROUTE_TOKEN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace lever::route {

// Longer ones are refused unseen.
inline constexpr size_t kTokenBytesMax = 1024;
// Keys that an instance knows; a host that tells more is cut short.
inline constexpr size_t kTokenKeysMax = 64;
inline constexpr size_t kTokenKeyBytes = 32;
// How long a host's tokens hold: by default, and at most.
inline constexpr int64_t kTokenLifetimeSeconds = 300;
inline constexpr int64_t kTokenLifetimeSecondsMax = 24 * 3600;

// What a token says.
struct TokenClaims {
  std::string issuer;    // `iss`: the host's id
  std::string caller;    // `sub`: "lever://env/service"; empty: somebody from outside
  std::string audience;  // `aud`: the instance's id
  int64_t issued_s = 0;  // `iat`, seconds since 1970
  int64_t expires_s = 0;  // `exp`: from then on it is nothing
  bool host = false;     // `lever_host`: the host itself, which says with each call for whom
};

// The public part of a host's key.
struct TokenKey {
  std::string id;                                  // `kid`
  std::array<uint8_t, kTokenKeyBytes> public_key{};  // as RFC 8032 encodes it
};

// Seconds since 1970, of the machine's clock.
int64_t UnixNowSeconds();

class TokenSigner {
 public:
  // A new key, which never leaves the process.
  static StatusOr<std::unique_ptr<TokenSigner>> Make();
  // The key that RFC 8032 makes of 32 secret bytes.
  static StatusOr<std::unique_ptr<TokenSigner>> FromSeed(std::span<const uint8_t, kTokenKeyBytes> seed);

  const TokenKey& key() const { return key_; }
  std::string Sign(const TokenClaims& claims) const;

 private:
  TokenSigner(std::shared_ptr<evp_pkey_st> secret, TokenKey key);

  const std::shared_ptr<evp_pkey_st> secret_;
  const TokenKey key_;
  const std::string header_;  // as a token of its begins, with the dot
};

class TokenVerifier {
 public:
  // In place of those before.
  void SetKeys(const std::vector<TokenKey>& keys);
  // UNAUTHENTICATED says why it is not good for `audience` at `now_s`, seconds since 1970.
  StatusOr<TokenClaims> Verify(std::string_view token, std::string_view audience,
                               int64_t now_s) const;

 private:
  struct Known {
    std::string header;
    std::shared_ptr<evp_pkey_st> key;
  };
  std::vector<Known> keys_;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_TOKEN_H_
