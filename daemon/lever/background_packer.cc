#include "daemon/lever/background_packer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "liblever/host/deploy/file_tree.h"
#include "liblever/host/deploy/pack.h"

namespace lever::cli {
namespace {

// A file without a name for the packed bundle.
StatusOr<UniqueFd> TemporaryFile() {
  const char* directory = ::getenv("TMPDIR");
  std::string path = (directory != nullptr && *directory != '\0' ? directory : "/tmp");
  path += "/lever-bundle-XXXXXX";
  UniqueFd file(::mkostemp(path.data(), O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "a temporary file for the bundle");
  ::unlink(path.c_str());
  return file;
}

}  // namespace

BackgroundPacker::BackgroundPacker(UniqueFd file, UniqueFd changed)
    : file_(std::move(file)), changed_(std::move(changed)) {}

StatusOr<std::unique_ptr<BackgroundPacker>> BackgroundPacker::Start(const std::string& directory) {
  LEVER_ASSIGN_OR_RETURN(UniqueFd file, TemporaryFile());
  UniqueFd changed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!changed.valid()) return ErrnoStatus(errno, "eventfd");
  std::unique_ptr<BackgroundPacker> packer(
      new BackgroundPacker(std::move(file), std::move(changed)));
  try {
    packer->thread_ = std::thread([packer = packer.get(), directory] { packer->Pack(directory); });
  } catch (const std::system_error& error) {
    return ErrnoStatus(error.code().value(), "a thread to pack on");
  }
  return packer;
}

BackgroundPacker::~BackgroundPacker() {
  unwanted_ = true;
  if (thread_.joinable()) thread_.join();
}

void BackgroundPacker::Pack(const std::string& directory) {
  status_ =
      deploy::PackDirectory(directory, [this](std::string_view packed) { return Take(packed); })
          .status();
  ended_ = true;
  Tell();
}

Status BackgroundPacker::Take(std::string_view packed) {
  if (unwanted_) return Cancelled("the bundle is not wanted any more");
  LEVER_RETURN_IF_ERROR(deploy::WriteAll(file_.get(), packed, "the packed bundle"));
  bytes_ += packed.size();
  Tell();
  return Status::Ok();
}

void BackgroundPacker::Tell() {
  const uint64_t one = 1;
  // It fails only where it is readable already.
  (void)!::write(changed_.get(), &one, sizeof(one));
}

StatusOr<BackgroundPacker::Packed> BackgroundPacker::TakeNews() {
  uint64_t count = 0;
  // Before the state is looked at: what changes from here on makes it readable again.
  (void)!::read(changed_.get(), &count, sizeof(count));
  Packed packed;
  packed.whole = ended_;
  if (packed.whole && !status_.ok()) return status_;
  packed.bytes = bytes_;
  return packed;
}

StatusOr<std::string> BackgroundPacker::Read(uint64_t offset, size_t size) const {
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(file_.get(), bytes.data() + done, size - done,
                                  static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "read the packed bundle");
    if (count == 0) return DataLoss("the temporary file for the bundle became shorter");
    done += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace lever::cli
