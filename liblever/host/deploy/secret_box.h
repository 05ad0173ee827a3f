// Seals secrets with a key that the host keeps apart from its registry, so that a copy of the
// registry tells nothing. XChaCha20-Poly1305 (libsodium), a random nonce each; what is sealed for
// one place does not open in another.
//
// Immutable; any thread. Load() waits for the disk.
#ifndef LIBLEVER_HOST_DEPLOY_SECRET_BOX_H_
#define LIBLEVER_HOST_DEPLOY_SECRET_BOX_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "liblever/base/status.h"

namespace lever::deploy {

class SecretBox {
 public:
  static constexpr size_t kKeyBytes = 32;

  // The key in the file, which is made, durably and for its owner alone, if it is not there.
  // FAILED_PRECONDITION: others may read it, or it is no key.
  static StatusOr<std::unique_ptr<SecretBox>> Load(const std::string& path);
  ~SecretBox();
  SecretBox(const SecretBox&) = delete;
  SecretBox& operator=(const SecretBox&) = delete;

  // Base64.
  std::string Seal(const std::string& place, const std::string& text) const;
  // DATA_LOSS: it was not sealed with this key for this place.
  StatusOr<std::string> Open(const std::string& place, const std::string& sealed) const;

 private:
  SecretBox() = default;

  std::array<uint8_t, kKeyBytes> key_{};
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_SECRET_BOX_H_
