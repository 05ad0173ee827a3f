#include "liblever/host/deploy/secret_box.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "liblever/base/fd.h"

namespace lever::deploy {
namespace {

static_assert(SecretBox::kKeyBytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;

const uint8_t* Bytes(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

Status SyncDirectory(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const UniqueFd folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return ErrnoStatus(errno, "sync " + directory);
  return Status::Ok();
}

// Whole or not at all: written beside its place, synced, and moved there.
Status MakeKey(const std::string& path, uint8_t* key, size_t size) {
  randombytes_buf(key, size);
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  const UniqueFd file(
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "open " + beside);
  const ssize_t written = ::write(file.get(), key, size);
  if (written != static_cast<ssize_t>(size)) {
    return ErrnoStatus(written < 0 ? errno : ENOSPC, "write " + beside);
  }
  if (::fsync(file.get()) != 0) return ErrnoStatus(errno, "sync " + beside);
  if (::rename(beside.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "rename " + beside);
  return SyncDirectory(path);
}

Status ReadKey(int fd, const std::string& path, uint8_t* key, size_t size) {
  struct stat info = {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat " + path);
  if ((info.st_mode & 077) != 0) {
    return FailedPrecondition(path +
                              " holds the key of the services' secrets, and others than its " +
                              "owner may read it: chmod 600 it, and set the secrets anew");
  }
  const bool whole = info.st_size == static_cast<off_t>(size) &&
                     ::read(fd, key, size) == static_cast<ssize_t>(size);
  return whole ? Status::Ok() : FailedPrecondition(path + " is no key of Lever's");
}

}  // namespace

StatusOr<std::unique_ptr<SecretBox>> SecretBox::Load(const std::string& path) {
  if (sodium_init() < 0) return Internal("libsodium does not start");
  std::unique_ptr<SecretBox> box(new SecretBox());
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  Status status;
  if (file.valid()) {
    status = ReadKey(file.get(), path, box->key_.data(), box->key_.size());
  } else if (errno == ENOENT) {
    status = MakeKey(path, box->key_.data(), box->key_.size());
  } else {
    status = ErrnoStatus(errno, "open " + path);
  }
  if (!status.ok()) return status;
  return box;
}

SecretBox::~SecretBox() { sodium_memzero(key_.data(), key_.size()); }

std::string SecretBox::Seal(const std::string& place, const std::string& text) const {
  std::vector<uint8_t> sealed(kNonceBytes + text.size() + kTagBytes);
  randombytes_buf(sealed.data(), kNonceBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data() + kNonceBytes, nullptr, Bytes(text),
                                             text.size(), Bytes(place), place.size(), nullptr,
                                             sealed.data(), key_.data());
  std::string base64(sodium_base64_ENCODED_LEN(sealed.size(), kBase64), '\0');
  sodium_bin2base64(base64.data(), base64.size(), sealed.data(), sealed.size(), kBase64);
  base64.pop_back();  // libsodium ends it with a NUL
  return base64;
}

StatusOr<std::string> SecretBox::Open(const std::string& place, const std::string& sealed) const {
  std::vector<uint8_t> bytes(sealed.size());
  size_t size = 0;
  if (sodium_base642bin(bytes.data(), bytes.size(), sealed.data(), sealed.size(), nullptr, &size,
                        nullptr, kBase64) != 0 ||
      size < kNonceBytes + kTagBytes) {
    return DataLoss("what was sealed is damaged");
  }
  std::string text(size - kNonceBytes - kTagBytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<uint8_t*>(text.data()), nullptr, nullptr, bytes.data() + kNonceBytes,
          size - kNonceBytes, Bytes(place), place.size(), bytes.data(), key_.data()) != 0) {
    return DataLoss("it was sealed with another key, or is damaged");
  }
  return text;
}

}  // namespace lever::deploy
