#include "liblever/route/token.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "liblever/base/ids.h"
#include "liblever/value/base64.h"

namespace lever::route {
namespace {

using nlohmann::json;

constexpr size_t kSignatureBytes = 64;
constexpr size_t kKeyIdBytes = 8;
// Of its own, so that no token that was made for something else passes (RFC 8725 section 3.11).
constexpr const char* kType = "lever-connection+jwt";

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Base64 with the alphabet for URLs and without padding (RFC 7515 section 2).
std::string ToBase64Url(std::span<const uint8_t> bytes) {
  std::string text;
  value::EncodeBase64(bytes, &text);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

std::optional<std::string> FromBase64Url(std::string_view text) {
  std::string standard(text);
  for (char& c : standard) {
    if (c == '+' || c == '/' || c == '=') return std::nullopt;
    if (c == '-') c = '+';
    if (c == '_') c = '/';
  }
  while (standard.size() % 4 != 0) standard.push_back('=');
  std::string bytes;
  if (!value::DecodeBase64(standard, &bytes)) return std::nullopt;
  return bytes;
}

std::string HeaderOf(const std::string& key_id) {
  const json header = {{"alg", "EdDSA"}, {"kid", key_id}, {"typ", kType}};
  return ToBase64Url(BytesOf(header.dump())) + ".";
}

std::string KeyIdOf(std::span<const uint8_t> public_key) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> hash{};
  EVP_Digest(public_key.data(), public_key.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return ToHex(std::span<const uint8_t>(hash).first(kKeyIdBytes));
}

// A host's is hexadecimal.
bool IsKeyId(std::string_view id) {
  constexpr size_t kKeyIdCharsMax = 64;
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); };
  return !id.empty() && id.size() <= kKeyIdCharsMax && std::all_of(id.begin(), id.end(), plain);
}

class DigestContext {
 public:
  DigestContext() : context_(EVP_MD_CTX_new()) {}
  ~DigestContext() { EVP_MD_CTX_free(context_); }
  DigestContext(const DigestContext&) = delete;
  DigestContext& operator=(const DigestContext&) = delete;
  EVP_MD_CTX* get() { return context_; }

 private:
  EVP_MD_CTX* const context_;
};

bool IsSignatureOf(std::string_view text, std::string_view signature, EVP_PKEY* key) {
  DigestContext context;
  const bool good =
      signature.size() == kSignatureBytes &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), BytesOf(signature).data(), signature.size(),
                       BytesOf(text).data(), text.size()) == 1;
  ERR_clear_error();
  return good;
}

// Of what is signed: anything else than what Sign() writes is an error of the host's.
std::optional<TokenClaims> ReadClaims(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return std::nullopt;
  TokenClaims claims;
  bool good = true;
  const auto read_text = [&](const char* name, std::string* to) {
    const auto found = object.find(name);
    if (found == object.end()) return;
    good = good && found->is_string();
    if (found->is_string()) *to = found->get<std::string>();
  };
  const auto read_time = [&](const char* name, int64_t* to) {
    const auto found = object.find(name);
    const bool number = found != object.end() && found->is_number_integer();
    good = good && number;
    if (number) *to = found->get<int64_t>();
  };
  read_text("iss", &claims.issuer);
  read_text("sub", &claims.caller);
  read_text("aud", &claims.audience);
  read_time("iat", &claims.issued_s);
  read_time("exp", &claims.expires_s);
  if (const auto host = object.find("lever_host"); host != object.end()) {
    good = good && host->is_boolean();
    claims.host = host->is_boolean() && host->get<bool>();
  }
  if (!good) return std::nullopt;
  return claims;
}

Status NotGood(const std::string& why) {
  return Status(LEVER_UNAUTHENTICATED, "the token of this connection is not good: " + why);
}

}  // namespace

int64_t UnixNowSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// ---- Signing ----

