// tokens.json: tokens that another implementation has signed are written so and read so.
#include <gtest/gtest.h>

#include "liblever/route/token.h"
#include "tests/vectors/vectors.h"

namespace lever::route {
namespace {

std::unique_ptr<TokenSigner> Signer(const nlohmann::json& vectors) {
  std::array<uint8_t, kTokenKeyBytes> seed{};
  const std::string bytes = vectors::FromHex(vectors.at("keys")[0].at("seed"));
  std::copy(bytes.begin(), bytes.end(), seed.begin());
  return TokenSigner::FromSeed(seed).value();
}

TEST(TokenVectors, AKeyIsTheOneOfRfc8032) {
  const auto vectors = vectors::LoadVectors("tokens.json");
  const auto& key = vectors.at("keys")[0];
  const auto signer = Signer(vectors);
  EXPECT_EQ(vectors::ToHex({reinterpret_cast<const char*>(signer->key().public_key.data()), kTokenKeyBytes}),
            key.at("public_key").get<std::string>());
  EXPECT_EQ(signer->key().id, key.at("kid").get<std::string>());
}

TEST(TokenVectors, ClaimsAreSignedAndReadAsTheyAreThere) {
  const auto vectors = vectors::LoadVectors("tokens.json");
  const auto signer = Signer(vectors);
  TokenVerifier verifier;
  verifier.SetKeys({signer->key()});
  for (const auto& entry : vectors.at("both")) {
    SCOPED_TRACE(entry.at("note").get<std::string>());
    const auto& claims = entry.at("claims");
    TokenClaims ours;
    ours.issuer = claims.at("iss");
    ours.caller = claims.value("sub", "");
    ours.audience = claims.at("aud");
    ours.issued_s = claims.at("iat");
    ours.expires_s = claims.at("exp");
    ours.host = claims.value("lever_host", false);
    EXPECT_EQ(signer->Sign(ours), entry.at("token").get<std::string>());
    const auto read = verifier.Verify(entry.at("token").get<std::string>(), ours.audience, ours.issued_s);
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(read->issuer, ours.issuer);
    EXPECT_EQ(read->caller, ours.caller);
    EXPECT_EQ(read->issued_s, ours.issued_s);
    EXPECT_EQ(read->expires_s, ours.expires_s);
    EXPECT_EQ(read->host, ours.host);
  }
}

TEST(TokenVectors, WhatIsNotGoodIsRefused) {
  const auto vectors = vectors::LoadVectors("tokens.json");
  TokenVerifier verifier;
  verifier.SetKeys({Signer(vectors)->key()});
  for (const auto& entry : vectors.at("checked")) {
    SCOPED_TRACE(entry.at("note").get<std::string>());
    const auto read = verifier.Verify(entry.at("token").get<std::string>(),
                                      entry.at("audience").get<std::string>(), entry.at("now"));
    EXPECT_EQ(read.ok(), entry.at("good").get<bool>()) << read.status().ToString();
    if (!read.ok()) EXPECT_EQ(read.status().code(), LEVER_UNAUTHENTICATED);
  }
}

}  // namespace
}  // namespace lever::route
