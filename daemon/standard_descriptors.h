// The descriptors 0, 1 and 2, before a program opens any other.
#ifndef DAEMON_STANDARD_DESCRIPTORS_H_
#define DAEMON_STANDARD_DESCRIPTORS_H_

#include <fcntl.h>
#include <unistd.h>

namespace lever {

// One that was closed would become that of a socket or a file, and be written to as output. False: it
// cannot be opened.
inline bool OpenStandardDescriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free one is what open() gives.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd) return false;
  }
  return true;
}

}  // namespace lever

#endif  // DAEMON_STANDARD_DESCRIPTORS_H_
