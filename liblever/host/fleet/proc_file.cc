#include "liblever/host/fleet/proc_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "liblever/base/fd.h"

namespace lever::fleet {

std::string ReadProcFile(const std::string& path, size_t bytes_max) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (fd.get() < 0) return text;
  char chunk[4096];
  while (text.size() < bytes_max) {
    ssize_t size = read(fd.get(), chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    text.append(chunk, static_cast<size_t>(size));
  }
  if (text.size() > bytes_max) text.resize(bytes_max);
  return text;
}

}  // namespace lever::fleet
