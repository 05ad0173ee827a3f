// Tokens of direct connections: what tests/vectors/tokens.json does not say of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/base/random.h"
#include "liblever/route/token.h"

namespace lever::route {
namespace {

using ::testing::HasSubstr;

TokenClaims Claims() {
  TokenClaims claims;
  claims.issuer = "host-1";
  claims.caller = "lever://dev.lever/shop";
  claims.audience = "i-1";
  claims.issued_s = 1000;
  claims.expires_s = 1300;
  return claims;
}

TEST(Token, EachSignerHasAKeyOfItsOwn) {
  const auto one = TokenSigner::Make().value(), other = TokenSigner::Make().value();
  EXPECT_NE(one->key().public_key, other->key().public_key);
  EXPECT_NE(one->key().id, other->key().id);
  TokenVerifier verifier;
  verifier.SetKeys({one->key()});
  EXPECT_TRUE(verifier.Verify(one->Sign(Claims()), "i-1", 1000).ok());
  EXPECT_THAT(verifier.Verify(other->Sign(Claims()), "i-1", 1000).status().message(),
              HasSubstr("none of the keys"));
}

TEST(Token, KeysThatAreToldLaterReplaceThoseBefore) {
  const auto before = TokenSigner::Make().value(), now = TokenSigner::Make().value();
  TokenVerifier verifier;
  EXPECT_FALSE(verifier.Verify(now->Sign(Claims()), "i-1", 1000).ok()) << "nothing is known";
  verifier.SetKeys({before->key(), now->key()});
  EXPECT_TRUE(verifier.Verify(before->Sign(Claims()), "i-1", 1000).ok());
  EXPECT_TRUE(verifier.Verify(now->Sign(Claims()), "i-1", 1000).ok());
  verifier.SetKeys({now->key()});
  EXPECT_FALSE(verifier.Verify(before->Sign(Claims()), "i-1", 1000).ok());
}

TEST(Token, AKeyWithAnIdThatNoHostGivesIsNone) {
  const auto signer = TokenSigner::Make().value();
  TokenVerifier verifier;
  for (const std::string& id : {std::string(), std::string("\xff\xfe"), std::string(65, 'a'), std::string("a\"b")}) {
    TokenKey key = signer->key();
    key.id = id;
    verifier.SetKeys({key});
    EXPECT_FALSE(verifier.Verify(signer->Sign(Claims()), "i-1", 1000).ok());
  }
  std::vector<TokenKey> many(kTokenKeysMax, TokenSigner::Make().value()->key());
  many.push_back(signer->key());
  verifier.SetKeys(many);
  EXPECT_FALSE(verifier.Verify(signer->Sign(Claims()), "i-1", 1000).ok()) << "one too many";
}

TEST(Token, ItSaysWhatIsWrong) {
  const auto signer = TokenSigner::Make().value();
  TokenVerifier verifier;
  verifier.SetKeys({signer->key()});
  const std::string token = signer->Sign(Claims());
  EXPECT_THAT(verifier.Verify(token, "i-1", 1360).status().message(), HasSubstr("it expired 60 s ago"));
  EXPECT_THAT(verifier.Verify(token, "i-2", 1000).status().message(), HasSubstr("for another instance"));
  EXPECT_THAT(verifier.Verify(token.substr(0, token.size() - 4), "i-1", 1000).status().message(),
              HasSubstr("signature is wrong"));
}

TEST(Token, NoneOfTwentyThousandMutationsIsGood) {
  const auto signer = TokenSigner::Make().value();
  TokenVerifier verifier;
  verifier.SetKeys({signer->key()});
  const std::string token = signer->Sign(Claims());
  Random random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string other = token;
    for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
      const size_t at = random.Below(other.size());
      switch (random.Below(3)) {
        case 0: other[at] = static_cast<char>(random.Below(256)); break;
        case 1: other.erase(at, 1 + random.Below(8)); break;
        default: other.insert(at, other.substr(random.Below(other.size()), random.Below(8)));
      }
      if (other.empty()) other = ".";
    }
    ASSERT_EQ(verifier.Verify(other, "i-1", 1000).ok(), other == token) << other;
  }
}

}  // namespace
}  // namespace lever::route
