#include "liblever/host/registry/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace lever::registry {
namespace {

constexpr char kBootIdPath[] = "/proc/sys/kernel/random/boot_id";

Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? Status::Ok() : ErrnoStatus(error, "sync " + path);
}

}  // namespace

Status CreatePrivateFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  close(fd);
  return Status::Ok();
}

Status SyncFile(const std::string& path) { return SyncPath(path, O_RDONLY); }

Status SyncDirectoryOf(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  const std::string directory = slash == trimmed.npos ? "." : trimmed.substr(0, slash + 1);
  return SyncPath(directory, O_RDONLY | O_DIRECTORY);
}

StatusOr<std::string> ReadBootId() {
  const int fd = open(kBootIdPath, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, std::string("open ") + kBootIdPath);
  char text[64];
  const ssize_t count = read(fd, text, sizeof(text));
  const int error = errno;
  close(fd);
  if (count < 0) return ErrnoStatus(error, std::string("read ") + kBootIdPath);
  std::string id(text, static_cast<size_t>(count));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

}  // namespace lever::registry