TokenSigner::TokenSigner(std::shared_ptr<EVP_PKEY> secret, TokenKey key)
    : secret_(std::move(secret)), key_(std::move(key)), header_(HeaderOf(key_.id)) {}

StatusOr<std::unique_ptr<TokenSigner>> TokenSigner::Make() {
  std::array<uint8_t, kTokenKeyBytes> seed{};
  RandomBytes(seed);
  StatusOr<std::unique_ptr<TokenSigner>> made = FromSeed(seed);
  OPENSSL_cleanse(seed.data(), seed.size());
  return made;
}

StatusOr<std::unique_ptr<TokenSigner>> TokenSigner::FromSeed(
    std::span<const uint8_t, kTokenKeyBytes> seed) {
  const std::shared_ptr<EVP_PKEY> secret(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()),
      &EVP_PKEY_free);
  TokenKey key;
  size_t size = key.public_key.size();
  if (secret == nullptr ||
      EVP_PKEY_get_raw_public_key(secret.get(), key.public_key.data(), &size) != 1) {
    ERR_clear_error();
    return Internal("no Ed25519 key could be made");
  }
  key.id = KeyIdOf(key.public_key);
  return std::unique_ptr<TokenSigner>(new TokenSigner(secret, std::move(key)));
}

std::string TokenSigner::Sign(const TokenClaims& claims) const {
  json object = {{"iss", claims.issuer},
                 {"aud", claims.audience},
                 {"iat", claims.issued_s},
                 {"exp", claims.expires_s}};
  if (!claims.caller.empty()) object["sub"] = claims.caller;
  if (claims.host) object["lever_host"] = true;
  std::string token = header_ + ToBase64Url(BytesOf(object.dump()));
  std::array<uint8_t, kSignatureBytes> signature{};
  size_t size = signature.size();
  DigestContext context;
  // With a good key this fails for want of memory alone; what comes out then passes nowhere.
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, secret_.get()) == 1) {
    EVP_DigestSign(context.get(), signature.data(), &size, BytesOf(token).data(), token.size());
  }
  ERR_clear_error();
  return token + "." + ToBase64Url(signature);
}

// ---- Checking ----

void TokenVerifier::SetKeys(const std::vector<TokenKey>& keys) {
  keys_.clear();
  for (const TokenKey& key : keys) {
    if (keys_.size() >= kTokenKeysMax) return;
    if (!IsKeyId(key.id)) continue;
    std::shared_ptr<EVP_PKEY> loaded(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.public_key.data(),
                                    key.public_key.size()),
        &EVP_PKEY_free);
    if (loaded != nullptr) keys_.push_back({HeaderOf(key.id), std::move(loaded)});
  }
}

StatusOr<TokenClaims> TokenVerifier::Verify(std::string_view token, std::string_view audience,
                                            int64_t now_s) const {
  if (token.size() > kTokenBytesMax) return NotGood("it is too long");
  const Known* known = nullptr;
  for (const Known& each : keys_) {
    if (token.starts_with(each.header)) known = &each;
  }
  if (known == nullptr) return NotGood("it is signed with none of the keys that this instance knows");
  const size_t dot = token.rfind('.');
  if (dot < known->header.size()) return NotGood("it has no signature");
  const std::optional<std::string> signature = FromBase64Url(token.substr(dot + 1));
  if (!signature || !IsSignatureOf(token.substr(0, dot), *signature, known->key.get())) {
    return NotGood("its signature is wrong");
  }
  const std::optional<std::string> text =
      FromBase64Url(token.substr(known->header.size(), dot - known->header.size()));
  std::optional<TokenClaims> claims;
  if (text) claims = ReadClaims(*text);
  if (!claims) return NotGood("its claims cannot be read");
  if (claims->audience != audience) return NotGood("it is for another instance");
  if (claims->expires_s <= now_s) {
    return NotGood("it expired " + std::to_string(now_s - claims->expires_s) + " s ago");
  }
  return std::move(*claims);
}

}  // namespace lever::route
