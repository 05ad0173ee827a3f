#include "liblever/host/deploy/content_hash.h"

#include <sodium.h>

#include <algorithm>

namespace lever::deploy {
namespace {

constexpr size_t kHashBytes = 32;

}  // namespace

struct ContentHash::State {
  crypto_generichash_state hash;
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) {
  // Chooses the fastest implementation for the machine, once; safe from several threads.
  [[maybe_unused]] static const int initialized = sodium_init();
  crypto_generichash_init(&state_->hash, nullptr, 0, kHashBytes);
}

ContentHash::~ContentHash() = default;

void ContentHash::Add(std::string_view bytes) {
  crypto_generichash_update(&state_->hash, reinterpret_cast<const unsigned char*>(bytes.data()),
                            bytes.size());
}

std::string ContentHash::Finish() {
  unsigned char digest[kHashBytes];
  crypto_generichash_final(&state_->hash, digest, sizeof digest);
  char hex[2 * kHashBytes + 1];
  sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
  return hex;
}

bool IsContentHash(std::string_view text) {
  auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 2 * kHashBytes && std::all_of(text.begin(), text.end(), is_hex);
}

}  // namespace lever::deploy
