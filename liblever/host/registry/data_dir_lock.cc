#include "liblever/host/registry/data_dir_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "liblever/host/registry/files.h"

namespace lever::registry {
namespace {

// The holder writes its pid after it has the lock: for a moment the file may be empty or old.
std::string DescribeHolder(int fd) {
  char text[32] = {};
  const ssize_t count = pread(fd, text, sizeof(text) - 1, 0);
  const long pid = count > 0 ? strtol(text, nullptr, 10) : 0;
  return pid > 0 ? "process " + std::to_string(pid) : "another process";
}

Status Acquire(int fd, const std::string& directory) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "lock " + directory);
    return FailedPrecondition("registry: " + directory + " is open in " + DescribeHolder(fd) +
                              "; stop that one or choose another --data-dir");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    return ErrnoStatus(errno, "write " + directory + "/lock");
  }
  return Status::Ok();
}

}  // namespace

StatusOr<std::unique_ptr<DataDirLock>> DataDirLock::Take(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) == 0) {
    LEVER_RETURN_IF_ERROR(SyncDirectoryOf(directory));
  } else if (errno != EEXIST) {
    return ErrnoStatus(errno, "make " + directory);
  }
  const std::string path = directory + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "open " + path);
  std::unique_ptr<DataDirLock> lock(new DataDirLock(fd));
  LEVER_RETURN_IF_ERROR(Acquire(fd, directory));
  return lock;
}

DataDirLock::~DataDirLock() { close(fd_); }

}  // namespace lever::registry
